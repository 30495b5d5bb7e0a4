"""Whether the values of one type are those of another: of what a step is given, and of what its component takes.

The answer has four degrees. `fits` and `misfits` are certain: all values do, or none does. `mayMisfit`: what is
declared allows a value that does not. `unknown`: too little is declared to tell. What an open type may hold never
counts against it, for nobody declared it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from protocol.flows import Fit
from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.schema import SchemaError, parse_schema
from stepflow_runtime.model.types.constants import list_constants
from stepflow_runtime.model.types.lattice import ANY, UNKNOWN, Array, Budget, Object, Scalar, Shape, Type
from stepflow_runtime.model.types.writing import describe

MAX_STEPS: Final = 20_000
"""Pairs of shapes that one question compares; what is beyond them is unknown."""

Path = tuple[str | int, ...]


class Reason(Struct, frozen=True):
    """Why something does not fit, or may not.

    Args:
        path: From the root of the value.
        message: The rest of a sentence that begins with the place.
    """

    path: Path
    message: str


class Fitting(Struct, frozen=True):
    """An answer. `reasons` are there for `misfits` and `mayMisfit`."""

    fit: Fit
    reasons: tuple[Reason, ...] = ()


_FITS: Final = Fitting(Fit.FITS)
_UNKNOWN: Final = Fitting(Fit.UNKNOWN)


def compare(given: Type, wanted: Type) -> Fitting:
    """Whether the values of `given` are values of `wanted`."""
    return _Comparison().compare(given, wanted, ())


class _Comparison:
    def __init__(self) -> None:
        self.budget = Budget(MAX_STEPS)

    def compare(self, given: Type, wanted: Type, path: Path) -> Fitting:
        if wanted is ANY or given.is_never:
            return _FITS
        if wanted.is_never:
            return _misfit(path, "must not be there")
        if given.is_open or wanted is UNKNOWN:
            return _UNKNOWN
        parts = [self.compare_shape(shape, wanted, path) for shape in given.shapes]
        if len(parts) == 1:
            return parts[0]
        fits = {part.fit for part in parts}
        if fits == {Fit.MISFITS}:
            return _misfit(path, _contrast("is", given, wanted))
        if fits == {Fit.FITS}:
            return _FITS
        wrong = [
            shape
            for shape, part in zip(given.shapes, parts, strict=True)
            if part.fit is Fit.MAY_MISFIT or (part.fit is Fit.MISFITS and shape.is_exact)
        ]
        if not wrong:
            return _UNKNOWN
        return _may_misfit(path, _contrast("may be", Type(tuple(wrong)), wanted))

    def compare_shape(self, given: Shape, wanted: Type, path: Path) -> Fitting:
        candidates = [shape for shape in wanted.shapes if shape.kind is given.kind]
        if not candidates:
            return _misfit(path, _contrast("is", Type((given,)), wanted))
        answers = [self.compare_shapes(given, shape, path) for shape in candidates]
        if len(answers) == 1:
            return answers[0]
        fits = [answer.fit for answer in answers]
        if Fit.FITS in fits:
            return _FITS
        if Fit.UNKNOWN in fits or fits.count(Fit.MAY_MISFIT) > 1:  # together they may take all
            return _UNKNOWN
        if Fit.MAY_MISFIT in fits:
            return answers[fits.index(Fit.MAY_MISFIT)]
        return _misfit(path, _contrast("is", Type((given,)), wanted))

    def compare_shapes(self, given: Shape, wanted: Shape, path: Path) -> Fitting:
        if not self.budget.take():
            return _UNKNOWN
        match given, wanted:
            case Scalar(), Scalar():
                found = _compare_scalars(given, wanted, path)
            case Array(), Array():
                found = self.compare_arrays(given, wanted, path)
            case Object(), Object():
                found = self.compare_objects(given, wanted, path)
            case _:
                raise AssertionError(f"shapes of {given.kind} and {wanted.kind}")
        if found.fit is Fit.MISFITS or wanted.is_exact or (given.extra == wanted.extra and not wanted.vague):
            return found
        return _combine(path, [found, _ask_validator(given, wanted, path)])

    def compare_arrays(self, given: Array, wanted: Array, path: Path) -> Fitting:
        answers = [
            self.compare(element, wanted.prefix[index] if index < len(wanted.prefix) else wanted.rest, (*path, index))
            for index, element in enumerate(given.prefix)
        ]
        if len(given.prefix) < len(wanted.prefix):
            message = f"has {len(given.prefix)} elements, and {len(wanted.prefix)} are needed"
            answers.append(_misfit(path, message) if given.rest.is_never else _UNKNOWN)
        answers.append(_perhaps(self.compare(given.rest, wanted.rest, (*path, len(given.prefix))), given))
        return _combine(path, answers)

    def compare_objects(self, given: Object, wanted: Object, path: Path) -> Fitting:
        answers: list[Fitting] = []
        for name, field in wanted.fields.items():
            here = given.find(name)
            if not here.required and field.required:
                answers.append(_compare_missing(name, here.type, given, path))
            if here.type.is_never:
                continue
            answer = self.compare(here.type, field.type, (*path, name))
            is_sure = here.required or field.required
            answers.append(answer if is_sure else _perhaps(answer, given))
        for name, own in given.fields.items():
            if name not in wanted.fields:
                if wanted.rest.is_never and not own.type.is_never:
                    answer = _misfit((*path, name), f"is no field of it; it takes {_list_names(wanted)}")
                else:
                    answer = self.compare(own.type, wanted.rest, (*path, name))
                answers.append(answer if own.required else _perhaps(answer, given))
        if not given.rest.is_never:
            rest = _UNKNOWN if given.rest.is_open and wanted.rest is not ANY else _FITS
            if not given.rest.is_open:
                rest = _perhaps(self.compare(given.rest, wanted.rest, path), given)
            answers.append(rest)
        return _combine(path, answers)


def _compare_missing(name: str, type: Type, given: Object, path: Path) -> Fitting:
    """A required field that may be missing."""
    if type.is_never:
        return _misfit(path, f"has no field {name!r}, which is needed")
    is_declared = name in given.fields or bool(given.fields)
    if given.is_exact and is_declared:
        return _may_misfit(path, f"may have no field {name!r}, which is needed")
    return _UNKNOWN


def _compare_scalars(given: Scalar, wanted: Scalar, path: Path) -> Fitting:
    if wanted.values is None or (given.values is not None and given.values <= wanted.values):
        return _FITS
    contrast = Type((given,)), Type((wanted,))
    if given.values is not None and not given.values & wanted.values:
        return _misfit(path, _contrast("is", *contrast))
    return _may_misfit(path, _contrast("may be", *contrast)) if given.is_exact else _UNKNOWN


def _ask_validator(given: Shape, wanted: Shape, path: Path) -> Fitting:
    """What is not understood of a schema can be told where all values are known."""
    constants = list_constants(given)
    if constants is None or not wanted.extra:
        return _UNKNOWN
    try:
        schema = parse_schema(canonical_json(wanted.extra))
        misfits = [found for value in constants if (found := schema.find_misfits(value))]
    except SchemaError:
        return _UNKNOWN
    if not misfits:
        return _UNKNOWN if wanted.vague else _FITS
    place, message = misfits[0][0]
    fit = Fit.MISFITS if len(misfits) == len(constants) else Fit.MAY_MISFIT
    return Fitting(fit, (Reason((*path, *place), f"does not fit: {message}"),))


def _perhaps(answer: Fitting, given: Shape) -> Fitting:
    """The answer for a part that need not be there."""
    if answer.fit is not Fit.MISFITS:
        return answer
    return Fitting(Fit.MAY_MISFIT, answer.reasons) if given.is_exact else _UNKNOWN


def _combine(path: Path, answers: list[Fitting]) -> Fitting:
    """The answer for a whole of the answers for its parts, all of which must fit."""
    for fit in (Fit.MISFITS, Fit.MAY_MISFIT):
        found = [answer for answer in answers if answer.fit is fit]
        if found:
            return Fitting(fit, tuple(reason for answer in found for reason in answer.reasons))
    return _UNKNOWN if any(answer.fit is Fit.UNKNOWN for answer in answers) else _FITS


def _misfit(path: Path, message: str) -> Fitting:
    return Fitting(Fit.MISFITS, (Reason(path, message),))


def _may_misfit(path: Path, message: str) -> Fitting:
    return Fitting(Fit.MAY_MISFIT, (Reason(path, message),))


def _contrast(verb: str, given: Type, wanted: Type) -> str:
    return f"{verb} {describe(given, 1)}, and {describe(wanted, 1)} is needed"


def _list_names(shape: Object) -> str:
    names: Any = sorted(shape.fields)
    return ", ".join(map(repr, names)) or "none"

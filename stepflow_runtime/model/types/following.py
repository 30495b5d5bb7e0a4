"""Where a path leads in a type: what `path` in an expression finds (FLOWS, "Expressions")."""

from __future__ import annotations

import difflib

from msgspec import Struct

from protocol.flows import Fit
from stepflow_runtime.model.path import Path
from stepflow_runtime.model.types.lattice import NULL, UNKNOWN, Array, Kind, Object, Shape, Type, unite
from stepflow_runtime.model.types.writing import describe


class Found(Struct, frozen=True):
    """What lies at the end of a path.

    Args:
        type: Its type; unknown if nothing does.
        fit: Whether something is there: `misfits` if never, `mayMisfit` if what is declared allows that nothing is.
        message: What is wrong, the rest of a sentence that begins with whose value it is.
    """

    type: Type
    fit: Fit = Fit.FITS
    message: str = ""


def follow(type: Type, path: Path, *, null_is_null: bool = False) -> Found:
    """Follow a path through a type.

    Args:
        type: Of the whole value.
        path: Parsed.
        null_is_null: Whether any path into a value that is `null` leads to `null`, as in a step's output.
    """
    nulls: list[Type] = []
    if null_is_null and path and not type.is_open:
        nulls = [NULL for shape in type.shapes if shape.kind is Kind.NULL]
        type = Type(tuple(shape for shape in type.shapes if shape.kind is not Kind.NULL))
        if type.is_never:
            return Found(NULL)
    fit, message = Fit.FITS, ""
    for segment in path:
        found = _step_into(type, segment)
        if found.fit is Fit.MISFITS:
            return Found(unite(nulls), Fit.MAY_MISFIT, found.message) if nulls else found
        if _SEVERITY.index(found.fit) > _SEVERITY.index(fit):
            fit, message = found.fit, found.message
        type = found.type
    return Found(unite([type, *nulls]), fit, message)


_SEVERITY = (Fit.FITS, Fit.UNKNOWN, Fit.MAY_MISFIT)


def _step_into(type: Type, segment: str | int) -> Found:
    if type.is_open:
        return Found(UNKNOWN, Fit.UNKNOWN)
    answers = [_step_into_shape(shape, segment) for shape in type.shapes]
    there = [answer for answer in answers if answer.fit is not Fit.MISFITS]
    if not there:
        return Found(UNKNOWN, Fit.MISFITS, answers[0].message if answers else "is never there")
    fit, message = Fit.FITS, ""
    for shape, answer in zip(type.shapes, answers, strict=True):
        own, why = answer.fit, answer.message
        if own is Fit.MISFITS:
            own = Fit.MAY_MISFIT if shape.is_exact else Fit.UNKNOWN
            why = why.replace("is ", "may be ", 1)
        if _SEVERITY.index(own) > _SEVERITY.index(fit):
            fit, message = own, why
    return Found(unite(answer.type for answer in there), fit, message)


def _step_into_shape(shape: Shape, segment: str | int) -> Found:
    match shape, segment:
        case Object(), str():
            return _find_field(shape, segment)
        case Array(prefix=prefix), int() if segment < len(prefix):
            return Found(prefix[segment])
        case Array(rest=rest, prefix=prefix), int():
            if rest.is_never:
                return Found(
                    UNKNOWN, Fit.MISFITS, f"is an array of {len(prefix)} elements, without an element {segment}"
                )
            return Found(rest, Fit.UNKNOWN)
        case _:
            what = f"field {segment!r}" if isinstance(segment, str) else f"element {segment}"
            return Found(UNKNOWN, Fit.MISFITS, f"is {describe(Type((shape,)), 1)}, without a {what}")


def _find_field(shape: Object, name: str) -> Found:
    field = shape.find(name)
    names = ", ".join(map(repr, sorted(shape.fields))) or "none"
    close = difflib.get_close_matches(name, shape.fields, 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; its fields are {names}"
    if field.type.is_never:
        return Found(UNKNOWN, Fit.MISFITS, f"is an object without a field {name!r}{hint}")
    if field.required:
        return Found(field.type)
    if name in shape.fields:
        fit = Fit.MAY_MISFIT if shape.is_exact else Fit.UNKNOWN
        return Found(
            field.type, fit, f"may be without the field {name!r}; ask for it with $if first, or declare it as required"
        )
    is_mapping = not shape.fields or not field.type.is_open
    return Found(
        field.type,
        Fit.UNKNOWN if is_mapping or not shape.is_exact else Fit.MAY_MISFIT,
        f"declares no field {name!r}{hint}",
    )

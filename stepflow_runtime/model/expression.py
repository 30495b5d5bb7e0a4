"""Expressions: how a step's input and a flow's output are made from data (FLOWS, "Expressions").

An expression is compiled once into a small tree and evaluated for each item over raw JSON bytes, lazily. The answer is

- `bytes`: the value, digit for digit as it came in; the whole of an input or output is the very same object;
- `Failure`: there is no value;
- `Needs`: the steps that must end first; `$if` and `$coalesce` ask only for what they look at next.

How expressions are written is told by `expression_syntax`. Knows nothing of how steps run; `engine.plan` is above it,
`path` below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias

from protocol.errors import ItemErrorCode
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.model.path import Path, follow_path, format_path

Needs: TypeAlias = tuple[str, ...]
"""Ids of steps that have not ended and must, before an expression has a value. Never empty."""

Evaluated: TypeAlias = bytes | Failure | Needs


class Scope(Protocol):
    """What expressions refer to, for one item."""

    @property
    def input(self) -> bytes: ...
    @property
    def variables(self) -> Mapping[str, bytes]: ...
    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """How the steps ended that have ended."""
        ...


class Expression:
    """A compiled expression."""

    __slots__ = ("is_eager", "is_fallible", "needs", "references")

    references: frozenset[str]
    """Every step that it may look at."""
    needs: Needs
    """The steps that it looks at whatever the data are."""
    is_eager: bool
    """Whether it may ask for more steps, or have a value, before all of `needs` have ended."""

    is_fallible: bool
    """Whether the input or the variables alone may make it, or a part of it, fail: before any step has ended."""

    def __init__(
        self,
        needs: Iterable[str] = (),
        references: Iterable[str] = (),
        *,
        is_eager: bool = False,
        is_fallible: bool = False,
    ) -> None:
        self.needs = tuple(dict.fromkeys(needs))
        self.references = frozenset(references)
        self.is_eager = is_eager
        self.is_fallible = is_fallible

    def evaluate(self, scope: Scope) -> Evaluated:
        """The value, why there is none, or the steps that must end first."""
        raise NotImplementedError


def _fail(message: str) -> Failure:
    return Failure(ItemErrorCode.EXPRESSION_FAILURE, message)


class Constant(Expression):
    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        super().__init__()
        self.value = value

    def evaluate(self, scope: Scope) -> Evaluated:
        return self.value


class InputReference(Expression):
    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        super().__init__(is_fallible=bool(path))
        self.path = path

    def evaluate(self, scope: Scope) -> Evaluated:
        if not self.path:
            return scope.input
        found = follow_path(self.path, scope.input)
        return _fail(f"The input has nothing at {format_path(self.path)}.") if found is None else found


class StepReference(Expression):
    __slots__ = ("path", "step_id")

    def __init__(self, step_id: str, path: Path) -> None:
        super().__init__((step_id,), (step_id,))
        self.step_id = step_id
        self.path = path

    def evaluate(self, scope: Scope) -> Evaluated:
        outcome = scope.outcomes.get(self.step_id)
        if outcome is None:
            return self.needs
        if not self.path or not isinstance(outcome, bytes) or outcome == b"null":
            return outcome
        found = follow_path(self.path, outcome)
        if found is None:
            return _fail(f"The output of step {self.step_id!r} has nothing at {format_path(self.path)}.")
        return found


class VariableReference(Expression):
    __slots__ = ("default", "name", "path")

    def __init__(self, name: str, path: Path, default: Expression | None) -> None:
        references = default.references if default else frozenset[str]()
        super().__init__((), references, is_eager=bool(references), is_fallible=True)
        self.name = name
        self.path = path
        self.default = default

    def evaluate(self, scope: Scope) -> Evaluated:
        value = scope.variables.get(self.name)
        found = None if value is None else follow_path(self.path, value)
        if found is not None:
            return found
        if self.default is not None:
            return self.default.evaluate(scope)
        if value is None:
            return _fail(f"The variable {self.name!r} has no value and the expression no default.")
        return _fail(f"The variable {self.name!r} has nothing at {format_path(self.path)}.")


class Conditional(Expression):
    __slots__ = ("condition", "otherwise", "then")

    def __init__(self, condition: Expression, then: Expression, otherwise: Expression) -> None:
        references = condition.references | then.references | otherwise.references
        is_fallible = condition.is_fallible or then.is_fallible or otherwise.is_fallible
        super().__init__(condition.needs, references, is_eager=bool(references), is_fallible=is_fallible)
        self.condition = condition
        self.then = then
        self.otherwise = otherwise

    def evaluate(self, scope: Scope) -> Evaluated:
        condition = self.condition.evaluate(scope)
        if isinstance(condition, tuple):
            return condition
        is_false = isinstance(condition, Failure) or condition in (b"null", b"false")
        return (self.otherwise if is_false else self.then).evaluate(scope)


class Coalesce(Expression):
    __slots__ = ("options",)

    def __init__(self, options: tuple[Expression, ...]) -> None:
        needs = options[0].needs if options else ()
        references = frozenset[str]().union(*(option.references for option in options))
        is_eager = references != frozenset(needs) or any(option.is_eager for option in options)
        is_fallible = any(option.is_fallible for option in options)
        super().__init__(needs, references, is_eager=is_eager, is_fallible=is_fallible)
        self.options = options

    def evaluate(self, scope: Scope) -> Evaluated:
        for option in self.options:
            value = option.evaluate(scope)
            if value != b"null":
                return value
        return b"null"


class Template(Expression):
    """An object or an array with expressions in it: fixed text, and between it what they evaluate to."""

    __slots__ = ("head", "slots")

    def __init__(self, head: bytes, slots: tuple[tuple[Expression, bytes], ...]) -> None:
        children = [child for child, _ in slots]
        super().__init__(
            (step_id for child in children for step_id in child.needs),
            (step_id for child in children for step_id in child.references),
            is_eager=any(child.is_eager for child in children),
            is_fallible=any(child.is_fallible for child in children),
        )
        self.head = head
        self.slots = slots

    def evaluate(self, scope: Scope) -> Evaluated:
        parts = [self.head]
        needs: Needs = ()
        for child, text in self.slots:
            value = child.evaluate(scope)
            if isinstance(value, bytes):
                parts.append(value)
                parts.append(text)
            elif isinstance(value, tuple):
                needs += value
            else:
                return value
        return tuple(dict.fromkeys(needs)) if needs else b"".join(parts)

"""How a component leaves until it is resumed: `suspend` in its context, whatever the context is.

A component that is resumed is executed from its top. A `suspend` whose label was resumed returns what it was resumed
with; the first one that was not ends the execution. Nothing of the component is kept in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from msgspec import UNSET, Raw

from component_sdk.codec import decode, encode, make_decoder, make_schema
from protocol.types import Resume, Suspend


class Suspended(BaseException):
    """Ends a component that waits to be resumed; `suspend` raises it.

    It is no `Exception`, so that a component's own `except Exception` lets it pass.

    Args:
        suspend: What the runtime is told.
    """

    def __init__(self, suspend: Suspend) -> None:
        super().__init__(f"suspended, waiting for {suspend.label!r}")
        self.suspend = suspend


class Resumes:
    """What the step was resumed with before this execution, and how often it has asked so far.

    Args:
        resumes: As they came with the execution.
        schema: What a suspension that names no schema may be resumed with; `None` for anything.
    """

    __slots__ = ("_asked", "_by_label", "_schema")

    def __init__(self, resumes: Iterable[Resume] = (), schema: Any = None) -> None:
        self._by_label = {resume.label: resume.data for resume in resumes}
        self._schema = schema
        self._asked = 0

    def suspend(
        self,
        payload: Any = None,
        *,
        schema: Any = None,
        label: str | None = None,
        token: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> Any:
        """What this suspension was resumed with; if it was not yet, the component ends here.

        Args:
            payload: For whoever resumes it: any value that has a JSON form.
            schema: What it may be resumed with: a JSON Schema, or a type, as which the data is then read; default, what
                the component was registered with (`resume=`).
            label: Names it among the suspensions of the step; default, which of them it is: "1" for the first.
            token: Names it everywhere, as long as it waits.
            timeout: After which the step fails, in seconds.

        Raises:
            Suspended: It was not resumed yet; let it pass.
            Unfit: The data is not of the type.
        """
        self._asked += 1
        schema = self._schema if schema is None else schema
        label = str(self._asked) if label is None else label
        is_type = schema is not None and type(schema) not in (dict, bool)
        if label in self._by_label:
            data = self._by_label[label]
            return decode(make_decoder(schema if is_type else Any), data)
        wanted = make_schema(schema) if is_type else schema
        raise Suspended(
            Suspend(
                label,
                UNSET if payload is None else Raw(encode(payload)),
                UNSET if wanted is None or wanted is UNSET else Raw(encode(wanted)),
                token,
                None if timeout is None else max(round(to_seconds(timeout) * 1000), 1),
            )
        )


def to_seconds(duration: float | timedelta) -> float:
    """A duration as a number."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)

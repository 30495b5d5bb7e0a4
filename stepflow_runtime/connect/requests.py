"""What peers ask of the runtime, in numbers: how many requests, how they were answered, and how long they took.

It is told of each request once it is answered, whatever way it came: wire, HTTP, console.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from protocol.errors import ErrorCode
from protocol.methods import METHODS
from stepflow_runtime.model.metric import Histogram

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OK: Final = "ok"
OTHER: Final = "other"
"""A method that there is not, or a code that is not ours: peers choose neither the names of series nor their number."""

_CODES: Final = {int(code): code.type_name for code in ErrorCode}


class RequestTally:
    """Counts requests.

    Attributes:
        answers: By method, and by `ok` or the error's type.
        durations: Of those that were worked on, in seconds, by method; what they waited for is left out.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.durations: dict[str, Histogram] = {}

    def note(self, method: str, code: int | None, seconds: float | None) -> None:
        """A request was answered.

        Args:
            method: What it asked for.
            code: Of the error; `None` for a result.
            seconds: How long it was worked on; `None` if it was refused at once.
        """
        name = method if method in METHODS else OTHER
        self.answers[name, OK if code is None else _CODES.get(code, OTHER)] += 1
        if seconds is not None:
            histogram = self.durations.get(name)
            if histogram is None:
                histogram = self.durations[name] = Histogram(BOUNDS_S)
            histogram.observe(seconds)

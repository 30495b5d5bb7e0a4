"""What does not begin because its run is paused, and begins when it goes on. Pure; a part of `run_state`.

A pause lies between steps: what is in flight ends, and what follows from it is kept here. None of this is in the
journal: another runtime finds it again, as it finds what was in flight.
"""

from __future__ import annotations

from stepflow_runtime.engine.whole import Whole
from stepflow_runtime.model import events as ev


class Pause:
    """What one run holds back."""

    __slots__ = ("_attempts", "_ready", "_state")

    def __init__(self, state: Whole) -> None:
        self._state = state
        self._ready: dict[int, list[tuple[str, bytes]]] = {}
        self._attempts: list[tuple[int, str, int]] = []

    @property
    def is_on(self) -> bool:
        return self._state.facts.progress.paused

    def holds(self, index: int) -> bool:
        """Whether steps of an item are ready and held back."""
        return index in self._ready

    def keep_ready(self, index: int, ready: list[tuple[str, bytes]]) -> None:
        """Steps that have not begun, with their inputs."""
        if ready:
            self._ready.setdefault(index, []).extend(ready)

    def keep_attempt(self, index: int, step: str, attempt: int) -> None:
        """An attempt whose time has come."""
        self._attempts.append((index, step, attempt))

    def begin(self) -> None:
        """Pauses the run; nothing changes if it is paused, or over."""
        if not self.is_on and not self._state.facts.is_terminal:
            self._state.record(ev.RunPaused())

    def end(self) -> None:
        """Lets the run go on."""
        state, live = self._state, self._state.facts.live
        if not self.is_on or state.facts.is_terminal:
            return
        state.record(ev.RunUnpaused())
        ready, attempts = self._ready, self._attempts
        self._ready, self._attempts = {}, []
        for index, steps in ready.items():
            if index in live and not live[index].cancelling:
                state.begin_steps(live[index], steps)
        for attempt in attempts:
            state.retry_due(*attempt)

"""What runs do by themselves when a time has come: they begin, are sealed, stop, or end what was asked to end.

Below `executor`, which takes the turns. What waits for a time *in* a run is the business of `waking`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from protocol.runs import RunState as RunStatus
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.cancellation import end_grace
from stepflow_runtime.engine.run_state import RUN_TIMEOUT
from stepflow_runtime.engine.timers import Timers
from stepflow_runtime.ports import Clock


class RunTimers:
    """The timers of whole runs.

    Args:
        clock, timers: Of the engine.
        touch: Takes a turn with a run.
        open_run_timeout_s: An open run without an append for so long is sealed.
    """

    def __init__(
        self, clock: Clock, timers: Timers, touch: Callable[[ActiveRun], None], open_run_timeout_s: float
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._touch = touch
        self._open_run_timeout_s = open_run_timeout_s

    def watch(self, run: ActiveRun) -> None:
        """Begins a run that is delayed, ends it when its time is over, and seals it when nothing is appended."""
        spec = run.spec
        delay_ms = spec.delay_until_ms or 0
        if delay_ms > self._clock.wall_ms() and run.state.facts.progress.status is RunStatus.PENDING:
            run.delay = self._timers.at_ms(delay_ms, partial(self._begin, run))
        if spec.run_timeout_ms is not None:
            begins_ms = max(spec.created_at_ms, delay_ms)
            run.timeout = self._timers.at_ms(begins_ms + spec.run_timeout_ms, partial(self._time_out, run))
        self.watch_appends(run)

    def watch_appends(self, run: ActiveRun) -> None:
        """Inputs may be appended from now on for so long."""
        if run.idle is not None:
            run.idle.cancel()
            run.idle = None
        if not run.state.facts.progress.sealed:
            run.idle = self._timers.after(self._open_run_timeout_s, partial(self._seal, run))

    def give_grace(self, run: ActiveRun, items: Sequence[int] | None, grace_s: float) -> None:
        """What was asked to end, of a run or of some of its items, has so long to do so."""
        self._timers.after(grace_s, partial(self._end_grace, run, items))

    def drop(self, run: ActiveRun) -> None:
        """Forgets a run."""
        for timer in (run.idle, run.timeout, run.delay):
            if timer is not None:
                timer.cancel()

    def _begin(self, run: ActiveRun) -> None:
        run.delay = None
        self._touch(run)

    def _time_out(self, run: ActiveRun) -> None:
        run.state.stop(RUN_TIMEOUT)
        self._touch(run)

    def _seal(self, run: ActiveRun) -> None:
        run.state.append(run.state.facts.progress.total, sealed=True)
        self._touch(run)

    def _end_grace(self, run: ActiveRun, items: Sequence[int] | None) -> None:
        end_grace(run.state, items)
        self._touch(run)

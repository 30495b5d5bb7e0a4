"""What is known of a run: its status as properties, however it was come by."""

from __future__ import annotations

from datetime import datetime

from protocol.runs import ItemCounts, RunState, RunStatus, SuspensionInfo


class RunFacts:
    """The facts of one run. What is below says how they are come by: seen last, or looked up each time."""

    __slots__ = ()

    def _look(self) -> RunStatus:
        raise NotImplementedError

    @property
    def status(self) -> RunState:
        """How the run is; `as_` says it in the words of another system."""
        return self._look().status

    @property
    def status_detail(self) -> str | None:
        """More about the status, such as `awaitingInput` or `noActionTaken`."""
        return self._look().status_detail

    @property
    def current_state_name(self) -> str | None:
        """The step that started last."""
        return self._look().current_state_name

    @property
    def no_action_taken(self) -> bool:
        """Whether the run has ended well, and every item of it found nothing to do."""
        return self._look().status_detail == "noActionTaken"

    @property
    def items(self) -> ItemCounts:
        """How many items there are, and how many in each state."""
        return self._look().items

    @property
    def suspensions(self) -> list[SuspensionInfo]:
        """What waits to be resumed, the first hundred."""
        return self._look().suspensions or []

    @property
    def flow_id(self) -> str:
        return self._look().flow_id

    @property
    def flow_name(self) -> str | None:
        return self._look().flow_name

    @property
    def labels(self) -> dict[str, str]:
        """What it was given at its submission, to be found again by."""
        return self._look().labels or {}

    @property
    def created_by(self) -> str | None:
        """Who submitted it, if that is known."""
        return self._look().created_by

    @property
    def job_run_id(self) -> str | None:
        """The job that submitted it, if one did."""
        return self._look().job_run_id

    @property
    def parent_run_id(self) -> str | None:
        """The run of which a step submitted it, if one did."""
        return self._look().parent_run_id

    @property
    def forked_from(self) -> str | None:
        """The run that it is a fork of, if it is one."""
        return self._look().forked_from

    @property
    def created_at(self) -> datetime:
        return datetime.fromisoformat(self._look().created_at)

    @property
    def started_at(self) -> datetime | None:
        """When its first step began, if one has."""
        return _parse_time(self._look().started_at)

    @property
    def updated_at(self) -> datetime | None:
        """When something happened in it last."""
        return _parse_time(self._look().updated_at)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended, if it has."""
        return _parse_time(self._look().completed_at)


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

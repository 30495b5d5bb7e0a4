"""The status tables of runs, items and steps: state → event → state. Terminal states have empty rows.

The generic `advance` is the protocol's; SQL checks, diagrams and docs are tested against these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from protocol.runs import ItemState, RunState, StepState


class Change(StrEnum):
    """What can happen to a run, an item or a step."""

    START = "start"
    RETRY = "retry"
    SUSPEND = "suspend"
    RESUME = "resume"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"


_ENDS_RUN: Final = {
    Change.SUCCEED: RunState.SUCCESS,
    Change.FAIL: RunState.FAILED,
    Change.CANCEL: RunState.CANCELLED,
}
RUN: Final[Mapping[RunState, Mapping[Change, RunState]]] = {
    RunState.PENDING: {Change.START: RunState.RUNNING, **_ENDS_RUN},
    RunState.RUNNING: {Change.SUSPEND: RunState.SUSPENDED, **_ENDS_RUN},
    RunState.SUSPENDED: {Change.RESUME: RunState.RUNNING, **_ENDS_RUN},
    RunState.SUCCESS: {},
    RunState.FAILED: {},
    RunState.CANCELLED: {},
}

ITEM: Final[Mapping[ItemState, Mapping[Change, ItemState]]] = {
    ItemState.PENDING: {
        Change.START: ItemState.RUNNING,
        Change.FAIL: ItemState.FAILED,
        Change.CANCEL: ItemState.CANCELLED,
    },
    ItemState.RUNNING: {
        Change.SUSPEND: ItemState.SUSPENDED,
        Change.SUCCEED: ItemState.SUCCESS,
        Change.FAIL: ItemState.FAILED,
        Change.CANCEL: ItemState.CANCELLED,
    },
    ItemState.SUSPENDED: {
        Change.RESUME: ItemState.PENDING,
        Change.CANCEL: ItemState.CANCELLED,
    },
    ItemState.SUCCESS: {},
    ItemState.FAILED: {},
    ItemState.CANCELLED: {},
}

STEP: Final[Mapping[StepState, Mapping[Change, StepState]]] = {
    StepState.RUNNING: {
        Change.SUCCEED: StepState.SUCCESS,
        Change.FAIL: StepState.FAILED,
        Change.RETRY: StepState.RETRYING,
        Change.SUSPEND: StepState.SUSPENDED,
        Change.CANCEL: StepState.CANCELLED,
    },
    StepState.SUSPENDED: {
        Change.RESUME: StepState.RUNNING,
        Change.FAIL: StepState.FAILED,
        Change.CANCEL: StepState.CANCELLED,
    },
    StepState.RETRYING: {
        Change.START: StepState.RUNNING,
        Change.FAIL: StepState.FAILED,
        Change.CANCEL: StepState.CANCELLED,
    },
    StepState.SUCCESS: {},
    StepState.FAILED: {},
    StepState.CANCELLED: {},
}

TERMINAL_RUN_STATES: Final = frozenset(state for state, row in RUN.items() if not row)
"""States in which a run never changes again."""

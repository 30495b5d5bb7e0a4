"""Methods that read, with answers whose payloads stay as they came: they are passed on digit for digit."""

# pyright: reportIncompatibleVariableOverride=false
# What is read here is never written, so that a narrower type is safe.

from __future__ import annotations

from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType, structs

from protocol import byproducts as b
from protocol import methods as m
from protocol import types as t


class RawError(t.ItemError):
    data: Raw | UnsetType = UNSET


class RawResult(t.ItemResult):
    value: Raw | UnsetType = UNSET
    error: RawError | None = None


class RawEntry(t.ItemEntry):
    result: RawResult


class RawSuspension(t.SuspensionInfo, kw_only=True):
    payload: Raw | UnsetType = UNSET
    resume_schema: Raw | UnsetType = UNSET


class RawRun(t.RunStatus, kw_only=True):
    results: list[RawEntry] | None = None  # type: ignore[assignment]
    suspensions: list[RawSuspension] | None = None  # type: ignore[assignment]


class RawItem(t.ItemInfo):
    input: Raw | UnsetType = UNSET
    result: RawResult | None = None


class RawItems(t.ListItemsResult):
    items: list[RawItem]  # type: ignore[assignment]


class RawStep(t.StepInfo):
    result: RawResult | None = None
    suspension: RawSuspension | None = None


class RawSteps(t.ListStepsResult):
    steps: list[RawStep]  # type: ignore[assignment]


class RawEvent(t.RunEvent):
    data: Raw | UnsetType = UNSET  # type: ignore[assignment]


class RawEvents(t.EventsResult):
    events: list[RawEvent]  # type: ignore[assignment]


class RawChunk(b.StreamChunk):
    data: Raw


class RawChunks(b.ReadStreamResult):
    chunks: list[RawChunk]  # type: ignore[assignment]


class RawBlob(t.GetBlobResult):
    data: Raw


def _pass_on(method: m.Method, result: type[Struct]) -> m.Method:
    return structs.replace(method, result=result)


GET_RUN: Final = _pass_on(m.GET_RUN, RawRun)
LIST_ITEMS: Final = _pass_on(m.LIST_ITEMS, RawItems)
LIST_STEPS: Final = _pass_on(m.LIST_STEPS, RawSteps)
LIST_EVENTS: Final = _pass_on(m.LIST_EVENTS, RawEvents)
READ_STREAM: Final = _pass_on(m.READ_STREAM, RawChunks)
GET_BLOB: Final = _pass_on(m.GET_BLOB, RawBlob)

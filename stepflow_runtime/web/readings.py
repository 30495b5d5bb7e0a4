"""Methods that read, with answers whose payloads stay as they came: they are passed on digit for digit."""

# pyright: reportIncompatibleVariableOverride=false
# What is read here is never written, so that a narrower type is safe.

from __future__ import annotations

from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType, structs

from protocol import byproducts, methods, runs, types


class RawError(runs.ItemError):
    data: Raw | UnsetType = UNSET


class RawResult(runs.ItemResult):
    value: Raw | UnsetType = UNSET
    error: RawError | None = None


class RawEntry(runs.ItemEntry):
    result: RawResult


class RawSuspension(runs.SuspensionInfo, kw_only=True):
    payload: Raw | UnsetType = UNSET
    resume_schema: Raw | UnsetType = UNSET


class RawRun(runs.RunStatus, kw_only=True):
    results: list[RawEntry] | None = None  # type: ignore[assignment]
    suspensions: list[RawSuspension] | None = None  # type: ignore[assignment]


class RawItem(runs.ItemInfo):
    input: Raw | UnsetType = UNSET
    result: RawResult | None = None


class RawItems(runs.ListItemsResult):
    items: list[RawItem]  # type: ignore[assignment]


class RawStep(runs.StepInfo):
    result: RawResult | None = None
    suspension: RawSuspension | None = None


class RawSteps(runs.ListStepsResult):
    steps: list[RawStep]  # type: ignore[assignment]


class RawEvent(runs.RunEvent):
    data: Raw | UnsetType = UNSET  # type: ignore[assignment]


class RawEvents(runs.EventsResult):
    events: list[RawEvent]  # type: ignore[assignment]


class RawChunk(byproducts.StreamChunk):
    data: Raw


class RawChunks(byproducts.ReadStreamResult):
    chunks: list[RawChunk]  # type: ignore[assignment]


class RawBlob(types.GetBlobResult):
    data: Raw


def _pass_on(method: methods.Method, result: type[Struct]) -> methods.Method:
    return structs.replace(method, result=result)


GET_RUN: Final = _pass_on(methods.GET_RUN, RawRun)
LIST_ITEMS: Final = _pass_on(methods.LIST_ITEMS, RawItems)
LIST_STEPS: Final = _pass_on(methods.LIST_STEPS, RawSteps)
LIST_EVENTS: Final = _pass_on(methods.LIST_EVENTS, RawEvents)
READ_STREAM: Final = _pass_on(methods.READ_STREAM, RawChunks)
GET_BLOB: Final = _pass_on(methods.GET_BLOB, RawBlob)

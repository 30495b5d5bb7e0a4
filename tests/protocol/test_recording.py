"""What a recording leaves out or refuses, so that it stays a file that people read."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from protocol.byproducts import ListStreamsResult, StreamInfo
from protocol.errors import ErrorCode, RpcError
from protocol.methods import GET_RUN, LIST_ITEMS, LIST_RUNS, LIST_STEPS, LIST_STREAMS, Method
from protocol.recording import MAX_BLOB_BYTES, MAX_CHUNKS, MAX_ITEMS, record
from protocol.runs import (
    ItemCounts,
    ItemInfo,
    ItemState,
    ListItemsResult,
    ListRunsResult,
    ListStepsResult,
    RunState,
    RunStatus,
)
from protocol.types import BlobType, GetBlobParams, GetBlobResult

FLOW, SMALL, LARGE, GONE, INNER = (f"blake3:{digit * 64}" for digit in "abcde")


class FakeRuntime:
    """A runtime with one run, whose only item names blobs."""

    def __init__(self, items: int = 1, chunks: int = 0) -> None:
        self.items = items
        self.chunks = chunks
        self.blobs: dict[str, Any] = {FLOW: {}, SMALL: [INNER], LARGE: "x" * MAX_BLOB_BYTES, INNER: {"again": SMALL}}

    async def ask(self, method: Method, params: Struct) -> Any:
        match params:
            case GetBlobParams(blob_id=blob_id):
                if blob_id not in self.blobs:
                    raise RpcError(ErrorCode.NOT_FOUND, "gone", kind="blob")
                return GetBlobResult(self.blobs[blob_id], BlobType.DATA)
            case _:
                return {
                    GET_RUN: RunStatus(
                        run_id="r", flow_id=FLOW, status=RunState.SUCCESS, items=ItemCounts(self.items), created_at=""
                    ),
                    LIST_RUNS: ListRunsResult([]),
                    LIST_ITEMS: ListItemsResult([ItemInfo(0, ItemState.SUCCESS, input=[SMALL, LARGE, GONE])]),
                    LIST_STEPS: ListStepsResult([]),
                    LIST_STREAMS: ListStreamsResult([StreamInfo("log", self.chunks, True)] if self.chunks else []),
                }[method]


async def test_blobs_are_followed_and_those_that_are_large_or_gone_are_left_out() -> None:
    recording = await record(FakeRuntime().ask, "r")
    assert recording.blobs is not None
    assert {blob_id: blob.data for blob_id, blob in recording.blobs.items()} == {
        SMALL: [INNER],
        INNER: {"again": SMALL},
    }
    assert recording.streams is None


@pytest.mark.parametrize(
    ("runtime", "limit"),
    [(FakeRuntime(items=MAX_ITEMS + 1), "recordedItems"), (FakeRuntime(chunks=MAX_CHUNKS + 1), "recordedChunks")],
)
async def test_a_run_that_is_too_large_is_refused_with_the_limit(runtime: FakeRuntime, limit: str) -> None:
    with pytest.raises(RpcError) as caught:
        await record(runtime.ask, "r")
    assert (caught.value.code, caught.value.data["limit"]) == (ErrorCode.LIMIT_EXCEEDED, limit)

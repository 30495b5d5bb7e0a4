"""What tests of stores share: the stores under test, and runs that are quickly written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Raw

from protocol.runs import RunState
from stepflow_runtime.model.events import AnyEvent, RunCreated, StepSucceeded
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.spec import IdempotencyKey, ParentLink, RunSpec
from stepflow_runtime.ports import CommitResult, RunProgress, RunWrite
from stepflow_runtime.store.memory import MemoryStore, open_memory
from stepflow_runtime.store.sqlite import SqliteStore, open_sqlite

AnyStore = MemoryStore | SqliteStore
Kind = Literal["memory", "sqlite", "sqlite-inline"]
KINDS: Final[tuple[Kind, ...]] = ("memory", "sqlite", "sqlite-inline")

FLOW: Final = BlobId("blake3:" + "f" * 64)


@asynccontextmanager
async def open_kind(kind: Kind, path: Path) -> AsyncGenerator[AnyStore, None]:
    """A store of this kind. The memory one begins empty each time, and the inline one always reads its database."""
    match kind:
        case "memory":
            async with open_memory() as memory:
                yield memory
        case "sqlite":
            async with open_sqlite(path) as sqlite:
                yield sqlite
        case "sqlite-inline":
            async with open_sqlite(path, inline_only=True, recent_bytes=0) as inline:
                yield inline


def name_run(number: int) -> RunId:
    """Run ids whose order is that of their numbers."""
    return RunId(f"0191{number:04d}-0000-7000-8000-000000000000")


def specify(
    run_id: RunId,
    *,
    root: RunId | None = None,
    parent: ParentLink | None = None,
    key: str | None = None,
    flow_id: BlobId = FLOW,
    flow_name: str | None = None,
    labels: dict[str, str] | None = None,
    created_at_ms: int = 1000,
    variables: dict[str, Raw] | None = None,
    job_run_id: str | None = None,
) -> RunSpec:
    return RunSpec(
        run_id=run_id,
        root_run_id=root or run_id,
        flow_id=flow_id,
        flow_name=flow_name,
        parent=parent,
        labels=labels or {},
        variables=variables or {},
        idempotency=None if key is None else IdempotencyKey("alice", key, "content"),
        created_at_ms=created_at_ms,
        job_run_id=job_run_id,
    )


def creation(store: AnyStore, spec: RunSpec, *, total: int = 10, **rest: Any) -> RunWrite:
    return RunWrite(
        run_id=spec.run_id,
        lease=store.lease(spec.root_run_id),
        expected_seq=0,
        events=[RunCreated(spec, total, True)],
        at_ms=spec.created_at_ms,
        completions_before=0,
        progress=RunProgress(total=total),
        spec=spec,
        **rest,
    )


def step(item: int, *, ends: bool = True) -> StepSucceeded:
    return StepSucceeded(item, "a", 1, Raw(b'{"n":%d}' % item), 1 if ends else 0)


def addition(
    store: AnyStore,
    run_id: RunId,
    after: int,
    events: Sequence[AnyEvent],
    *,
    before: int = 0,
    ended: int = 0,
    status: RunState = RunState.RUNNING,
    total: int = 10,
    **rest: Any,
) -> RunWrite:
    """A later commit of a run: events after `after`, of which `ended` end an item, as `before` did before."""
    return RunWrite(
        run_id=run_id,
        lease=store.lease(run_id),
        expected_seq=after,
        events=events,
        at_ms=2000 + after,
        completions_before=before,
        progress=RunProgress(status=status, total=total, success=before + ended),
        **rest,
    )


async def create(store: AnyStore, number: int, **fields: Any) -> RunId:
    """Commits a new run."""
    run_id = name_run(number)
    (result,) = await store.commit([creation(store, specify(run_id, **fields))])
    assert type(result).__name__ == "Committed", result
    return run_id


async def end(store: AnyStore, run_id: RunId, status: RunState = RunState.SUCCESS, after: int = 1) -> CommitResult:
    """Commits the end of a run."""
    (result,) = await store.commit([addition(store, run_id, after, [step(0)], status=status)])
    return result

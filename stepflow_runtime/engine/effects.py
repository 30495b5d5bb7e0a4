"""Delivery of outbox messages: what runs do to their sub-runs, at least once, after the commit that wrote it."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
import trio

from stepflow_runtime.engine.commands import CancelledChildren, EffectKind, UnclaimedChildren
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.patience import insist
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import Message, RunRecord, Store

PARENT_CANCELLED: Final = "parentCancelled"
UNCLAIMED: Final = "unclaimed"
CHILD_GRACE_S: Final = 5.0


async def deliver_effects(executor: Executor, store: Store) -> None:
    """Delivers messages as they become durable, until cancelled. Cancelling a run that has ended changes nothing."""
    async for message in executor.messages:
        await insist("the cancellation of sub-runs", partial(_deliver, message, executor, store))
        await trio.lowlevel.checkpoint()


async def _deliver(message: Message, executor: Executor, store: Store) -> None:
    targets = [child.spec.run_id for child in await _find_targets(message, store)]
    for run_id in targets:
        executor.request_cancel(run_id, _reason(message), None, CHILD_GRACE_S)
    for run_id in targets:  # a message is forgotten only when what it brought about is durable
        run = executor.active(run_id)
        if run is not None:
            await executor.wait_committed(run, run.state.facts.seq)
    await store.settle([message])


async def _find_targets(message: Message, store: Store) -> list[RunRecord]:
    match message.kind:
        case EffectKind.CANCEL_CHILDREN:
            cancelled = msgspec.json.decode(message.body, type=CancelledChildren)
            children = await store.children(message.run_id)
            if cancelled.items is not None:
                children = [
                    child for child in children if child.spec.parent and child.spec.parent.item_index in cancelled.items
                ]
        case EffectKind.CANCEL_UNCLAIMED:
            unclaimed = msgspec.json.decode(message.body, type=UnclaimedChildren)
            children = await store.children_of_step(message.run_id, unclaimed.item, unclaimed.step)
            children = [child for child in children if child.spec.run_id not in unclaimed.claimed]
        case _:
            raise AssertionError(f"unknown kind of message: {message.kind}")
    return [
        child
        for child in children
        if child.spec.parent_close_policy == "cancel" and child.progress.status not in TERMINAL_RUN_STATES
    ]


def _reason(message: Message) -> str:
    return PARENT_CANCELLED if message.kind == EffectKind.CANCEL_CHILDREN else UNCLAIMED

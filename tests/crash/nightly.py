"""A job and a webhook, as a client has them, and what must hold of them at the end of all lives of a runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Raw

from protocol.automation import (
    GetJobParams,
    ListWebhooksParams,
    RegisterWebhookParams,
    RunTemplate,
    SubmitJobParams,
)
from protocol.runs import RunState
from stepflow_runtime.ports import RunFilter
from stepflow_runtime.store.sqlite import SqliteStore
from tests.stepflow_runtime.engine.world import CHAIN, World

Insist = Callable[..., Awaitable[Any]]

Told = dict[str, set[str]]
"""By run, the ids under which its end was told."""


async def order(world: World, insist: Insist) -> str:
    """Registers a webhook, unless there is one, and submits a job of two runs; its id."""
    if not (await world.webhooks.list_webhooks(ListWebhooksParams(), world.client)).webhooks:
        params = RegisterWebhookParams(url="https://receiver.example/", events=["run.completed"])
        await insist(world.webhooks.register, params, world.client)
    template = RunTemplate(flow_id=await insist(world.put_flow, CHAIN), inputs=[Raw(b"7"), Raw(b"8")])
    job = SubmitJobParams(runs=[template, template], idempotency_key="job")
    job_id: str = (await insist(world.jobs.submit, job, world.client)).job_run_id
    return job_id


async def finish(world: World, job_id: str) -> None:
    """Waits for the end of the job: each of its runs was made, and made once."""
    ended = await world.jobs.get(GetJobParams(job_id, wait=True), world.client)
    assert ended.status is RunState.SUCCESS
    made = await world.store.runs(RunFilter(job_run_id=job_id), None, 10)
    assert [record.spec.run_id for record in made] == [run.run_id for run in ended.runs][::-1]


def note_told(world: World, told: Told) -> None:
    """Notes what the receiver got."""
    for _, headers, body in world.sender.sent:
        told[body["data"]["runId"]].add(headers["webhook-id"])


async def check_announced(store: SqliteStore, told: Told) -> None:
    """The end of each run that no other run submitted was told, however often, under one id."""
    records = await store.runs(RunFilter(), None, 1000)
    assert told.keys() == {record.spec.run_id for record in records if record.spec.parent is None}
    assert {len(ids) for ids in told.values()} == {1}

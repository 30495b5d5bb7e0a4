"""A client with a job: whatever fails, its runs go in order, each is made once, and a failure stops the rest."""

from __future__ import annotations

from random import Random

import msgspec
import trio
from msgspec import Raw

from protocol import methods as m
from protocol.automation import CancelJobParams, GetJobParams, JobStatus, RunTemplate, SubmitJobParams
from protocol.runs import RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from tests.simulation.workload import PLAIN, Client, draw_input


async def follow_job(client: Client, chance: Random, key: str) -> None:
    """Submits a job, perhaps twice, perhaps cancels it, and checks how it ended."""
    runs = [await _draw_run(client, chance) for _ in range(chance.randint(1, 4))]
    submission = SubmitJobParams(runs=runs, idempotency_key=key)
    job: JobStatus = await client.ask(m.SUBMIT_JOB, submission)
    if chance.random() < 0.3:
        again: JobStatus = await client.ask(m.SUBMIT_JOB, submission)
        if again.job_run_id != job.job_run_id:
            client.world.trace.violate(f"the key {key} gave the jobs {job.job_run_id} and {again.job_run_id}")
    if chance.random() < 0.3:
        await trio.sleep(chance.choice([0, 0.05, 1]))
        await client.ask(m.CANCEL_JOB, CancelJobParams(job.job_run_id, grace_ms=chance.choice([0, 200])))
    ended: JobStatus = await client.ask(m.GET_JOB, GetJobParams(job.job_run_id, wait=True))
    _check(client, ended)
    for run in ended.runs:
        if run.run_id is not None:
            await client.finish(run.run_id)


async def _draw_run(client: Client, chance: Random) -> RunTemplate:
    inputs = [draw_input(chance, number) for number in range(chance.choice([0, 1, 3, 8]))]
    flow_id = await client.put_flow(chance.choice(PLAIN))
    return RunTemplate(flow_id=flow_id, inputs=[Raw(msgspec.json.encode(value)) for value in inputs])


def _check(client: Client, job: JobStatus) -> None:
    trace, stored = client.world.trace, client.world.disk.state._runs
    if job.status not in TERMINAL_RUN_STATES:
        trace.violate(f"waiting for job {job.job_run_id} ended while it is {job.status}")
    made = sorted(run_id for run_id, run in stored.items() if run.record.spec.job_run_id == job.job_run_id)
    named = [run.run_id for run in job.runs if run.run_id is not None]
    if made != named:
        trace.violate(f"job {job.job_run_id} names {named}, on the disk are {made}")
    for run in job.runs[: len(named)]:
        if run.status is not stored[RunId(run.run_id or "")].record.progress.status:
            trace.violate(f"job {job.job_run_id} says that {run.run_id} is {run.status}")
    states = [run.status for run in job.runs]
    if any(state is not RunState.SUCCESS for state in states[: len(named) - 1]):
        trace.violate(f"job {job.job_run_id} went on after a failure: {states}")
    if (job.status is RunState.SUCCESS) != (set(states) == {RunState.SUCCESS}):
        trace.violate(f"job {job.job_run_id} is {job.status}, its runs are {states}")

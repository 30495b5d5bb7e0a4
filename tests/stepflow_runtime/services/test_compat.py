"""The shapes of the methods before `runs/*`, as the published protocol's models have them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from protocol.link import Link
from protocol.messages import encode_params
from protocol.methods import METHODS
from protocol.runs import ItemError, ItemResult, Outcome
from stepflow_runtime.app.config import AcceptConfig, Config, MemoryStorage, MockConfig, RuntimeLimits
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.connect.mock import read_behaviors
from stepflow_runtime.connect.routes import Route
from stepflow_runtime.services.compat import make_flow_result

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BEHAVIORS = [
    {"input": 1, "result": {"outcome": "success", "value": {"n": 1.50}}},
    {"input": None, "result": {"outcome": "success", "value": None}},
    {"input": 2, "result": {"outcome": "failed", "error": {"code": "INVALID_INPUT", "message": "no", "data": [2]}}},
]


class Caller:
    """Calls a runtime's methods with JSON."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def call(self, name: str, **params: Any) -> Any:
        method = METHODS[name]
        with trio.fail_after(10):
            answer = await self._link.call(method, msgspec.json.decode(msgspec.json.encode(params), type=method.params))
        return msgspec.json.decode(encode_params(answer))

    async def refuse(self, name: str, **params: Any) -> RpcError:
        with pytest.raises(RpcError) as raised:
            await self.call(name, **params)
        return raised.value

    async def put(self, component: str, **more: Any) -> str:
        step = {"id": "s", "component": component, "input": {"$input": "$"}, "metadata": {"of": "s"}}
        flow = {"steps": [step, {"id": "bare", "component": component}], "output": {"$step": "s"}, **more}
        blob_id: str = (await self.call("blobs/put", data=flow, blob_type="flow"))["blob_id"]
        return blob_id


@asynccontextmanager
async def open_caller(limits: RuntimeLimits | None = None) -> AsyncGenerator[Caller]:
    """A runtime whose `/mock/one` answers by `BEHAVIORS`, and whose `/absent` has no server and never answers."""
    config = Config(
        folder=Path(),
        plugins={
            "mock": MockConfig(components={"/one": read_behaviors("/one", BEHAVIORS)}),
            "absent": AcceptConfig(accept="nobody"),
        },
        routes=(Route("/mock/{*component}", "mock"), Route("/absent/{*component}", "absent")),
        storage=MemoryStorage(),
        limits=limits or RuntimeLimits(),
    )
    async with open_runtime(config) as runtime, runtime.connect_local() as link:
        yield Caller(link)


async def test_an_evaluation_answers_with_outcome_and_result() -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/mock/one")
        assert await caller.call("flows/evaluate", flow_id=flow_id, input=1, observability=None) == {
            "result": {"outcome": "success", "result": {"n": 1.5}}
        }


async def test_a_result_that_is_null_is_written() -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/mock/one")
        answer = await caller.call("flows/evaluate", flow_id=flow_id, input=None)
        assert answer == {"result": {"outcome": "success", "result": None}}


async def test_an_evaluation_that_fails_has_a_number_for_a_code() -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/mock/one")
        assert await caller.call("flows/evaluate", flow_id=flow_id, input=2) == {
            "result": {"outcome": "failed", "error": {"code": -32103, "message": "no", "data": [2]}}
        }


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (ItemErrorCode.COMPONENT_FAILED, -32000),
        (ItemErrorCode.TIMEOUT, -32000),
        (ItemErrorCode.INVALID_INPUT, -32103),
        (ItemErrorCode.RESOURCE_UNAVAILABLE, -32102),
        (ItemErrorCode.COMPONENT_NOT_FOUND, -32601),
        (ItemErrorCode.LIMIT_EXCEEDED, -32020),
        (ItemErrorCode.INTERNAL, -32603),
        ("A_LATER_ONE", -32000),
    ],
)
def test_codes_of_items_become_numbers(code: str, number: int) -> None:
    failed = make_flow_result(ItemResult(Outcome.FAILED, error=ItemError(code, "why")))
    assert msgspec.json.decode(msgspec.json.encode(failed)) == {
        "outcome": "failed",
        "error": {"code": number, "message": "why"},
    }


def test_what_was_cancelled_has_failed() -> None:
    cancelled = make_flow_result(ItemResult(Outcome.CANCELLED, reason="too late"))
    assert cancelled.error is not None
    assert (cancelled.error.code, cancelled.error.message) == (-32800, "cancelled: too late")


async def test_a_batch_is_submitted_and_got_with_its_outputs() -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/mock/one", name="trio of numbers")
        batch = await caller.call("flows/submit_batch", flow_id=flow_id, inputs=[1, 2, None], max_concurrency=None)
        assert batch.keys() == {"batch_id", "total_runs"}
        assert batch["total_runs"] == 3
        answer = await caller.call("flows/get_batch", batch_id=batch["batch_id"], wait=True, include_results=True)
        details = answer["details"]
        assert TIME.fullmatch(details.pop("created_at"))
        assert TIME.fullmatch(details.pop("completed_at"))
        assert answer == {
            "details": {
                "batch_id": batch["batch_id"],
                "flow_id": flow_id,
                "flow_name": "trio of numbers",
                "total_runs": 3,
                "status": "running",
                "completed_runs": 2,
                "running_runs": 0,
                "failed_runs": 1,
                "cancelled_runs": 0,
                "paused_runs": 0,
            },
            "outputs": [
                {"batch_input_index": 0, "status": "completed", "result": {"outcome": "success", "result": {"n": 1.5}}},
                {
                    "batch_input_index": 1,
                    "status": "failed",
                    "result": {"outcome": "failed", "error": {"code": -32103, "message": "no", "data": [2]}},
                },
                {"batch_input_index": 2, "status": "completed", "result": {"outcome": "success", "result": None}},
            ],
        }


async def test_outputs_are_left_out_unless_asked_for() -> None:
    async with open_caller() as caller:
        batch = await caller.call("flows/submit_batch", flow_id=await caller.put("/mock/one"), inputs=[1])
        answer = await caller.call("flows/get_batch", batch_id=batch["batch_id"], wait=True, include_results=None)
        assert answer.keys() == {"details"}


async def test_a_batch_under_way_has_outputs_without_results_and_no_end() -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/absent/x")
        batch = await caller.call("flows/submit_batch", flow_id=flow_id, inputs=[1, 2], max_concurrency=1)
        answer = await caller.call("flows/get_batch", batch_id=batch["batch_id"], include_results=True)
        assert answer["outputs"] == [{"batch_input_index": index, "status": "running"} for index in range(2)]
        assert answer["details"]["running_runs"] == 2
        assert "completed_at" not in answer["details"]
        assert "flow_name" not in answer["details"]


async def test_who_waits_for_a_batch_is_answered_when_it_ends() -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/absent/x")
        batch_id = (await caller.call("flows/submit_batch", flow_id=flow_id, inputs=[1]))["batch_id"]
        answers: list[Any] = []

        async def wait() -> None:
            answers.append(await caller.call("flows/get_batch", batch_id=batch_id, wait=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await caller.call("flows/get_batch", batch_id=batch_id)
            await caller.call("flows/get_batch", batch_id=batch_id)
            assert not answers, "it did not wait"
            await caller.call("runs/cancel", runId=batch_id, graceMs=0)
        assert "completed_at" in answers[0]["details"]


async def test_a_cancelled_batch_says_so() -> None:
    async with open_caller() as caller:
        batch = await caller.call("flows/submit_batch", flow_id=await caller.put("/absent/x"), inputs=[1, 2])
        await caller.call("runs/cancel", runId=batch["batch_id"], graceMs=0)
        answer = await caller.call("flows/get_batch", batch_id=batch["batch_id"], wait=True, include_results=True)
        assert answer["details"]["status"] == "cancelled"
        assert answer["details"]["cancelled_runs"] == 2
        assert answer["outputs"] == [{"batch_input_index": index, "status": "cancelled"} for index in range(2)]


async def test_outputs_that_do_not_fit_a_frame_are_refused_with_the_limit() -> None:
    limits = RuntimeLimits(max_frame_bytes=66_000)
    async with open_caller(limits) as caller:
        batch = await caller.call("flows/submit_batch", flow_id=await caller.put("/mock/one"), inputs=[1] * 50)
        error = await caller.refuse("flows/get_batch", batch_id=batch["batch_id"], wait=True, include_results=True)
        assert error.code == ErrorCode.LIMIT_EXCEEDED
        assert (error.data["limit"], error.data["value"]) == ("maxFrameBytes", 66_000)


async def test_metadata_of_a_flow_are_what_it_says_of_itself() -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/mock/one", name="a", version="2", metadata={"name": "b", "team": "x"})
        assert await caller.call("flows/get_metadata", flow_id=flow_id, step_id=None) == {
            "flow_metadata": {"name": "b", "version": "2", "team": "x"}
        }


@pytest.mark.parametrize(("step_id", "told"), [("s", {"of": "s"}), ("bare", {}), ("nowhere", None)])
async def test_metadata_of_a_step_are_told_if_there_is_one(step_id: str, told: Any) -> None:
    async with open_caller() as caller:
        flow_id = await caller.put("/mock/one")
        answer = await caller.call("flows/get_metadata", flow_id=flow_id, step_id=step_id)
        assert answer.get("step_metadata") == told
        assert ("step_metadata" in answer) == (told is not None)


async def test_what_runs_refuse_is_refused_alike() -> None:
    async with open_caller() as caller:
        unknown = "blake3:" + "0" * 64
        assert (await caller.refuse("flows/evaluate", flow_id=unknown, input=1)).code == ErrorCode.NOT_FOUND
        assert (await caller.refuse("flows/get_batch", batch_id="none")).code == ErrorCode.RUN_NOT_FOUND
        error = await caller.refuse("flows/submit_batch", flow_id=unknown, inputs=[])
        assert error.code == ErrorCode.NOT_FOUND

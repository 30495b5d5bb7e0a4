from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from msgspec import UNSET, Raw

from protocol.errors import ErrorCode, RpcError
from protocol.runs import (
    GetRunParams,
    ItemCounts,
    ItemEntry,
    ItemError,
    ItemResult,
    Outcome,
    RunState,
    RunStatus,
    SubmitParams,
)
from protocol.types import BlobType
from stepflow_runtime.app.system import SystemClock
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.builtin_schemas import INFERENCES, INPUT_SCHEMAS, OUTPUT_SCHEMAS
from stepflow_runtime.connect.builtins import BuiltinPlugin
from stepflow_runtime.connect.components import COMPUTING, LEAVING, WAITING
from stepflow_runtime.connect.files import FileLoader
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.schema import Schema
from stepflow_runtime.ports import Execution
from tests.stepflow_runtime.connect.connect_kit import NotingSink, execution


class FakeServices:
    """Runs whose items end as `outcome_of` says, a page of two results at a time."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.submitted: list[tuple[Execution, SubmitParams]] = []
        self.results: list[ItemResult] = []

    def outcome_of(self, input: bytes) -> ItemResult:
        if input == b'"bad"':
            return ItemResult(Outcome.FAILED, error=ItemError("COMPONENT_FAILED", "it was bad"))
        return ItemResult(Outcome.SUCCESS, Raw(input))

    async def put_blob(self, data: bytes, blob_type: BlobType) -> str:
        blob_id = f"blob-{len(self.blobs)}-{blob_type}"
        self.blobs[blob_id] = data
        return blob_id

    async def get_blob(self, blob_id: str) -> bytes:
        if blob_id not in self.blobs:
            raise RpcError(ErrorCode.NOT_FOUND, "There is no such blob.", kind="blob")
        return self.blobs[blob_id]

    async def submit_run(self, execution: Execution, params: SubmitParams) -> RunStatus:
        if params.flow_id == "unknown":
            raise RpcError(ErrorCode.NOT_FOUND, "There is no such flow.", kind="flow")
        if params.flow_id == "endless":
            await trio.sleep_forever()
        self.submitted.append((execution, params))
        self.results = [self.outcome_of(bytes(input)) for input in params.inputs]
        return self._status(0)

    async def get_run(self, execution: Execution, params: GetRunParams) -> RunStatus:
        return self._status(params.result_offset or 0)

    def _status(self, offset: int) -> RunStatus:
        page = self.results[offset : offset + 2]
        following = offset + len(page)
        return RunStatus(
            run_id="run-7",
            flow_id="f",
            status=RunState.SUCCESS,
            items=ItemCounts(len(self.results)),
            created_at="",
            results=[ItemEntry(offset + index, result, "") for index, result in enumerate(page)],
            next_offset=following if following < len(self.results) else None,
        )


class World:
    def __init__(self, folder: Path) -> None:
        self.services, self.sink, self.answers = FakeServices(), NotingSink(), AnswerQueue()
        self.answers.report_to(self.sink)
        loader = FileLoader([folder], lambda content: {"yaml": content.decode()}, max_bytes=1000)
        self.plugin = BuiltinPlugin("builtin", self.services, self.answers, loader, SystemClock())

    async def ask(self, path: str, input: Any) -> Any:
        text = input if isinstance(input, str) else json.dumps(input)
        asked = execution(f"/builtin{path}", text)
        self.plugin.call(asked, path)
        (outcome,) = await self.sink.wait_for(asked)
        return outcome


@asynccontextmanager
async def open_world(folder: Path) -> AsyncGenerator[World]:
    world = World(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.plugin.run)
        nursery.start_soon(world.answers.run)
        yield world
        nursery.cancel_scope.cancel()


async def test_eval_gives_the_items_result_and_the_run(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        assert await world.ask("/eval", {"flow_id": "f", "input": 3}) == {
            "result": {"outcome": "success", "value": 3},
            "run_id": "run-7",
        }
        submitter, params = world.services.submitted[0]
        assert params.wait
        assert submitter.component == "/builtin/eval"


async def test_a_failed_sub_run_does_not_fail_the_step(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        answer = await world.ask("/eval", {"flow_id": "f", "input": "bad"})
        assert answer["result"] == {
            "outcome": "failed",
            "error": {"code": "COMPONENT_FAILED", "message": "it was bad"},
        }


async def test_a_flow_that_is_given_whole_is_stored_first(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.ask("/eval", '{"flow": {"output": 1.50}, "input": 1}')
        assert world.services.blobs == {"blob-0-flow": b'{"output": 1.50}'}
        assert world.services.submitted[0][1].flow_id == "blob-0-flow"


async def test_map_gives_all_results_by_index_and_keeps_digits(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        asked = execution(
            input='{"workflow": {}, "items": [1.10, "bad", 12345678901234567890123], "max_concurrency": 2}'
        )
        world.plugin.call(asked, "/map")
        (answer,) = await world.sink.wait_for(asked)
        assert (answer["successful"], answer["failed"]) == (2, 1)
        assert [result["outcome"] for result in answer["results"]] == ["success", "failed", "success"]
        raw = world.sink.answers[asked]
        assert isinstance(raw, bytes)
        assert b'"value":1.10' in raw
        assert b"12345678901234567890123" in raw
        assert world.services.submitted[0][1].max_concurrency == 2


async def test_iterate_goes_on_with_next_until_there_is_a_result(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        steps = iter([b'{"next": 2.50}', b'{"next": 3}', b'{"result": "done"}'])
        world.services.outcome_of = lambda input: ItemResult(Outcome.SUCCESS, Raw(next(steps)))  # type: ignore[method-assign]
        answer = await world.ask("/iterate", {"flow_id": "f", "initial_input": 1})
        assert answer == {"result": "done", "iterations": 3, "terminated": False}
        assert [bytes(params.inputs[0]) for _, params in world.services.submitted] == [b"1", b"2.50", b"3"]


async def test_iterate_stops_at_its_limit(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.services.outcome_of = lambda input: ItemResult(Outcome.SUCCESS, Raw(b'{"next": 9}'))  # type: ignore[method-assign]
        answer = await world.ask("/iterate", {"flow_id": "f", "initial_input": 1, "max_iterations": 4})
        assert answer == {"result": 9, "iterations": 4, "terminated": True}


@pytest.mark.parametrize("value", ["5", '{"other": 1}'])
async def test_iterate_needs_result_or_next(tmp_path: Path, value: str) -> None:
    async with open_world(tmp_path) as world:
        world.services.outcome_of = lambda input: ItemResult(Outcome.SUCCESS, Raw(value.encode()))  # type: ignore[method-assign]
        failure = await world.ask("/iterate", {"flow_id": "f", "initial_input": 1})
        assert failure.code == "INVALID_INPUT"
        assert 'neither "result" nor "next"' in failure.message


async def test_iterate_fails_with_the_item_that_fails(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        failure = await world.ask("/iterate", {"flow_id": "f", "initial_input": "bad"})
        assert failure == Failure(
            "COMPONENT_FAILED", "Iteration 1 did not succeed: it was bad", {"runId": "run-7", "iteration": 1}
        )


async def test_an_unknown_flow_is_an_invalid_input(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        failure = await world.ask("/eval", {"flow_id": "unknown", "input": 1})
        assert (failure.code, failure.message) == ("INVALID_INPUT", "There is no such flow.")


async def test_blobs_go_in_and_out_unchanged(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        put = await world.ask("/put_blob", '{"data": {"x": 1.0}}')
        asked = execution(input=json.dumps(put))
        world.plugin.call(asked, "/get_blob")
        await world.sink.wait_for(asked)
        assert world.sink.answers[asked] == b'{"data":{"x": 1.0}}'


async def test_messages_are_made_of_a_prompt_and_instructions(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        answer = await world.ask("/create_messages", {"user_prompt": "hi", "system_instructions": "be kind"})
        assert answer == {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]}


async def test_noop_returns_its_input(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        assert await world.ask("/noop", {"a": None}) == {"a": None}


@pytest.mark.parametrize(("path", "input"), [("/eval", {"input": 1}), ("/map", {"flow_id": "f"}), ("/put_blob", 3)])
async def test_an_input_that_does_not_fit_is_an_invalid_input(tmp_path: Path, path: str, input: Any) -> None:
    async with open_world(tmp_path) as world:
        assert (await world.ask(path, input)).code == "INVALID_INPUT"


async def test_an_unknown_built_in_is_not_found(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        failure = await world.ask("/nope", 1)
        assert failure.code == "COMPONENT_NOT_FOUND"
        assert "/create_messages, /eval" in failure.message


async def test_a_cancelled_built_in_ends_and_is_not_answered(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        asked = execution(input='{"flow_id": "endless", "input": 1}')
        world.plugin.call(asked, "/eval")
        await trio.testing.wait_all_tasks_blocked()
        asked.place.cancel(asked)
        await world.ask("/noop", 1)
        await trio.testing.wait_all_tasks_blocked()
        assert asked not in world.sink.answers


async def test_files_are_read_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{\n "x": 1.50\n}\n')
    (tmp_path / "b.yml").write_text("y: 2")
    (tmp_path / "c.txt").write_text("text")
    async with open_world(tmp_path) as world:
        read = await world.ask("/load_file", {"path": "a.json"})
        metadata = {"resolved_path": str(tmp_path / "a.json"), "size_bytes": 15, "format": "json"}
        assert read == {"data": {"x": 1.5}, "metadata": metadata}
        raw = world.sink.answers[world.sink.order[-1]]
        assert isinstance(raw, bytes)
        assert b"1.50" in raw
        assert b"\n" not in raw, "a frame is one line"
        assert (await world.ask("/load_file", {"path": "b.yml"}))["data"] == {"yaml": "y: 2"}
        assert (await world.ask("/load_file", {"path": "c.txt"}))["data"] == "text"
        assert (await world.ask("/load_file", {"path": "b.yml", "format": "text"}))["data"] == "y: 2"


async def test_files_outside_the_folders_are_not_read(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.txt").write_text("s")
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    async with open_world(inside) as world:
        for path in ["../secret.txt", str(tmp_path / "secret.txt"), "link.txt", "missing.txt", "."]:
            failure = await world.ask("/load_file", {"path": path})
            assert failure.code == "INVALID_INPUT"
            assert "beneath the folders" in failure.message


async def test_files_that_are_too_long_or_broken_are_refused(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("x" * 1001)
    (tmp_path / "bad.json").write_text("{")
    async with open_world(tmp_path) as world:
        assert (await world.ask("/load_file", {"path": "long.txt"})).code == "LIMIT_EXCEEDED"
        failure = await world.ask("/load_file", {"path": "bad.json"})
        assert failure.code == "INVALID_INPUT"
        assert "cannot be read as json" in failure.message


def test_every_built_in_component_says_what_it_takes_and_gives() -> None:
    paths = {*COMPUTING, *LEAVING, *WAITING, "/load_file"}
    assert paths == INPUT_SCHEMAS.keys()
    assert paths == OUTPUT_SCHEMAS.keys() | INFERENCES.keys()
    for schema in (*INPUT_SCHEMAS.values(), *OUTPUT_SCHEMAS.values()):
        Schema(schema)


@pytest.mark.parametrize(
    ("component", "given", "inferred"),
    [
        ("/noop", {"type": "string"}, {"type": "string"}),
        ("/sleep", {"const": {"duration_ms": 1, "passthrough": [1]}}, {"const": [1]}),
        ("/sleep", {"type": "object", "properties": {"passthrough": {"type": "string"}}, "required": ["passthrough"]},
         {"type": "string"}),
        ("/sleep", {"type": "object", "properties": {"passthrough": {"type": "string"}}}, UNSET),
        ("/suspend", {"const": {"resume_schema": {"type": "integer"}}}, {"type": "integer"}),
        ("/suspend", {"const": {}}, UNSET),
        ("/suspend", {}, UNSET),
    ],
)  # fmt: skip
def test_built_in_components_infer_what_they_give(component: str, given: Any, inferred: Any) -> None:
    assert INFERENCES[component](given) == inferred

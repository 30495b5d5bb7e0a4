"""Components that take batches: how they are registered, and what they answer to a runtime."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from component_sdk import Batch, BlockingContext, ComponentServer, RegistrationError, RpcError, StepflowContext
from component_sdk.testing import run_batch
from protocol import methods
from protocol.messages import decode_error
from protocol.types import BatchCall, BatchEntry, BatchInfo, Empty, ExecuteBatchParams, Limits, NoAction, Observability
from tests.component_sdk.runtimes import RuntimeSide, open_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Word(msgspec.Struct):
    text: str


async def measure(words: list[Word]) -> list[int]:
    """Measures words."""
    return [len(word.text) for word in words]


def make_server(*functions: Callable[..., Any], **options: Any) -> ComponentServer:
    server = ComponentServer()
    for function in functions:
        server.component(batch=True, name="batched", **options)(function)
    return server


async def execute(runtime: RuntimeSide, *inputs: Any, component: str = "/batched") -> list[BatchEntry]:
    """The entries of a batch with these inputs."""
    calls = [
        BatchCall(msgspec.Raw(msgspec.json.encode(value)), 1 + index, Observability(item_index=index, run_id="r"))
        for index, value in enumerate(inputs)
    ]
    result = await runtime.link.call(methods.EXECUTE_BATCH, ExecuteBatchParams(component, calls))
    entries: list[BatchEntry] = result.results
    return entries


def read(entry: BatchEntry) -> Any:
    if entry.error is not msgspec.UNSET:
        return decode_error(entry.error)
    return entry.no_action if entry.output is msgspec.UNSET else msgspec.json.decode(entry.output)


async def ask(server: ComponentServer, *inputs: Any) -> list[Any]:
    async with open_server(server) as runtime:
        return [read(entry) for entry in await execute(runtime, *inputs)]


# --- registration ---


async def test_a_component_says_how_it_takes_batches() -> None:
    server = make_server()
    server.component(batch=Batch(max_size=7, max_wait_s=0.0205))(measure)
    async with open_server(server) as runtime:
        (info,) = (await runtime.link.call(methods.LIST_COMPONENTS, Empty())).components
    assert info.batch == BatchInfo(7, 21)
    assert info.description == "Measures words."
    assert info.input_schema["$ref"] == "#/$defs/Word", "each input is one"
    assert info.output_schema == {"type": "integer"}


def test_true_is_a_batch_of_a_hundred() -> None:
    assert make_server(measure).components["/batched"].info.batch == BatchInfo(100, 5)


def test_exceptions_among_the_outputs_are_no_part_of_the_schema() -> None:
    def unhinted(words):  # type: ignore[no-untyped-def]
        return words

    async def both(words: Sequence[Word], ctxs: list[StepflowContext]) -> list[int | ValueError | None]:
        return [None for _ in words]

    assert make_server(unhinted).components["/batched"].info.output_schema is msgspec.UNSET
    component = make_server(both).components["/batched"]
    assert component.signature.takes_context
    assert component.signature.input_type is Word
    assert component.info.output_schema == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


async def no_list(word: Word) -> list[int]:
    return [1]


async def no_outputs(words: list[Word]) -> int:
    return 1


async def one_context(words: list[Word], ctx: StepflowContext) -> list[int]:
    return [1]


async def no_input() -> list[int]:
    return [1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_list, r"no_list has the hint word: Word; .* list\[Word\]"),
        (no_outputs, r"no_outputs has the hint return: int; .* list\[int\]"),
        (one_context, r"list\[StepflowContext\]"),
        (no_input, "takes no input"),
    ],
)
def test_functions_that_take_no_lists_are_refused(function: Any, message: str) -> None:
    with pytest.raises(RegistrationError, match=message):
        make_server(function)


@pytest.mark.parametrize("sizes", [{"max_size": 0}, {"max_wait_s": -1}])
def test_sizes_that_make_no_batch_are_refused(sizes: Any) -> None:
    with pytest.raises(RegistrationError, match="is no batch"):
        Batch(**sizes)


# --- execution ---


async def test_a_batch_is_one_call_of_the_function() -> None:
    calls: list[int] = []

    async def count(words: list[Word]) -> list[str]:
        calls.append(len(words))
        return [word.text for word in words]

    assert await ask(make_server(count), {"text": "a"}, {"text": "b"}) == ["a", "b"]
    assert calls == [2]


async def test_a_batched_component_is_executed_alone_too() -> None:
    async def invert(numbers: list[float]) -> list[float | Exception]:
        return [1 / n if n else ZeroDivisionError("no inverse") for n in numbers]

    async with open_server(make_server(invert)) as runtime:
        assert await runtime.execute("/batched", 4) == 0.25
        with pytest.raises(RpcError, match="ZeroDivisionError: no inverse"):
            await runtime.execute("/batched", 0)


async def test_an_exception_among_the_outputs_is_the_end_of_its_entry_alone() -> None:
    async def some_fail(texts: list[str]) -> list[str | BaseException]:
        return [ValueError("not b") if text == "b" else text for text in texts]

    first, error, last = await ask(make_server(some_fail), "a", "b", "c")
    assert (first, last) == ("a", "c")
    assert (error.code, error.message) == (-32000, "ValueError: not b")


async def test_what_the_function_raises_is_the_end_of_every_entry() -> None:
    async def fail(texts: list[str]) -> list[str]:
        raise RuntimeError("no model")

    errors = await ask(make_server(fail), "a", "b")
    assert [error.message for error in errors] == ["RuntimeError: no model"] * 2
    assert 'raise RuntimeError("no model")' in errors[0].data["stack"]


async def test_inputs_that_do_not_fit_fail_alone_and_are_not_seen() -> None:
    seen: list[Word] = []

    async def note(words: list[Word], ctxs: list[StepflowContext]) -> list[int | None]:
        seen.extend(words)
        return [ctx.item_index for ctx in ctxs]

    error, output = await ask(make_server(note), {"text": 1}, {"text": "b"})
    assert error.code == -32103
    assert error.message == "The input does not fit /batched: Expected `str`, got `int` at $.text"
    assert output == 1
    assert seen == [Word("b")]
    assert (await ask(make_server(note), 1))[0].code == -32103


@pytest.mark.parametrize("outputs", [[1], [1, 2, 3], [], None, "ab", {1: 2, 3: 4}])
async def test_another_number_of_outputs_than_of_inputs_fails_every_entry_and_no_connection(outputs: Any) -> None:
    async def miscount(words: list[Word]) -> list[int]:
        return outputs  # type: ignore[no-any-return]

    async with open_server(make_server(miscount)) as runtime:
        for _ in range(2):
            errors = [read(entry) for entry in await execute(runtime, {"text": "a"}, {"text": "b"})]
            assert [error.code for error in errors] == [-32000, -32000]
            assert "outputs" in errors[0].message


async def test_outputs_that_are_no_json_fail_alone() -> None:
    async def odd(values: list[int]) -> list[Any]:
        return [object() if value else value for value in values]

    good, bad = await ask(make_server(odd), 0, 1)
    assert good == 0
    assert "cannot be written as JSON" in bad.message


async def test_each_entry_has_a_context_of_its_own_in_every_backend() -> None:
    async def under_trio(inputs: list[Any], ctxs: list[StepflowContext]) -> list[Any]:
        return [(ctx.run_id, ctx.item_index, ctx.attempt) for ctx in ctxs]

    async def under_asyncio(inputs: list[Any], ctxs: list[StepflowContext]) -> list[Any]:
        await asyncio.sleep(0)
        return [(ctx.run_id, ctx.item_index, ctx.attempt) for ctx in ctxs]

    def in_a_thread(inputs: list[Any], ctxs: list[BlockingContext]) -> list[Any]:
        return [(ctx.run_id, ctx.item_index, ctx.attempt) for ctx in ctxs]

    for server in (make_server(under_trio), make_server(under_asyncio, backend="asyncio"), make_server(in_a_thread)):
        assert await ask(server, "a", "b") == [["r", 0, 1], ["r", 1, 2]]


async def test_an_entry_may_take_no_action_and_so_may_all() -> None:
    def skip(values: list[int], ctxs: list[BlockingContext]) -> list[int]:
        if all(value == 0 for value in values):
            ctxs[0].no_action("nothing to do")
        return values

    assert await ask(make_server(skip), 0, 0) == [NoAction("nothing to do")] * 2
    assert await ask(make_server(skip), 0, 1) == [0, 1]


async def test_a_component_that_takes_no_batches_is_sent_none() -> None:
    server = ComponentServer()

    @server.component
    async def single(value: Any) -> Any:
        return value

    async with open_server(server) as runtime:
        with pytest.raises(RpcError, match="/single takes no batches") as caught:
            await execute(runtime, 1, component="/single")
        assert caught.value.code == -32602
        with pytest.raises(RpcError, match="no component /nope") as caught:
            await execute(runtime, 1, component="/nope")
        assert caught.value.code == -32601


async def test_a_batch_that_is_cancelled_is_answered_so() -> None:
    async def hang(values: list[int]) -> list[int]:
        await trio.sleep_forever()
        raise AssertionError

    async with open_server(make_server(hang)) as runtime:
        request = runtime.link.post(
            methods.EXECUTE_BATCH, ExecuteBatchParams("/batched", [BatchCall(msgspec.Raw(b"1"))]), "batch"
        )
        await runtime.link.call(methods.PING, Empty())
        runtime.link.cancel(request)
        await runtime.wait_answers(1)
    error = runtime.posted["batch"].error
    assert error is not None
    assert error.code == -32800


async def test_a_batch_in_time_and_out_of_time() -> None:
    async def hang(values: list[int]) -> list[int]:
        await trio.sleep_forever()
        raise AssertionError

    errors = await ask(make_server(hang, timeout_s=0.01), 1, 2)
    assert ["did not end within" in error.message for error in errors] == [True, True]


async def test_outputs_that_have_no_room_in_one_frame_say_so_and_the_others_arrive() -> None:
    async def blow_up(sizes: list[int]) -> list[str]:
        return ["x" * size for size in sizes]

    async with open_server(make_server(blow_up)) as runtime:
        limits = Limits(max_frame_bytes=4000)
        await runtime.initialize(limits)
        read_entries = [read(entry) for entry in await execute(runtime, 1000, 5000, 1000, 2000, 10)]
    outputs = [len(entry) if isinstance(entry, str) else entry.code for entry in read_entries]
    assert outputs == [1000, -32020, 1000, -32020, 10]


# --- the testing kit ---


def test_the_testing_kit_executes_batches() -> None:
    def invert(numbers: list[float], ctxs: list[BlockingContext]) -> list[float | Exception]:
        return [1 / n if n else ZeroDivisionError(f"item {ctx.item_index}") for n, ctx in zip(numbers, ctxs)]  # noqa: B905

    half, error = run_batch(invert, [2, 0])
    assert half == 0.5
    assert isinstance(error, ZeroDivisionError)
    assert str(error) == "item 1"


def test_the_page_on_batches_does_what_it_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "batches.md").read_text()
    names: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    embedding, error = run_batch(names["embed"], [{"text": "abc"}, {"text": ""}])
    assert embedding == [3.0]
    assert isinstance(error, ValueError)
    assert names["server"].components["/embed"].info.batch == BatchInfo(100, 5)

"""What a function says about itself."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest

from component_sdk import BlockingContext, RegistrationError, StepflowContext, Unfit
from component_sdk.codec import convert, decode, encode, make_decoder, make_schema
from component_sdk.component import make_component
from component_sdk.signature import Backend, read_signature
from protocol.runs import ItemEntry, ItemResult, Outcome

if TYPE_CHECKING:
    from somewhere import Missing  # type: ignore[import-not-found]


class StructInput(msgspec.Struct):
    item: int


@dataclasses.dataclass
class DataclassInput:
    item: int


class TypedDictInput(TypedDict):
    item: int


@attrs.define
class AttrsInput:
    item: int


class PydanticInput(pydantic.BaseModel):
    item: int


class HoldsModels(msgspec.Struct):
    models: list[PydanticInput]
    anything: dict[str, object] = {}


ENTRY = ItemEntry(0, ItemResult(Outcome.SUCCESS, value={"x": 1}), "2025-01-15T10:30:03.000Z")
ENTRY_ON_THE_WIRE = {
    "itemIndex": 0,
    "result": {"outcome": "success", "value": {"x": 1}},
    "completedAt": "2025-01-15T10:30:03.000Z",
}


@pytest.mark.parametrize("hint", [StructInput, DataclassInput, TypedDictInput, AttrsInput, PydanticInput])
def test_every_kind_of_type_is_read_and_described(hint: Any) -> None:
    value = decode(make_decoder(hint), b'{"item": 3}')
    assert (value["item"] if isinstance(value, dict) else value.item) == 3
    schema = make_schema(hint)
    schema = schema.get("$defs", {}).get(hint.__name__, schema)
    assert schema["properties"]["item"]["type"] == "integer"
    assert msgspec.json.decode(encode(value)) == {"item": 3}


@pytest.mark.parametrize("hint", [StructInput, DataclassInput, TypedDictInput, AttrsInput, PydanticInput])
def test_input_that_does_not_fit_says_where(hint: Any) -> None:
    with pytest.raises(Unfit) as caught:
        decode(make_decoder(hint), b'{"item": "many"}')
    assert caught.value.path == "$.item"


@pytest.mark.parametrize(
    ("hint", "raw", "value"),
    [
        (int, b"3", 3),
        (list[int], b"[1,2]", [1, 2]),
        (dict[str, float], b'{"a": 0.5}', {"a": 0.5}),
        (str | None, b"null", None),
        (Any, b'{"a": [1]}', {"a": [1]}),
        (object, b'{"a": [1]}', {"a": [1]}),
        (Annotated[int, msgspec.Meta(ge=1)], b"1", 1),
    ],
)
def test_builtins_are_read(hint: Any, raw: bytes, value: Any) -> None:
    assert decode(make_decoder(hint), raw) == value


def test_pydantic_models_may_lie_inside_of_other_types() -> None:
    value = decode(make_decoder(HoldsModels), b'{"models": [{"item": 1}], "anything": {"a": [2]}}')
    assert value == HoldsModels([PydanticInput(item=1)], {"a": [2]})
    assert encode(value) == b'{"models":[{"item":1}],"anything":{"a":[2]}}'
    assert make_schema(HoldsModels)["$defs"]["PydanticInput"]["properties"]["item"]["type"] == "integer"
    with pytest.raises(Unfit):
        decode(make_decoder(HoldsModels), b'{"models": [{"item": "x"}]}')


@pytest.mark.parametrize("hint", [Any, object])
def test_any_json_has_no_schema(hint: Any) -> None:
    assert make_schema(hint) is msgspec.UNSET


class StructOutput(msgspec.Struct):
    results: list[Any]


@dataclasses.dataclass
class DataclassOutput:
    results: list[Any]


class PydanticOutput(pydantic.BaseModel):
    results: list[Any]


@pytest.mark.parametrize("output", [StructOutput, DataclassOutput, PydanticOutput])
def test_wire_shapes_in_an_output_are_written_in_the_wires_casing(output: Any) -> None:
    assert msgspec.json.decode(encode(output(results=[ENTRY]))) == {"results": [ENTRY_ON_THE_WIRE]}


def test_what_has_no_json_form_is_named() -> None:
    with pytest.raises(TypeError, match="type function"):
        encode({"f": lambda: None})
    with pytest.raises(ValueError, match="type function"):
        encode(PydanticOutput(results=[lambda: None]))


def test_values_are_converted_and_left_alone() -> None:
    assert convert({"item": 1}, StructInput) == StructInput(1)
    assert convert({"item": 1}, PydanticInput) == PydanticInput(item=1)
    assert convert({"item": 1}, None) == {"item": 1}


async def both(input: StructInput, ctx: StepflowContext) -> Any: ...
async def swapped(ctx: StepflowContext, input: StructInput) -> Any: ...
async def only_input(anything) -> Any: ...  # type: ignore[no-untyped-def]
async def only_context(c: StepflowContext) -> Any: ...
async def nothing() -> None: ...
async def by_name(*, input: int, context) -> Any: ...  # type: ignore[no-untyped-def]
async def optional(input: int = 3, ctx: StepflowContext | None = None) -> Any: ...
async def with_options(input: int, *, verbose: bool = False) -> Any: ...


@pytest.mark.parametrize(
    ("function", "takes_input", "takes_context", "input_type"),
    [
        (both, True, True, StructInput),
        (swapped, True, True, StructInput),
        (only_input, True, False, Any),
        (only_context, False, True, Any),
        (nothing, False, False, Any),
        (by_name, True, True, int),
        (optional, True, True, int),
        (with_options, True, False, int),
    ],
)
def test_input_and_context_are_found(
    function: Callable[..., Any], takes_input: bool, takes_context: bool, input_type: Any
) -> None:
    signature = read_signature(function)
    assert (signature.takes_input, signature.takes_context) == (takes_input, takes_context)
    assert signature.input_type == input_type
    signature.call(1, 2).close()


def test_arguments_go_where_they_belong() -> None:
    def straight(input, ctx):  # type: ignore[no-untyped-def]
        return input, ctx

    def swapped(ctx, input):  # type: ignore[no-untyped-def]
        return input, ctx

    def by_name(*, ctx, input):  # type: ignore[no-untyped-def]
        return input, ctx

    def with_gap(input, scale=1, ctx=None):  # type: ignore[no-untyped-def]
        return input, ctx

    for function in (straight, swapped, by_name, with_gap):
        assert read_signature(function).call("the input", "the context") == ("the input", "the context")


def test_a_parameter_named_context_that_is_annotated_otherwise_is_the_input() -> None:
    async def component(context: dict[str, int]) -> None: ...

    signature = read_signature(component)
    assert signature.takes_input
    assert not signature.takes_context


def test_plain_functions_methods_and_callable_objects_are_read() -> None:
    class Model:
        def predict(self, input: StructInput, ctx: BlockingContext) -> int:
            return input.item

        async def __call__(self, input: StructInput) -> int:
            return input.item

    assert read_signature(Model().predict).backend is Backend.THREAD
    assert read_signature(Model().predict).call(StructInput(3), None) == 3
    assert read_signature(Model()).backend is Backend.TRIO
    assert read_signature(Model()).input_type is StructInput


def test_a_decorated_function_is_read_through_its_decorator() -> None:
    @functools.wraps(both)
    async def decorated(*args: Any, **kwargs: Any) -> Any: ...

    assert read_signature(decorated).input_type is StructInput


def test_types_of_an_enclosing_function_are_found_where_it_uses_them() -> None:
    class Local(msgspec.Struct):
        item: int

    async def component(input: Local) -> Local:
        return Local(input.item)

    assert read_signature(component).input_type is Local


async def yields(input: int) -> Any:
    yield input


async def two(a: int, b: int) -> Any: ...
async def starred(*inputs: int) -> Any: ...
async def unresolved(input: Missing) -> Any: ...
async def blocking_in_async(ctx: BlockingContext) -> Any: ...
def plain(input: int) -> Any: ...


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (yields, {}, "yields"),
        (two, {}, "put the fields into one type"),
        (starred, {}, "takes one input"),
        (unresolved, {}, "'Missing'.*define or import it"),
        (blocking_in_async, {}, "annotate its context as StepflowContext"),
        (plain, {"backend": "asyncio"}, "runs in a thread"),
        (both, {"backend": "thread"}, "'trio' .* or 'asyncio'"),
        (both, {"backend": "twisted"}, "'trio' .* or 'asyncio'"),
        (both, {"name": "/"}, "has no name"),
        (both, {"timeout_s": 0}, "timeout_s"),
    ],
)
def test_what_cannot_be_a_component_is_told_why(function: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RegistrationError, match=message):
        make_component(function, **options)


def test_a_component_describes_itself() -> None:
    async def double(input: StructInput) -> int:
        """Doubles an item.

        And more.
        """
        return input.item

    info = make_component(double).info
    assert (info.component, info.description) == ("/double", "Doubles an item.")
    assert info.output_schema == {"type": "integer"}
    assert make_component(double, name="math/double", description="Twice").info.component == "/math/double"

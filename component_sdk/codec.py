"""Values of Python types to JSON and back: what `signature` needs to know of types, and all that knows of pydantic.

msgspec does the work for Structs, dataclasses, TypedDicts, attrs and builtins. Pydantic's types are recognised by what
they carry, so that pydantic is imported only by those who use it. Knows nothing of components or the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Decode = Callable[[bytes | Raw], Any]


class Unfit(Exception):
    """The JSON does not fit the type.

    Args:
        message: What is wrong, in words.
        path: Where, as `$.field[0]`.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(f"{message} at {path}")
        self.path = path


def make_decoder(hint: Any) -> Decode:
    """Prepare to read JSON as a type; `Any` and `object` read any JSON.

    Returns:
        A function of JSON bytes. Beside what `describe_misfit` explains, it raises nothing.
    """
    if hint is Any or hint is object:
        return msgspec.json.Decoder().decode
    if _is_pydantic(hint):
        return partial(_read_pydantic, _adapter(hint))
    return msgspec.json.Decoder(hint, dec_hook=_read_custom).decode


def describe_misfit(error: Exception) -> Unfit | None:
    """Explain an exception of a decoder; `None` if it means something else."""
    match error:
        case msgspec.MsgspecError():
            message, _, path = str(error).partition(" - at ")
            return Unfit(message, path.strip("`") or "$")
        case RecursionError():
            return Unfit("The JSON nests too deeply", "$")
        case UnicodeDecodeError():
            return Unfit("The JSON is not UTF-8", "$")
        case _ if type(error).__name__ == "ValidationError" and isinstance(error, ValueError):  # pydantic's
            pydantic_error: Any = error
            first = pydantic_error.errors()[0]
            return Unfit(first["msg"], _format_path(first["loc"]))
        case _:
            return None


def _format_path(path: Iterable[str | int]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def convert(value: Any, hint: Any) -> Any:
    """Read a decoded JSON value as a type; `None` for the type leaves it as it is.

    Raises:
        Unfit: It does not fit.
    """
    if hint is None or hint is Any or hint is object:
        return value
    return decode(make_decoder(hint), encode(value))


def decode(decoder: Decode, raw: bytes | Raw) -> Any:
    """Read JSON with a prepared decoder.

    Raises:
        Unfit: It does not fit.
    """
    try:
        return decoder(raw)
    except Exception as error:
        if (misfit := describe_misfit(error)) is None:
            raise
        raise misfit from error


def make_schema(hint: Any, *, written: bool = False) -> Any:
    """The JSON Schema of a type; `UNSET` for any JSON and for types that have none.

    Args:
        hint: The type.
        written: Whether it is about what is written, in which fields with a default are there, too.
    """
    if hint is Any or hint is object:
        return msgspec.UNSET
    definitions: dict[str, Any] = {}
    mode: Literal["validation", "serialization"] = "serialization" if written else "validation"

    def describe_custom(custom: type) -> dict[str, Any]:
        if not _is_pydantic(custom):
            return {"description": "any JSON" if custom is object else custom.__name__}
        schema = _adapter(custom).json_schema(mode=mode)
        definitions.update(schema.pop("$defs", {}))
        definitions[custom.__name__] = schema
        return {"$ref": f"#/$defs/{custom.__name__}"}

    try:
        if _is_pydantic(hint):
            return _adapter(hint).json_schema(mode=mode)
        schema = msgspec.json.schema(hint, schema_hook=describe_custom)
        if written:
            _require_defaults(hint, schema.get("$defs", {}))
    except (TypeError, ValueError):
        return msgspec.UNSET
    if definitions:
        schema["$defs"] = {**schema.get("$defs", {}), **definitions}
    return schema


def _require_defaults(hint: Any, definitions: dict[str, Any]) -> None:
    """Notes in the definitions of classes which of their fields are always written."""
    seen: set[type] = set()
    rest: list[Any] = [msgspec.inspect.type_info(hint)]
    while rest:
        info = rest.pop()
        if isinstance(info, tuple | list):
            rest.extend(cast("Sequence[Any]", info))
        elif isinstance(info, msgspec.inspect.Field):
            rest.append(info.type)
        elif isinstance(info, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            rest.extend(info.fields)
            omits = isinstance(info, msgspec.inspect.StructType) and info.cls.__struct_config__.omit_defaults
            definition = definitions.get(info.cls.__name__, {})
            if not omits and "properties" in definition:
                always = {field.encode_name for field in info.fields if field.required or _has_default(field)}
                definition["required"] = [name for name in definition["properties"] if name in always]
        elif isinstance(info, msgspec.inspect.Type):
            rest.extend(getattr(info, name) for name in info.__struct_fields__)


def _has_default(field: msgspec.inspect.Field) -> bool:
    """Whether there is a value if none is given; `UNSET` is none."""
    return field.default is not msgspec.NODEFAULT or field.default_factory is not msgspec.NODEFAULT


def _is_pydantic(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "__pydantic_validator__")


_adapters: Final[dict[Any, TypeAdapter[Any]]] = {}


def _adapter(hint: Any) -> TypeAdapter[Any]:
    adapter = _adapters.get(hint)
    if adapter is None:
        from pydantic import TypeAdapter

        adapter = _adapters[hint] = TypeAdapter(hint)
    return adapter


def _read_pydantic(adapter: TypeAdapter[Any], raw: bytes | Raw) -> Any:
    return adapter.validate_json(bytes(raw))


def _read_custom(custom: type, value: Any) -> Any:
    if _is_pydantic(custom):
        return _adapter(custom).validate_python(value)
    if custom is object or isinstance(value, custom):
        return value
    raise NotImplementedError(
        f"JSON cannot be read as {custom.__qualname__}; use a Struct, a dataclass or a TypedDict."
    )


def _write_custom(value: Any) -> Any:
    if _is_pydantic(type(value)):
        return Raw(_adapter(type(value)).dump_json(value, by_alias=True, fallback=_to_builtins))
    name = type(value).__qualname__
    raise TypeError(f"A value of type {name} cannot be written as JSON; convert it to a Struct, a dict or a string.")


def _to_builtins(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=_write_custom, str_keys=True)


encode: Final = msgspec.json.Encoder(enc_hook=_write_custom).encode
"""Write any value that has a JSON form; wire types are written in the wire's casing.

Raises:
    TypeError: Some value in it has no JSON form; the message names its type. In a pydantic model, a `ValueError`.
"""

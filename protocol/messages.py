"""One line of JSON into an envelope, and back (JSON-RPC 2.0).

Envelopes are decoded strictly; `params`, `result` and `error` stay raw JSON and go through digit for digit, and so does
an `id`: what was received is echoed byte for byte. Pure; what a message means for a connection is the business of
`peer`, what its params mean that of `dispatch`.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, NewType

import msgspec
from msgspec import UNSET, DecodeError, Raw, Struct, ValidationError

from protocol.errors import ErrorCode, RpcError

RequestId = NewType("RequestId", bytes)
"""The id of a request as it stands on the wire: raw JSON of a string, a number or null."""

UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What reading bytes raises that are no JSON, or not of the shape: keys that are no UTF-8 are told by the last."""

NULL_ID: Final = RequestId(b"null")
NO_PARAMS: Final = b"{}"

_ID_STARTS: Final = frozenset(b'"-0123456789n')
_SHORTEST_FIELD: Final = len(b',"id":0')
"""No field of an envelope can be written in fewer bytes, so less room than this hides no second one."""


class Envelope(Struct):
    """Any message. A field that is absent is empty; `null` is not empty."""

    jsonrpc: Literal["2.0"]
    id: Raw = Raw(b"")
    method: str | None = None
    params: Raw = Raw(b"")
    result: Raw = Raw(b"")
    error: Raw = Raw(b"")


class InvalidMessage(RpcError):
    """A line, or an element of a batch, that is no message.

    Args:
        code: `PARSE_ERROR` or `INVALID_REQUEST`.
        message: What is wrong.
        id: The id of the message, as far as it has a valid one.
        is_answer: Whether it was meant as an answer, so that it must not be answered.
    """

    def __init__(self, code: int, message: str, id: RequestId = NULL_ID, is_answer: bool = False) -> None:
        super().__init__(code, message)
        self.id = id
        self.is_answer = is_answer


class ErrorObject(Struct):
    """The `error` of an answer."""

    code: int
    message: str
    data: Any = UNSET


_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_check_json: Final = msgspec.json.Decoder(Raw).decode
_decode_elements: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_error: Final = msgspec.json.Decoder(ErrorObject).decode
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


def decode(line: bytes) -> Envelope:
    """Decodes a message.

    Args:
        line: One JSON object, without the end of the line.

    Returns:
        The envelope. Its raw fields keep `line` alive: copy what is kept.

    Raises:
        InvalidMessage: If it is no JSON, no message, or has a key twice.
    """
    try:
        envelope = _decode_envelope(line)
        if not line.isascii():
            line.decode()
    except UNREADABLE:
        raise _explain(line) from None
    spare = len(line) - len('{"jsonrpc":"2.0"}')
    if envelope.id:
        spare -= len(',"id":') + len(envelope.id)
    if envelope.result:
        spare -= len(',"result":') + len(envelope.result)
    elif envelope.error:
        spare -= len(',"error":') + len(envelope.error)
    if envelope.method is not None:
        spare -= len(',"method":""') + len(envelope.method)
    if envelope.params:
        spare -= len(',"params":') + len(envelope.params)
    if spare >= _SHORTEST_FIELD and _has_duplicate_key(line):
        raise _invalid("A message has a key twice; write each once.", envelope)
    if envelope.id and bytes(envelope.id)[0] not in _ID_STARTS:
        raise _invalid("The id of a request is a string, a number or null.", envelope)
    return envelope


def is_batch(line: bytes) -> bool:
    """Whether a line is meant as a batch."""
    return line.lstrip()[:1] == b"["


def is_json_rpc(line: bytes) -> bool:
    """Whether a line is an object with `"jsonrpc": "2.0"`, valid otherwise or not."""
    try:
        return bytes(_decode_fields(line).get("jsonrpc", b"")) == b'"2.0"'
    except UNREADABLE:
        return False


def decode_batch(line: bytes) -> list[bytes]:
    """The elements of a batch, raw.

    Raises:
        InvalidMessage: If it is no JSON.
    """
    try:
        line.decode()
        return [bytes(element) for element in _decode_elements(line)]
    except UNREADABLE:
        raise _explain(line) from None


def decode_error(raw: bytes | Raw) -> RpcError:
    """The error that a peer answered; an error that is not one becomes an internal error that says so."""
    try:
        error = _decode_error(raw)
    except (DecodeError, RecursionError):
        return RpcError(ErrorCode.INTERNAL_ERROR, "The peer answered an error that is not in the form of JSON-RPC 2.0.")
    data: Any = error.data
    if data is UNSET or data is None:
        data = {}
    elif not isinstance(data, dict):
        data = {"value": data}
    return RpcError(error.code, error.message, **data)


def find_answered_id(line: bytes) -> RequestId | None:
    """The id in a line that is no valid JSON but, read with patience, an answer. So its call fails and does not hang.

    Python's own JSON writes `NaN`, which is none.
    """
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or "method" in value or not ("result" in value or "error" in value):
        return None
    id: Any = value.get("id")  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    return RequestId(json.dumps(id).encode())


def encode_params(params: Struct) -> bytes:
    """Params or a result as JSON."""
    return _encoder.encode(params)


def encode_request(method: str, params: bytes, id: RequestId) -> bytes:
    """A request as a line."""
    return b"".join(
        (b'{"jsonrpc":"2.0","id":', id, b',"method":', _quote(method), b',"params":', _flat(params), b"}\n")
    )


def encode_notification(method: str, params: bytes) -> bytes:
    """A notification as a line."""
    return b"".join((b'{"jsonrpc":"2.0","method":', _quote(method), b',"params":', _flat(params), b"}\n"))


def encode_answer(id: bytes, result: bytes) -> bytes:
    """A successful answer, without the end of the line."""
    return b"".join((b'{"jsonrpc":"2.0","id":', id, b',"result":', _flat(result), b"}"))


def encode_error_answer(id: bytes, error: RpcError) -> bytes:
    """An answer that is an error, without the end of the line."""
    return b"".join((b'{"jsonrpc":"2.0","id":', id, b',"error":', _flat(encode_error(error)), b"}"))


def encode_error(error: RpcError) -> bytes:
    """The error object of an answer; `decode_error` reads it."""
    return _encoder.encode(ErrorObject(error.code, error.message, error.data or UNSET))


_quoted: Final[dict[str, bytes]] = {}


def _quote(method: str) -> bytes:
    quoted = _quoted.get(method)
    if quoted is None:
        quoted = _quoted[method] = _encoder.encode(method)
    return quoted


def _flat(value: bytes) -> bytes:
    """Raw JSON on one line. A line feed in JSON is always white space between values."""
    return value.replace(b"\n", b" ") if b"\n" in value else value


def _invalid(message: str, envelope: Envelope) -> InvalidMessage:
    return InvalidMessage(
        ErrorCode.INVALID_REQUEST,
        message,
        _valid_id(bytes(envelope.id)),
        is_answer=envelope.method is None and bool(envelope.result or envelope.error),
    )


def _valid_id(id: bytes) -> RequestId:
    return RequestId(id) if id and id[0] in _ID_STARTS else NULL_ID


def _explain(line: bytes) -> InvalidMessage:
    """Why a line is no envelope."""
    try:
        line.decode()
        _check_json(line)
        fields = _decode_fields(line)
    except ValidationError:
        return InvalidMessage(ErrorCode.INVALID_REQUEST, "A message is a JSON object; a batch is an array of them.")
    except UnicodeDecodeError as error:
        return InvalidMessage(ErrorCode.PARSE_ERROR, f"A line is not UTF-8 at byte {error.start}.")
    except RecursionError:
        return InvalidMessage(ErrorCode.PARSE_ERROR, "A line nests JSON too deeply.")
    except DecodeError as error:
        return InvalidMessage(ErrorCode.PARSE_ERROR, f"A line is not JSON: {error}.")
    what = (
        'has no "jsonrpc": "2.0"' if bytes(fields.get("jsonrpc", b"")) != b'"2.0"' else "names its method as no string"
    )
    return InvalidMessage(
        ErrorCode.INVALID_REQUEST,
        f"A message {what}.",
        _valid_id(bytes(fields.get("id", b""))),
        is_answer="method" not in fields and ("result" in fields or "error" in fields),
    )


def _has_duplicate_key(line: bytes) -> bool:
    compact = msgspec.json.format(line, indent=-1)
    fields = _decode_fields(compact)
    if len(compact) == sum(len(_encoder.encode(key)) + 2 + len(value) for key, value in fields.items()) + 1:
        return False
    # Twice, or a key with an escape in it: only a full reading tells.
    keys: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        keys[:] = [key for key, _ in pairs]  # the outermost object is the last

    json.loads(line, object_pairs_hook=note)
    return len(set(keys)) < len(keys)

"""One line of JSON into an envelope, and back."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import messages
from protocol.errors import ErrorCode, RpcError
from protocol.messages import InvalidMessage, RequestId

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])


def refuse(line: bytes) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        messages.decode(line)
    return caught.value


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=3), st.text(), separators, st.booleans())
def test_params_and_id_go_through_byte_for_byte(
    params: dict[str, object], id: str, separators: tuple[str, str], ascii: bool
) -> None:
    raw_params = json.dumps(params, ensure_ascii=ascii, separators=separators).encode("utf-8", "replace")
    raw_id = json.dumps(id, ensure_ascii=ascii).encode("utf-8", "replace")
    a, b = (text.encode() for text in separators)
    line = b'{"jsonrpc"%b"2.0"%b"id"%b%b%b"method"%b"m"%b"params"%b%b}' % (b, a, b, raw_id, a, b, a, b, raw_params)
    try:
        envelope = messages.decode(line)
    except InvalidMessage as error:
        assert error.code == ErrorCode.PARSE_ERROR  # noqa: PT017 - the text had a lone surrogate
        assert b"\\ud" in line.lower()
        return
    assert bytes(envelope.params) == raw_params
    assert bytes(envelope.id) == raw_id


@pytest.mark.parametrize(
    "number", [b"1", b"-0", b"1.0", b"1e5", b"123456789012345678901234567890", b"0.10000000000000000001"]
)
def test_numbers_keep_every_digit(number: bytes) -> None:
    envelope = messages.decode(b'{"jsonrpc":"2.0","id":%b,"result":[%b]}' % (number, number))
    assert bytes(envelope.id) == number
    assert bytes(envelope.result) == b"[%b]" % number


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"nonsense",
        b'{"jsonrpc":"2.0","id":1,"result":NaN}',
        b'{"jsonrpc":"2.0","id":1,"result":-Infinity}',
        b'{"jsonrpc":"2.0","id":1,"result":"\\ud800"}',
        b'{"jsonrpc":"2.0","id":1,"result":"\\udc00x"}',
        b'{"jsonrpc":"2.0","id":1,"result":"\xff"}',
        b'{"jsonrpc":"2.0","id":1,"result":"\xed\xa0\x80"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m\xc3"}',
        b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        '{"jsonrpc":"2.0","id":1,"method":"m"}'.encode("utf-16"),
    ],
    ids=lambda line: repr(line[:50]),
)
def test_what_is_no_json_is_a_parse_error_without_id(line: bytes) -> None:
    error = refuse(line)
    assert error.code == ErrorCode.PARSE_ERROR
    assert error.id == b"null"


@pytest.mark.parametrize(
    ("line", "id", "message"),
    [
        (b"1", b"null", "A message is a JSON object; a batch is an array of them."),
        (b"null", b"null", "A message is a JSON object; a batch is an array of them."),
        (b"{}", b"null", 'A message has no "jsonrpc": "2.0".'),
        (b'{"jsonrpc":"1.0","id":7,"method":"m"}', b"7", 'A message has no "jsonrpc": "2.0".'),
        (b'{"jsonrpc":2.0,"id":7,"method":"m"}', b"7", 'A message has no "jsonrpc": "2.0".'),
        (b'{"jsonrpc":"2.0","id":"a","method":5}', b'"a"', "A message names its method as no string."),
        (b'{"jsonrpc":"2.0","id":true,"method":"m"}', b"null", "The id of a request is a string, a number or null."),
        (b'{"jsonrpc":"2.0","id":{},"method":"m"}', b"null", "The id of a request is a string, a number or null."),
        (b'{"jsonrpc":"2.0","id":[1],"method":"m"}', b"null", "The id of a request is a string, a number or null."),
    ],
)
def test_what_is_json_but_no_message_is_an_invalid_request(line: bytes, id: bytes, message: str) -> None:
    error = refuse(line)
    assert (error.code, error.id, str(error)) == (ErrorCode.INVALID_REQUEST, id, f"{message} (-32600)")


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","id":2}',
        b'{"jsonrpc":"2.0","id":1,"result":1,"id":2}',
        b'{"jsonrpc":"2.0","id":1,"result":1,"result":2}',
        b'{"jsonrpc": "2.0", "id": 1, "result": 1, "result": 2}',
        b'{"jsonrpc":"2.0","id":1,"method":"a","method":"b","params":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{},"params":{"x":[1,2,3]}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "m", "params": {}, "params": {}}',
        b'{"jsonrpc":"2.0","jsonrpc":"2.0","method":"m"}',
        b'{"jsonrpc":"2.0","id":1,"\\u0069d":2,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1,"error":{},"id":2}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","other":1,"other":2}',
    ],
)
def test_a_key_that_is_there_twice_is_refused(line: bytes) -> None:
    assert refuse(line).code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc": "2.0", "id": 1, "method": "m", "params": {"id": 1, "method": 2}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"a":2}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","trace":"00-4bf92f3577b34da6a3ce929d0e0e4736"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","caf\\u00e9":"x","\\"":{"id":1}}',
        b'  {  "jsonrpc"  :  "2.0"  ,  "id"  :  1  ,  "method"  :  "m"  }  ',
        b'{"jsonrpc":"2.0","id":1,"m\\u0065thod":"\\u006d"}',
    ],
)
def test_unknown_keys_white_space_and_what_is_inside_params_are_no_business_of_the_envelope(line: bytes) -> None:
    assert messages.decode(line).method == "m"


@given(st.text(), json_values)
def test_what_is_encoded_is_decoded_again(method: str, params: object) -> None:
    raw = msgspec.json.encode(params)
    line = messages.encode_request(method, raw, RequestId(b"1"))
    assert line.count(b"\n") == 1
    envelope = messages.decode(line[:-1])
    assert (envelope.method, bytes(envelope.params), bytes(envelope.id)) == (method, raw, b"1")
    assert messages.decode(messages.encode_notification(method, raw)[:-1]).method == method
    assert bytes(messages.decode(messages.encode_answer(b"1", raw)).result) == raw


def test_raw_json_over_several_lines_becomes_one_line() -> None:
    line = messages.encode_request("m", b'{\n  "a": 1\n}', RequestId(b"1"))
    assert line.count(b"\n") == 1
    assert json.loads(line)["params"] == {"a": 1}


def test_an_error_keeps_code_message_and_data() -> None:
    error = RpcError(ErrorCode.LIMIT_EXCEEDED, "Too much.", limit="maxBatch", code="twice", message="too", self=1)
    line = messages.encode_error_answer(b"1", error)
    again = messages.decode_error(messages.decode(line).error)
    assert (again.code, again.message, again.data) == (error.code, error.message, error.data)
    assert again.data["type"] == "limitExceeded"


@pytest.mark.parametrize(("raw", "data"), [(b'"text"', {"value": "text"}), (b"null", {}), (b'{"a":1}', {"a": 1})])
def test_data_of_any_shape_in_a_received_error_is_readable(raw: bytes, data: object) -> None:
    assert messages.decode_error(b'{"code":-1,"message":"m","data":%b}' % raw).data == data


@pytest.mark.parametrize("raw", [b"5", b'"broken"', b'{"code":"x","message":"m"}', b"{}"])
def test_an_error_that_is_none_is_an_internal_error(raw: bytes) -> None:
    assert messages.decode_error(raw).code == ErrorCode.INTERNAL_ERROR


def test_an_id_is_found_in_an_answer_that_is_not_quite_json() -> None:
    assert messages.find_answered_id(b'{"jsonrpc": "2.0", "id": 7, "result": NaN}') == b"7"
    assert messages.find_answered_id(b'{"jsonrpc": "2.0", "id": 7, "method": "m", "params": NaN}') is None
    assert messages.find_answered_id(b"[NaN]") is None
    assert messages.find_answered_id(b"{" * 100_000) is None


def test_a_line_whose_keys_are_no_utf8_is_no_message_and_harms_nothing() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"\xb0":1}'
    assert not messages.is_json_rpc(line)
    with pytest.raises(InvalidMessage):
        messages.decode(line)

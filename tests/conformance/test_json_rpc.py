"""JSON-RPC 2.0 to the letter, from outside (PROTOCOL §1): with every example of its specification, section 7.

The examples' methods are none of ours. Where one needs a method that is there, `ping` and `rpc.discover` stand in.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.wire import RawClient, ServedRuntime, make_flow

PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'


def facts(answer: Any) -> Any:
    """An answer, of an error only its code."""
    if isinstance(answer, list):
        return sorted(map(facts, answer), key=json.dumps)
    assert answer.keys() == {"jsonrpc", "id", "error" if "error" in answer else "result"}
    assert answer["jsonrpc"] == "2.0"
    if "error" not in answer:
        return {"id": answer["id"], "result": answer["result"]}
    error = answer["error"]
    assert isinstance(error["message"], str)
    assert error["data"]["type"], "every error says its type"
    return {"id": answer["id"], "error": error["code"]}


# --- the examples of section 7 ---


@pytest.mark.parametrize("params", ["[42, 23]", "[23, 42]"])
def test_positional_params_are_refused_as_ours_have_names(client: RawClient, params: str) -> None:
    answer = client.ask(f'{{"jsonrpc": "2.0", "method": "runs/get", "params": {params}, "id": 1}}')
    assert facts(answer) == {"id": 1, "error": -32602}


@pytest.mark.parametrize(
    ("params", "id"), [('{"protocolVersion": 1, "name": "a"}', 3), ('{"name": "a", "protocolVersion": 1}', 4)]
)
def test_named_params_come_in_any_order(runtime: ServedRuntime, params: str, id: int) -> None:
    with runtime.connect() as client:
        answer = client.ask(f'{{"jsonrpc": "2.0", "method": "connect", "params": {params}, "id": {id}}}')
        assert answer["id"] == id
        assert answer["result"]["protocolVersion"] == 1


@pytest.mark.parametrize(
    "notification",
    [
        '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}',
        '{"jsonrpc": "2.0", "method": "foobar"}',
        '{"jsonrpc": "2.0", "method": "ping"}',
        '{"jsonrpc": "2.0", "method": "runs/get", "params": {"runId": 5}}',
    ],
)
def test_a_notification_is_never_answered(client: RawClient, notification: str) -> None:
    client.ask_nothing(notification)


def test_a_method_that_does_not_exist_is_said_to_be_so(client: RawClient) -> None:
    answer = client.ask('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}')
    assert facts(answer) == {"id": "1", "error": -32601}


def test_a_call_with_invalid_json_is_a_parse_error(client: RawClient) -> None:
    answer = client.ask('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]')
    assert facts(answer) == {"id": None, "error": -32700}


def test_a_call_that_is_no_request_object_is_an_invalid_request(client: RawClient) -> None:
    answer = client.ask('{"jsonrpc": "2.0", "method": 1, "params": "bar"}')
    assert facts(answer) == {"id": None, "error": -32600}


def test_a_batch_with_invalid_json_is_one_parse_error(client: RawClient) -> None:
    answer = client.ask(
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]'
    )
    assert facts(answer) == {"id": None, "error": -32700}


def test_an_empty_batch_is_one_invalid_request(client: RawClient) -> None:
    assert facts(client.ask("[]")) == {"id": None, "error": -32600}


@pytest.mark.parametrize(("batch", "count"), [("[1]", 1), ("[1,2,3]", 3)])
def test_an_invalid_batch_has_one_invalid_request_for_each_element(client: RawClient, batch: str, count: int) -> None:
    assert facts(client.ask(batch)) == [{"id": None, "error": -32600}] * count


def test_a_mixed_batch_has_one_answer_for_each_element_that_wants_one(client: RawClient) -> None:
    answers = client.ask(
        "["
        '{"jsonrpc": "2.0", "method": "ping", "id": "1"},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
        '{"jsonrpc": "2.0", "method": "ping", "params": {}, "id": "2"},'
        '{"foo": "boo"},'
        '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
        '{"jsonrpc": "2.0", "method": "blobs/put", "params": {"data": ["hello", 5]}, "id": "9"}'
        "]"
    )
    by_id = {answer["id"]: facts(answer) for answer in answers}
    assert len(answers) == 5
    assert by_id.pop("9")["result"].keys() == {"blob_id"}
    assert by_id == {
        "1": {"id": "1", "result": {}},
        "2": {"id": "2", "result": {}},
        None: {"id": None, "error": -32600},
        "5": {"id": "5", "error": -32601},
    }


def test_a_batch_of_notifications_is_not_answered(client: RawClient) -> None:
    client.ask_nothing(
        '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]'
    )


# --- batches ---


def test_a_batch_of_one_is_answered_with_an_array(client: RawClient) -> None:
    assert facts(client.ask(f"[{PING}]")) == [{"id": 1, "result": {}}]


def test_equal_elements_of_a_batch_are_all_answered(client: RawClient) -> None:
    assert facts(client.ask(f"[{PING},{PING},{PING}]")) == [{"id": 1, "result": {}}] * 3


def test_a_batch_is_answered_whole_also_if_one_of_its_calls_waits(client: RawClient) -> None:
    open_run = client.call(
        "runs/submit", {"flowId": client.put_flow(make_flow("/builtin/noop")), "inputs": [], "sealed": False}
    )
    wait = {"runId": open_run["runId"], "wait": True, "timeoutMs": 50}
    answers = client.ask(f"[{json.dumps({'jsonrpc': '2.0', 'id': 2, 'method': 'runs/get', 'params': wait})},{PING}]")
    assert sorted(answer["id"] for answer in answers) == [1, 2]


def test_a_batch_in_a_batch_is_an_invalid_request(client: RawClient) -> None:
    assert facts(client.ask(f"[[{PING}]]")) == [{"id": None, "error": -32600}]


def test_a_batch_over_the_limit_is_refused_once_and_names_the_limit(client: RawClient) -> None:
    answer = client.ask("[" + ",".join([PING] * 1001) + "]")
    assert facts(answer) == {"id": None, "error": -32020}
    assert "1000" in answer["error"]["message"]


def test_a_batch_may_stand_first_on_a_connection(runtime: ServedRuntime) -> None:
    with runtime.connect() as client:
        assert facts(client.ask(f"[{PING}]")) == [{"id": 1, "result": {}}]


# --- ids ---


@pytest.mark.parametrize(
    "id",
    ["0", "-1", "1.50", "1e2", "123456789012345678901234567890", '""', '"x"', '"\\u00e9\\n\\/"', '"é"', "null"],
)
def test_an_id_comes_back_as_it_was_written(client: RawClient, id: str) -> None:
    client.send(b'{"jsonrpc":"2.0","id":%b,"method":"ping"}\n' % id.encode())
    assert client.read_line() == b'{"jsonrpc":"2.0","id":%b,"result":{}}\n' % id.encode()


@pytest.mark.parametrize("id", ["true", "false", "{}", "[]", '{"a": 1}', "[1]"])
def test_an_id_of_another_type_is_an_invalid_request(client: RawClient, id: str) -> None:
    answer = client.ask(PING.replace("1,", f"{id},", 1))
    assert facts(answer) == {"id": None, "error": -32600}


def test_two_equal_ids_in_flight_are_both_answered(client: RawClient) -> None:
    open_run = client.call(
        "runs/submit", {"flowId": client.put_flow(make_flow("/builtin/noop")), "inputs": [], "sealed": False}
    )
    wait = {"runId": open_run["runId"], "wait": True, "timeoutMs": 50}
    line = json.dumps({"jsonrpc": "2.0", "id": "twin", "method": "runs/get", "params": wait}).encode() + b"\n"
    client.send(line + line)
    assert [json.loads(client.read_line())["id"] for _ in range(2)] == ["twin", "twin"]


# --- messages ---


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ('{"id":1,"method":"ping"}', 1),
        ('{"jsonrpc":"1.0","id":1,"method":"ping"}', 1),
        ('{"jsonrpc":2.0,"id":1,"method":"ping"}', 1),
        ('{"jsonrpc":"2.0","id":1}', 1),
        ('{"jsonrpc":"2.0","id":1,"method":null}', 1),
        ('{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', 1),
        ('{"jsonrpc":"2.0","id":1,"method":"ping","params":7}', 1),
        ('{"jsonrpc":"2.0","id":1,"method":"ping","method":"connect"}', 1),
        ('"ping"', None),
        ("17", None),
        ("null", None),
    ],
)
def test_what_is_no_request_is_an_invalid_request(client: RawClient, line: str, id: int | None) -> None:
    answer = client.ask(line)
    assert answer["error"]["code"] == -32600, answer
    assert answer["id"] == id


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"ping",
        b"\xff\xfe",
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"p\xffng"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
    ids=["open", "word", "bytes", "NaN", "not UTF-8", "two on a line", "deep"],
)
def test_what_is_no_json_is_a_parse_error_and_the_connection_goes_on(client: RawClient, line: bytes) -> None:
    assert facts(client.ask(line)) == {"id": None, "error": -32700}
    assert client.call("ping") == {}


def test_members_that_are_not_known_are_ignored(client: RawClient) -> None:
    answer = client.ask('{"jsonrpc":"2.0","id":1,"method":"ping","params":{"later":1},"trace":{}}')
    assert facts(answer) == {"id": 1, "result": {}}


def test_null_params_are_no_params(client: RawClient) -> None:
    assert facts(client.ask('{"jsonrpc":"2.0","id":1,"method":"ping","params":null}')) == {"id": 1, "result": {}}


def test_an_answer_that_nobody_waits_for_is_not_answered(client: RawClient) -> None:
    client.ask_nothing('{"jsonrpc":"2.0","id":999,"result":{}}')
    client.ask_nothing('{"jsonrpc":"2.0","id":999,"error":{"code":1,"message":"no"}}')


def test_blank_lines_and_carriage_returns_are_white_space(client: RawClient) -> None:
    client.send(b"\n\r\n  \n" + PING.encode() + b"\r\n")
    assert facts(json.loads(client.read_line())) == {"id": 1, "result": {}}


def test_a_message_that_arrives_byte_by_byte_is_one_message(client: RawClient) -> None:
    for byte in PING.encode() + b"\n":
        client.send(bytes([byte]))
    assert facts(json.loads(client.read_line())) == {"id": 1, "result": {}}


def test_many_messages_in_one_segment_are_all_answered(client: RawClient) -> None:
    count = 500
    client.send(b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % id for id in range(count)))
    assert sorted(json.loads(client.read_line())["id"] for _ in range(count)) == list(range(count))


# --- payloads ---


@pytest.mark.parametrize(
    "number",
    ["123456789012345678901234567890", "-0", "1.00", "0.1000000000000000055511151231257827", "1E+2", "-1.5e-300"],
)
def test_a_number_goes_through_a_run_digit_for_digit(client: RawClient, number: str) -> None:
    flow_id = client.put_flow({"steps": [], "output": {"$input": "$"}})
    client.send(
        b'{"jsonrpc":"2.0","id":1,"method":"runs/submit","params":{"flowId":"%b","inputs":[{"n":%b}],"wait":true}}\n'
        % (flow_id.encode(), number.encode())
    )
    answer = client.read_line()
    assert b'"value":{"n":%b}' % number.encode() in answer, answer


def test_a_big_integer_in_a_blob_is_exact(client: RawClient) -> None:
    number = "123456789012345678901234567890"
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"blobs/put","params":{"data":{"n":%b}}}\n' % number.encode())
    blob_id = json.loads(client.read_line())["result"]["blob_id"]
    client.send(b'{"jsonrpc":"2.0","id":1,"method":"blobs/get","params":{"blob_id":"%b"}}\n' % blob_id.encode())
    assert b'"data":{"n":%b}' % number.encode() in client.read_line()


# --- connections ---


@pytest.mark.parametrize(
    "line",
    [
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + PING.encode(),
        b"hello",
        b'{"id":1,"method":"ping"}',
        b'"ping"',
        b"1",
    ],
    ids=["HTTP", "word", "another object", "string", "number"],
)
def test_a_first_line_that_is_no_json_rpc_closes_the_connection(runtime: ServedRuntime, line: bytes) -> None:
    with runtime.connect() as client:
        client.send(line + b"\n")
        assert client.read_line() == b""
    with runtime.connect() as client:
        assert client.call("ping") == {}


def test_a_first_line_that_is_json_rpc_but_invalid_is_answered(runtime: ServedRuntime) -> None:
    with runtime.connect() as client:
        assert facts(client.ask('{"jsonrpc":"2.0","id":1,"method":7}')) == {"id": 1, "error": -32600}
        assert client.call("ping") == {}


def test_half_a_line_at_the_end_is_dropped_and_what_came_before_is_answered(runtime: ServedRuntime) -> None:
    with runtime.connect() as client:
        client.send(PING.encode() + b"\n" + PING.encode()[:-1])
        client.end_sending()
        assert json.loads(client.read_line()) == {"jsonrpc": "2.0", "id": 1, "result": {}}
        assert client.read_line() == b""


def test_a_connection_that_ends_at_once_harms_nobody(runtime: ServedRuntime) -> None:
    with runtime.connect():
        pass
    with runtime.connect() as client:
        assert client.call("ping") == {}


def test_a_line_over_the_limit_is_refused_and_ends_the_connection(runtime: ServedRuntime) -> None:
    with runtime.connect() as client:
        limit = client.call("connect", {"protocolVersion": 1})["limits"]["maxFrameBytes"]
        client.send(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"')
        chunk = b"x" * (1024 * 1024)
        try:
            for _ in range(limit // len(chunk) + 1):
                client.send(chunk)
        except OSError:
            return  # it did not wait for the end of the line
        answer = client.read_line()
        assert not answer or facts(json.loads(answer)) == {"id": None, "error": -32020}
        assert client.read_line() == b""


def test_the_catalogue_is_published_and_names_no_method_that_is_not_there(client: RawClient) -> None:
    document = client.call("rpc.discover")
    names = {method["name"] for method in document["methods"]}
    assert {"runs/submit", "runs/get", "flows/evaluate", "blobs/put", "ping"} <= names
    for name in sorted(names - {"$/cancelRequest"}):
        client.send(b'{"jsonrpc":"2.0","id":1,"method":"%b","params":{}}\n' % name.encode())
        assert json.loads(client.read_line()).get("error", {}).get("code") != -32601, name


def test_cancelling_a_request_ends_it_with_its_own_code(client: RawClient) -> None:
    open_run = client.call(
        "runs/submit", {"flowId": client.put_flow(make_flow("/builtin/noop")), "inputs": [], "sealed": False}
    )
    wait = {"runId": open_run["runId"], "wait": True}
    client.send(json.dumps({"jsonrpc": "2.0", "id": "w", "method": "runs/get", "params": wait}).encode() + b"\n")
    answer = client.ask('{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"w"}}')
    assert facts(answer) == {"id": "w", "error": -32800}

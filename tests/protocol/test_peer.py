"""Two peers, joined in memory: no sockets, no tasks."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode, LinkClosed, RpcError
from protocol.lifecycle import ConnectionState
from protocol.messages import RequestId
from protocol.peer import Answer, ConnectionBroken, Event, NotificationReceived, Peer, RequestReceived
from protocol.types import Limits


def make_peer(**limits: int) -> Peer:
    return Peer(Limits(**limits))


def tell(peer: Peer, *lines: bytes) -> tuple[list[Event], list[Any]]:
    """Gives lines to a peer. Returns its events and the JSON that it says at once."""
    events = peer.receive_data(b"".join(line + b"\n" for line in lines))
    return events, said(peer)


def said(peer: Peer) -> list[Any]:
    data = peer.data_to_send()
    peer.data_sent(len(data))
    assert peer.queued_bytes == 0
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def requests(events: list[Event]) -> list[RequestReceived]:
    return [event for event in events if isinstance(event, RequestReceived)]


def error_codes(answers: list[Any]) -> list[tuple[Any, int]]:
    return [(answer["id"], answer["error"]["code"]) for answer in answers]


# --- calls and answers ---


def test_a_call_reaches_the_other_peer_and_its_answer_comes_back_with_the_token() -> None:
    caller, callee = make_peer(), make_peer()
    token = object()
    caller.request("runs/get", b'{"runId":"r"}', token)
    (request,) = requests(callee.receive_data(caller.data_to_send()))
    assert (request.method, request.params) == ("runs/get", b'{"runId":"r"}')
    callee.respond(request, b'{"a":1.10}')
    assert caller.receive_data(callee.data_to_send()) == [Answer(token, b'{"a":1.10}')]


def test_an_error_comes_back_with_code_message_and_data() -> None:
    caller, callee = make_peer(), make_peer()
    caller.request("m", b"{}", "token")
    (request,) = requests(callee.receive_data(caller.data_to_send()))
    callee.respond_error(request, RpcError(ErrorCode.NOT_FOUND, "No such blob.", kind="blob"))
    (answer,) = caller.receive_data(callee.data_to_send())
    assert isinstance(answer, Answer)
    assert answer.result is None
    assert answer.error is not None
    assert (answer.error.code, answer.error.message) == (ErrorCode.NOT_FOUND, "No such blob.")
    assert answer.error.data == {"type": "notFound", "kind": "blob"}


@given(st.permutations(range(20)))
def test_answers_in_any_order_find_their_calls(order: list[int]) -> None:
    caller, callee = make_peer(), make_peer()
    for number in range(20):
        caller.request("m", b"[%d]" % number, number)
    received = requests(callee.receive_data(caller.data_to_send()))
    for place in order:
        callee.respond(received[place], received[place].params)
    answers = caller.receive_data(callee.data_to_send())
    assert answers == [Answer(number, b"[%d]" % number) for number in order]


def test_late_unknown_and_repeated_answers_are_counted_and_dropped() -> None:
    peer = make_peer()
    peer.request("m", b"{}", "token")
    said(peer)
    line = b'{"jsonrpc":"2.0","id":1,"result":1}'
    events, answers = tell(
        peer,
        line,
        line,
        b'{"jsonrpc":"2.0","id":"1","result":1}',
        b'{"jsonrpc":"2.0","id":99,"result":1}',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}',
    )
    assert (events, answers, peer.dropped) == ([Answer("token", b"1")], [], 4)


@pytest.mark.parametrize("id", [b"1.0", b"1e0", b"1"])
def test_an_answer_may_spell_the_number_of_its_id_otherwise(id: bytes) -> None:
    peer = make_peer()
    peer.request("m", b"{}", "token")
    assert peer.receive_data(b'{"jsonrpc":"2.0","id":%b,"result":1}\n' % id) == [Answer("token", b"1")]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc": "2.0", "id": 1, "result": NaN}',
        b'{"id":1,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"result":1,"result":2}',
        b'{"jsonrpc":"2.0","id":1,"result":"\\ud800"}',
    ],
)
def test_an_answer_that_is_not_valid_fails_its_call_and_is_not_answered(line: bytes) -> None:
    peer = make_peer()
    peer.request("m", b"{}", "token")
    said(peer)
    (event,), answers = tell(peer, line)
    assert answers == []
    assert isinstance(event, Answer)
    assert event.token == "token"
    assert event.error is not None
    assert str(event.error).startswith("The answer is not valid: A ")


TORN = b'{"jsonrpc":"2.0","id":1,"result":{"output":"xxx{"jsonrpc":"2.0"'


def test_a_torn_answer_breaks_a_connection_that_waits_for_answers_if_that_is_wanted() -> None:
    peer = Peer(Limits(), break_on_torn=True)
    peer.request("m", b"{}", "token")
    (event,), _ = tell(peer, TORN, b'{"jsonrpc":"2.0","id":2,"method":"ping"}')
    assert isinstance(event, ConnectionBroken)
    assert "torn" in str(event.error)
    assert peer.close() == ["token"]


@pytest.mark.parametrize("line", [b"a stray print", b"[1", TORN])
def test_what_is_no_message_breaks_nothing_that_waits_for_no_answer(line: bytes) -> None:
    peer = Peer(Limits(), break_on_torn=True)
    if line is not TORN:
        peer.request("m", b"{}", "token")
        said(peer)
    events, answers = tell(peer, line)
    assert events == []
    assert error_codes(answers) == [(None, -32700)]


def test_an_answer_with_a_result_and_a_null_error_is_a_result() -> None:
    peer = make_peer()
    peer.request("m", b"{}", "token")
    assert peer.receive_data(b'{"jsonrpc":"2.0","id":1,"result":null,"error":null}\n') == [Answer("token", b"null")]


# --- requests ---


@pytest.mark.parametrize("id", [b"1", b'"1"', b"null", b"0.5", b"-7", b"1e400", b'""', b'"\\u00e9"', b"9" * 40])
def test_an_id_is_echoed_byte_for_byte(id: bytes) -> None:
    peer = make_peer()
    (request,) = requests(peer.receive_data(b'{"jsonrpc":"2.0","id":%b,"method":"m"}\n' % id))
    peer.respond(request, b"1")
    assert peer.data_to_send() == b'{"jsonrpc":"2.0","id":%b,"result":1}\n' % id


@pytest.mark.parametrize("id", [b"true", b"false", b"{}", b"[1]"])
def test_an_id_of_another_kind_is_an_invalid_request(id: bytes) -> None:
    events, answers = tell(make_peer(), b'{"jsonrpc":"2.0","id":%b,"method":"m"}' % id)
    assert events == []
    assert error_codes(answers) == [(None, -32600)]


def test_two_equal_ids_in_flight_are_both_answered() -> None:
    peer = make_peer()
    line = b'{"jsonrpc":"2.0","id":1,"method":"m"}'
    events, _ = tell(peer, line, line)
    first, second = requests(events)
    peer.respond(second, b"2")
    peer.respond(first, b"1")
    assert [(answer["id"], answer["result"]) for answer in said(peer)] == [(1, 2), (1, 1)]


@pytest.mark.parametrize("params", [b"", b',"params":null', b',"params":{}'])
def test_absent_and_null_params_are_an_empty_object(params: bytes) -> None:
    events, _ = tell(make_peer(), b'{"jsonrpc":"2.0","id":1,"method":"m"%b}' % params)
    assert requests(events)[0].params == b"{}"


def test_params_that_are_neither_object_nor_array_are_an_invalid_request() -> None:
    events, answers = tell(make_peer(), b'{"jsonrpc":"2.0","id":1,"method":"m","params":5}')
    assert (events, error_codes(answers)) == ([], [(1, -32600)])


def test_a_message_without_method_result_and_error_is_an_invalid_request() -> None:
    assert error_codes(tell(make_peer(), b'{"jsonrpc":"2.0","id":5}')[1]) == [(5, -32600)]
    assert error_codes(tell(make_peer(), b'{"jsonrpc":"2.0"}')[1]) == [(None, -32600)]


@pytest.mark.parametrize("params", [b"", b',"params":null', b',"params":5', b',"params":"x"'])
def test_a_notification_is_never_answered_however_bad(params: bytes) -> None:
    peer = make_peer()
    events, answers = tell(peer, b'{"jsonrpc":"2.0","method":"m"%b}' % params)
    assert answers == []
    assert all(isinstance(event, NotificationReceived) for event in events)


def test_bad_lines_are_answered_and_the_next_one_is_read() -> None:
    peer = make_peer()
    events, answers = tell(peer, b"{", b"\xff", b'{"a":NaN}', b"5", b'{"jsonrpc":"2.0","id":1,"method":"m"}')
    assert error_codes(answers) == [(None, -32700), (None, -32700), (None, -32700), (None, -32600)]
    assert len(requests(events)) == 1


# --- batches ---


def test_an_empty_batch_gets_one_error() -> None:
    assert error_codes(tell(make_peer(), b"[]")[1]) == [(None, -32600)]


def test_a_batch_of_nonsense_gets_an_array_with_an_error_for_each() -> None:
    (answers,) = tell(make_peer(), b"[1]")[1]
    assert error_codes(answers) == [(None, -32600)]
    (answers,) = tell(make_peer(), b"[1,2,[]]")[1]
    assert error_codes(answers) == [(None, -32600)] * 3


def test_a_batch_that_is_no_json_gets_one_parse_error() -> None:
    assert error_codes(tell(make_peer(), b'[{"jsonrpc":"2.0","id":1,"method":"m"},')[1]) == [(None, -32700)]
    assert error_codes(tell(make_peer(), b"[1,2,]")[1]) == [(None, -32700)]
    assert error_codes(tell(make_peer(), b"[" * 100_000)[1]) == [(None, -32700)]
    assert error_codes(tell(make_peer(), b'["\xff"]')[1]) == [(None, -32700)]


def test_a_batch_of_notifications_gets_no_answer() -> None:
    events, answers = tell(make_peer(), b'[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b","params":5}]')
    assert events == [NotificationReceived("a", b"{}")]
    assert answers == []


@given(st.lists(st.sampled_from(["request", "notification", "nonsense", "bad id", "answer"]), min_size=1), st.randoms())
def test_a_batch_is_answered_once_with_one_answer_per_element_when_all_are_there(kinds: list[str], random: Any) -> None:
    spelled: dict[str, Any] = {
        "request": {"jsonrpc": "2.0", "id": "r", "method": "m"},
        "notification": {"jsonrpc": "2.0", "method": "m"},
        "nonsense": 7,
        "bad id": {"jsonrpc": "2.0", "id": [], "method": "m"},
        "answer": {"jsonrpc": "2.0", "id": 999, "result": 1},
    }
    peer = make_peer()
    events, answers = tell(peer, json.dumps([spelled[kind] for kind in kinds]).encode())
    open_requests = requests(events)
    assert len(open_requests) == kinds.count("request")
    random.shuffle(open_requests)
    for request in open_requests:
        assert answers == []
        peer.respond(request, b"1")
        answers = said(peer)
    expected = kinds.count("request") + kinds.count("nonsense") + kinds.count("bad id")
    assert [len(answer) for answer in answers] == ([expected] if expected else [])


def test_a_batch_above_the_limit_is_refused_as_a_whole_and_says_the_limit() -> None:
    elements = b",".join([b'{"jsonrpc":"2.0","id":1,"method":"m"}'] * 4)
    events, (answer,) = tell(make_peer(max_batch=3), b"[" + elements + b"]")
    assert events == []
    assert answer["id"] is None
    assert answer["error"]["code"] == -32020
    assert answer["error"]["data"] == {"type": "limitExceeded", "limit": "maxBatch", "value": 3}
    assert len(requests(tell(make_peer(max_batch=4), b"[" + elements + b"]")[0])) == 4


def test_answers_in_a_batch_find_their_calls() -> None:
    peer = make_peer()
    peer.request("m", b"{}", "a")
    peer.request("m", b"{}", "b")
    said(peer)
    events, answers = tell(peer, b'[{"jsonrpc":"2.0","id":2,"result":2},{"jsonrpc":"2.0","id":1,"result":1}]')
    assert (events, answers) == ([Answer("b", b"2"), Answer("a", b"1")], [])


def test_a_batch_whose_answers_do_not_fit_a_frame_keeps_the_small_ones() -> None:
    peer = Peer(Limits(), Limits(max_frame_bytes=1000))
    line = b'{"jsonrpc":"2.0","id":%d,"method":"m"}'
    small, big, also_big = requests(tell(peer, b"[" + b",".join(line % id for id in (1, 2, 3)) + b"]")[0])
    peer.respond(small, b"1")
    peer.respond(big, b'"' + b"x" * 700 + b'"')
    peer.respond(also_big, b'"' + b"x" * 600 + b'"')
    data = peer.data_to_send()
    assert len(data) <= 1001
    answers = json.loads(data)
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert answers[0]["result"] == 1
    assert -32020 in [answer.get("error", {}).get("code") for answer in answers[1:]]


# --- limits ---


def test_a_call_that_the_peer_could_not_read_is_refused_before_it_is_queued() -> None:
    peer = Peer(Limits(), Limits(max_frame_bytes=100))
    with pytest.raises(RpcError, match="store large content as a blob") as caught:
        peer.request("m", b'"' + b"x" * 100 + b'"', "token")
    assert caught.value.code == ErrorCode.LIMIT_EXCEEDED
    assert caught.value.data == {"type": "limitExceeded", "limit": "maxFrameBytes", "value": 100}
    assert (said(peer), peer.close()) == ([], [])


def test_an_answer_that_the_peer_could_not_read_becomes_an_error() -> None:
    peer = Peer(Limits(), Limits(max_frame_bytes=400))
    (request,) = requests(tell(peer, b'{"jsonrpc":"2.0","id":1,"method":"m"}')[0])
    peer.respond(request, b'"' + b"x" * 400 + b'"')
    (answer,) = said(peer)
    assert (answer["id"], answer["error"]["code"]) == (1, -32020)
    assert answer["error"]["data"]["limit"] == "maxFrameBytes"


def test_a_line_that_is_too_long_breaks_the_connection_after_what_came_before_it() -> None:
    peer = make_peer(max_frame_bytes=100)
    events, (answer,) = tell(peer, b'{"jsonrpc":"2.0","id":1,"method":"m"}', b"x" * 101, b"{}")
    assert isinstance(events[0], RequestReceived)
    assert isinstance(events[1], ConnectionBroken)
    assert events[1].error.data == {"limit": "maxFrameBytes", "value": 100}
    assert answer["error"]["code"] == -32020
    assert peer.state is ConnectionState.BROKEN
    assert peer.receive_data(b"{}\n") == []


def test_a_peer_that_does_not_read_breaks_the_connection() -> None:
    peer = Peer(Limits(), max_queued_bytes=1000)
    while peer.fault is None:
        peer.notify("m", b"{}")
        assert peer.queued_bytes <= 1100
    assert peer.fault.data == {"limit": "maxQueuedBytes", "value": 1000}
    assert peer.data_to_send() == b""
    with pytest.raises(LinkClosed):
        peer.request("m", b"{}", "token")


def test_what_is_sent_no_longer_counts_as_queued() -> None:
    peer = make_peer()
    peer.notify("m", b"{}")
    data = peer.data_to_send()
    assert peer.queued_bytes == len(data)
    peer.data_sent(10)
    assert peer.queued_bytes == len(data) - 10


# --- the ends ---


@pytest.mark.parametrize(
    "line",
    [b"POST / HTTP/1.1", b"{}", b'{"jsonrpc":"1.0","method":"m"}', b"5", b'"x"', b'{"x":"jsonrpc"}', b"\x16\x03"],
)
def test_a_first_line_from_somebody_else_breaks_the_connection(line: bytes) -> None:
    peer = Peer(Limits(), check_first_line=True)
    events, answers = tell(peer, line, b'{"jsonrpc":"2.0","id":1,"method":"m"}')
    assert [type(event) for event in events] == [ConnectionBroken]
    assert answers == []


@pytest.mark.parametrize("line", [b"[1]", b'{"jsonrpc": "2.0", "method": 5}', b'{"jsonrpc":"2.0","method":"m"}'])
def test_a_first_line_in_json_rpc_opens_the_connection(line: bytes) -> None:
    peer = Peer(Limits(), check_first_line=True)
    tell(peer, b"", line)
    assert peer.state is ConnectionState.OPEN


def test_closing_gives_every_pending_token_once() -> None:
    peer = make_peer()
    tokens = ["a", "b", "c"]
    for token in tokens:
        peer.request("m", b"{}", token)
    tell(peer, b'{"jsonrpc":"2.0","id":2,"result":1}')
    assert peer.close() == ["a", "c"]
    assert peer.close() == []
    with pytest.raises(LinkClosed):
        peer.request("m", b"{}", "late")


def test_after_the_end_answers_and_notifications_are_dropped() -> None:
    peer = make_peer()
    (request,) = requests(tell(peer, b'{"jsonrpc":"2.0","id":1,"method":"m"}')[0])
    peer.close()
    peer.respond(request, b"1")
    peer.notify("m", b"{}")
    assert peer.data_to_send() == b""


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(0, 300)))
def test_no_bytes_raise_and_cuts_do_not_matter(lines: list[bytes], cuts: list[int]) -> None:
    stream = b'{"jsonrpc":"2.0","id":1,"method":"m"}\n' + b"\n".join(lines) + b"\n"
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    whole, cut = make_peer(), make_peer()
    events = [event for a, b in pairwise(places) for event in cut.receive_data(stream[a:b])]
    assert events == whole.receive_data(stream)
    assert cut.data_to_send() == whole.data_to_send()


def test_the_id_of_a_call_is_what_is_on_the_wire() -> None:
    peer = make_peer()
    id = peer.request("m", b"{}", "token")
    assert id == RequestId(b"1")
    assert said(peer) == [{"jsonrpc": "2.0", "id": 1, "method": "m", "params": {}}]

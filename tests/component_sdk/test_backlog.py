"""Which request a worker takes next (`component_sdk.backlog`)."""

from __future__ import annotations

import msgspec

from component_sdk.backlog import FEW, Backlog
from protocol.messages import RequestId
from protocol.peer import RequestReceived


def _id(number: int) -> RequestId:
    return RequestId(b"%d" % number)


def _ask(id: int, run: str | None = None, *, in_batch: bool = False) -> RequestReceived:
    call = {"input": {"run_id": "not this"}, "observability": None if run is None else {"run_id": run}}
    params = {"component": "/x", **({"calls": [call, call]} if in_batch else call)}
    return RequestReceived(_id(id), "components/execute", msgspec.json.encode(params))


def _fill(*requests: RequestReceived) -> Backlog:
    backlog = Backlog()
    for request in requests:
        backlog.append(request)
    return backlog


def _drain(backlog: Backlog) -> list[int]:
    taken: list[int] = []
    while backlog:
        taken.append(int(backlog.popleft().id))
    return taken


def test_few_go_in_their_order() -> None:
    assert _drain(_fill(*(_ask(n, f"run {n % 3}") for n in range(FEW)))) == list(range(FEW))


def test_one_of_another_run_does_not_wait_for_a_thousand() -> None:
    backlog = _fill(*(_ask(n, "big") for n in range(1000)), _ask(1000, "small"))
    order = _drain(backlog)
    assert order.index(1000) <= FEW + 1
    assert sorted(order) == list(range(1001))


def test_those_of_a_run_stay_in_their_order() -> None:
    order = _drain(_fill(*(_ask(n, f"run {n % 3}") for n in range(1000))))
    for run in range(3):
        of_run = [n for n in order if n % 3 == run]
        assert of_run == sorted(of_run)


def test_a_batch_belongs_to_the_run_of_its_calls() -> None:
    order = _drain(_fill(*(_ask(n, "big", in_batch=True) for n in range(200)), _ask(200, "small", in_batch=True)))
    assert order.index(200) <= FEW + 1


def test_what_names_no_run_or_cannot_be_read_waits_with_its_like() -> None:
    unreadable = [RequestReceived(_id(n), "components/execute", b'{"observability": 7}') for n in range(100, 200)]
    order = _drain(_fill(*(_ask(n) for n in range(100)), *unreadable))
    assert order == list(range(200))


def test_what_is_taken_out_is_not_taken_again() -> None:
    backlog = _fill(*(_ask(n, "big") for n in range(100)), _ask(100, "small"), _ask(101, "small"))
    for id in (5, 99, 100):
        assert [request.id for request in backlog.remove(_id(id))] == [_id(id)]
    assert backlog.remove(_id(5)) == []
    assert sorted(_drain(backlog)) == [n for n in range(102) if n not in (5, 99, 100)]


def test_a_run_of_which_all_was_taken_out_has_no_turn() -> None:
    backlog = _fill(*(_ask(n, "big") for n in range(FEW)), _ask(100, "small"))
    backlog.remove(_id(100))
    backlog.append(_ask(101, "small"))
    assert _drain(backlog) == [*range(FEW), 101]

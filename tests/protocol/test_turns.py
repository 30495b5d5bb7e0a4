"""Queues that take turns (`protocol.turns`)."""

from __future__ import annotations

from collections import deque

from protocol.turns import Turns


def _fill(what: dict[str, list[int]]) -> Turns[str, deque[int]]:
    turns = Turns[str, deque[int]](deque)
    for key, values in what.items():
        turns.queue_of(key).extend(values)
    return turns


def _take_all(turns: Turns[str, deque[int]]) -> list[int]:
    taken: list[int] = []
    while turns:
        taken.append(turns.take().popleft())
    return taken


def test_queues_take_turns_until_they_are_empty() -> None:
    assert _take_all(_fill({"a": [1, 2, 3], "b": [10], "c": [20, 21]})) == [1, 10, 20, 2, 21, 3]


def test_a_queue_that_was_emptied_comes_back_behind_the_others() -> None:
    turns = _fill({"a": [1], "b": [10, 11]})
    assert turns.take().popleft() == 1
    turns.queue_of("a").append(2)
    assert _take_all(turns) == [10, 2, 11]


def test_a_queue_that_others_emptied_has_no_turn() -> None:
    turns = _fill({"a": [1], "b": [10]})
    turns.queue_of("a").clear()
    turns.drop_empty()
    assert [list(queue) for queue in turns] == [[10]]


def test_nothing_waits_after_all_was_forgotten() -> None:
    turns = _fill({"a": [1]})
    turns.clear()
    assert not turns
    turns.queue_of("a").append(2)
    assert _take_all(turns) == [2]

"""Queues that take turns, so that who brings much keeps nobody waiting who brings little. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sized
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
Q = TypeVar("Q", bound=Sized)


class Turns(Generic[K, Q]):
    """A queue for each key, as long as something waits in it.

    Args:
        make: Makes an empty queue.
    """

    __slots__ = ("_make", "_order", "_queues")

    def __init__(self, make: Callable[[], Q]) -> None:
        self._make = make
        self._queues: dict[K, Q] = {}
        self._order: deque[tuple[K, Q]] = deque()

    def __bool__(self) -> bool:
        return bool(self._order)

    def __iter__(self) -> Iterator[Q]:
        return (queue for _, queue in self._order)

    def queue_of(self, key: K) -> Q:
        """The queue of a key, to put something in."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = self._make()
            self._order.append((key, queue))
        return queue

    def take(self) -> Q:
        """The queue whose turn it is, to take one thing out; its next turn comes after that of all others."""
        key, queue = self._order[0]
        if len(queue) > 1:
            self._order.rotate(-1)
        else:
            self._order.popleft()
            del self._queues[key]
        return queue

    def drop_empty(self) -> None:
        """Forgets queues out of which others than `take` took the last."""
        self._order = deque((key, queue) for key, queue in self._order if queue)
        self._queues = dict(self._order)

    def clear(self) -> None:
        """Forgets all queues."""
        self._queues.clear()
        self._order.clear()

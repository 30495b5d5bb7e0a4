"""Long answers in pages: iterated element by element, fetched page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Paged(Generic[T]):
    """An asynchronous iterator over elements that come in pages.

    It holds no task and no connection, so it may be left at any point.

    Args:
        fetch: Waits for the next page, which has at least one element; `None` at the end.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Sequence[T] | None]]) -> None:
        self.fetch = fetch
        self._page: deque[T] = deque()

    def __aiter__(self) -> Paged[T]:
        return self

    async def __anext__(self) -> T:
        if not self._page:
            page = await self.fetch()
            if page is None:
                raise StopAsyncIteration
            self._page.extend(page)
        return self._page.popleft()

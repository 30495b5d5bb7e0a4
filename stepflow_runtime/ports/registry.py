"""What is kept beside runs: jobs, schedules, webhooks. Few and small, each one a body under its id.

What is in a body is the business of the service that writes it; a store keeps it, whole or not at all. Ids of one kind
are in the order in which their entries were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class Kind(StrEnum):
    """What an entry is. `JOB_RUN` is one run of a job; a `…_KEY` has what was made under the id of a request."""

    JOB = "job"
    JOB_RUN = "jobRun"
    JOB_KEY = "jobKey"
    SCHEDULE = "schedule"
    SCHEDULE_KEY = "scheduleKey"
    WEBHOOK = "webhook"
    WEBHOOK_KEY = "webhookKey"


class Entry(Struct, frozen=True):
    """Something that is kept.

    Args:
        kind: What it is.
        id: Its name among its kind.
        body: JSON.
        is_active: Whether a runtime that starts has something to do for it.
    """

    kind: Kind
    id: str
    body: bytes
    is_active: bool = False


Key = tuple[Kind, str]


class Registry(Protocol):
    """Keeps entries. Errors of the medium are raised as `StoreUnavailable`, and nothing is written."""

    async def add(self, entries: Sequence[Entry]) -> bool:
        """Adds all of them, durable when it returns; if one is there already, none, and tells so by `False`."""
        ...

    async def save(self, entries: Sequence[Entry], removed: Sequence[Key] = ()) -> None:
        """Writes entries over what they were, and removes others, in one transaction; durable when it returns."""
        ...

    async def entry(self, kind: Kind, id: str) -> Entry | None: ...

    async def entries(self, kind: Kind, before: str | None, limit: int) -> list[Entry]:
        """Newest first (descending id), those older than `before`."""
        ...

    async def active(self, kind: Kind) -> list[Entry]:
        """All that are active, oldest first."""
        ...

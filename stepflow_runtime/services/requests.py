"""Requests that are repeated: what one of them made is found again under its id, and is not made twice (PROTOCOL §4).

Beside what a request makes lies its key, which is written and removed with it, and of which the registry lets there be
one. Above are `automation/jobs`, `schedules` and `webhooks`. Runs have keys of their own, see `creation`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from blake3 import blake3
from msgspec import UNSET, Struct

from protocol.automation import CreateScheduleParams, RegisterWebhookParams
from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.model.canonical import normalize
from stepflow_runtime.ports import Entry, Kind, Registry

NAMES: Final[Mapping[Kind, tuple[str, str, str]]] = {
    Kind.JOB_KEY: ("idempotencyKey", "job", "jobRunId"),
    Kind.SCHEDULE_KEY: ("requestId", "schedule", "scheduleId"),
    Kind.WEBHOOK_KEY: ("requestId", "webhook", "webhookId"),
}
"""For errors: what the id is called in the request, what is made under it, and what that one's id is called."""


class Made(Struct, frozen=True):
    """The body of a key: the id of what was made, and the hash of what was asked for."""

    id: str
    content: str


class Request(Struct, frozen=True):
    """A request under an id.

    Args:
        kind: Of its key.
        principal: Whose id it is.
        id: As the request says.
        content: Hash of what must be the same when it is said again.
    """

    kind: Kind
    principal: str
    id: str
    content: str

    @property
    def key(self) -> str:
        """The id of its key."""
        return f"{self.principal}/{self.id}"

    def make_key(self, made_id: str) -> Entry:
        """What lies beside what it makes."""
        return Entry(self.kind, self.key, msgspec.json.encode(Made(made_id, self.content)))


def read_request(kind: Kind, params: CreateScheduleParams | RegisterWebhookParams, principal: str) -> Request | None:
    """The request that may be repeated, if it has an id."""
    if params.request_id is None:
        return None
    return Request(kind, principal, params.request_id, hash_request(params, ("request_id", "observability")))


async def find_made(registry: Registry, request: Request) -> str | None:
    """The id of what the first such request made; `None` if this is the first.

    Raises:
        RpcError: `CONFLICT` if the first one asked for something else.
    """
    entry = await registry.entry(request.kind, request.key)
    if entry is None:
        return None
    made = msgspec.json.decode(entry.body, type=Made)
    if made.content != request.content:
        field, thing, name = NAMES[request.kind]
        message = f"the {field} {request.id!r} was used for another {thing}: use a new one"
        raise RpcError(ErrorCode.CONFLICT, message, **{name: made.id})
    return made.id


def hash_request(params: Struct, but: Collection[str]) -> str:
    """The hash of what a request asks for.

    Args:
        params: The request.
        but: Fields in which a repeated one may differ: what it does is the same.
    """
    meant: dict[str, Any] = {
        name: value
        for name, value in msgspec.structs.asdict(params).items()
        if name not in but and value is not None and value is not UNSET
    }
    return blake3(normalize(msgspec.json.encode([type(params).__name__, meant]))).hexdigest(16)

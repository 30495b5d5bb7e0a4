"""What was submitted, as a run begins with it: the first event of its journal holds it, and it never changes."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from protocol.runs import ParentClosePolicy
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.secret import SecretReference
from stepflow_runtime.model.trace import SpanContext


class ParentLink(Struct, frozen=True, array_like=True):
    """Which execution submitted a run, and the key under which it finds it again (PROTOCOL §4)."""

    run_id: RunId
    item_index: int | None = None
    step_id: str | None = None
    key: str | None = None
    """Hash of {flowId, inputs, overrides, variables}, then `/n` for the n-th of that hash in the attempt."""


class IdempotencyKey(Struct, frozen=True, array_like=True):
    principal: str
    key: str
    content: str
    """Hash of what must be the same for the key to give the first run again."""


class RunWebhook(Struct, frozen=True, array_like=True):
    """Who is told about one run, as its submission said.

    Args:
        sealed: The secret that signs, unreadable here.
    """

    url: str
    events: tuple[str, ...]
    sealed: str


class Fork(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a run comes from that another one was forked into, and what of that one it re-uses (PROTOCOL §4).

    Args:
        lineage: The run that it was forked from, the one that that was forked from, and so on; the last has the inputs.
        origin_seq: What happened in the first of them until this event counts, and nothing later.
        step: Goes again with all that depends on it; `None` for every step that did not succeed.
        input: The input of that step, instead of what its flow says.
        resume_data: What that step is resumed with where it was suspended last.
        context: Outputs of steps that gave none, by step.
    """

    lineage: tuple[RunId, ...]
    origin_seq: int
    step: str | None = None
    input: Raw | UnsetType = UNSET
    resume_data: Raw | UnsetType = UNSET
    context: dict[str, Raw] = {}

    @property
    def origin(self) -> RunId:
        return self.lineage[0]


class RunSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was submitted, resolved once and for all: everything a run needs besides its inputs.

    `max_failures` is the number of failed items that is still borne; `None` bears all of them. `created_by` is the
    plugin that submitted it and may see it therefore; `submitted_by` is what a client calls itself, and opens nothing.
    """

    run_id: RunId
    root_run_id: RunId
    flow_id: BlobId
    flow_name: str | None = None
    flow_label: str | None = None
    depth: int = 1
    parent: ParentLink | None = None
    parent_close_policy: ParentClosePolicy = "cancel"
    max_concurrency: int = 1000
    max_failures: int | None = None
    overrides: Any = None
    variables: dict[str, Raw] = {}
    labels: dict[str, str] = {}
    idempotency: IdempotencyKey | None = None
    run_timeout_ms: int | None = None
    created_by: str | None = None
    created_at_ms: int
    secrets: dict[str, SecretReference] = {}
    job_run_id: str | None = None
    webhook: RunWebhook | None = None
    delay_until_ms: int | None = None
    fork: Fork | None = None
    submitted_by: str | None = None
    trace: SpanContext | None = None
    """The span above this run's; `None` if it is not traced."""

    @property
    def inputs_of(self) -> RunId:
        """The run that has the inputs."""
        return self.run_id if self.fork is None else self.fork.lineage[-1]

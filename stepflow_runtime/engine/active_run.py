"""One run as the executor holds it: its state, and what of it the store has. It makes the run's part of a commit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final

import trio
from msgspec import Struct

from protocol.errand import Later
from stepflow_runtime.engine.byproducts import RunByproducts
from stepflow_runtime.engine.commands import Command
from stepflow_runtime.engine.inputs import make_segments
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.engine.snapshot import take_snapshot
from stepflow_runtime.engine.timers import Timer
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.model.trace import span_of_run
from stepflow_runtime.ports import CommitResult, InputSegment, Lease, Message, RunProgress, RunRecord, RunWrite

SNAPSHOT_EVERY: Final = 4096
"""Events between two snapshots of a run, besides four for each live item: what recovery folds at most."""


class Taken(Struct, frozen=True):
    """One run's part of a commit, and what follows once it is durable."""

    run: ActiveRun
    write: RunWrite
    commands: list[Command]
    tickets: list[Later[CommitResult]]


class ActiveRun:
    """A run that has not ended, or whose end is not yet durable.

    Attributes:
        committed: What queries may see: as of the last durable commit.
        segments: Inputs that the next commit brings.
        tickets: Who waits for the next commit.
        awaiting: Who waits until it is durable up to which sequence number.
        commit_at: When what it records is committed at the latest, in trio's time.
        idle: The timer that seals it, if it is open.
        timeout: The timer that stops it, if it has a time-out.
        byproducts: What it makes beside its results; `None` until it makes any.
        delay: The timer that begins it, while it is delayed.
        alarm: The timer of what waits for a time in it, and that time.
        naps: Who sleeps in it, by item, step and key.
        trace: Its own span; `None` if it is not traced.
        tokens: Of its suspensions, by item and step; an entry may be of one that was ended.
    """

    __slots__ = (
        "_since_snapshot",
        "_taken",
        "alarm",
        "awaiting",
        "byproducts",
        "commit_at",
        "committed",
        "delay",
        "idle",
        "lease",
        "naps",
        "segments",
        "state",
        "tickets",
        "timeout",
        "tokens",
        "trace",
    )

    def __init__(self, state: RunState, lease: Lease, committed: RunProgress) -> None:
        self.state = state
        self.lease = lease
        self.committed = committed
        self.segments: list[InputSegment] = []
        self.tickets: list[Later[CommitResult]] = []
        self.awaiting: list[tuple[int, Later[None]]] = []
        self.commit_at = 0.0
        self.idle: Timer | None = None
        self.timeout: Timer | None = None
        self.byproducts: RunByproducts | None = None
        self.delay: Timer | None = None
        self.alarm: tuple[int, Timer] | None = None
        self.naps: dict[tuple[int, str, str], trio.Event] = {}
        self.tokens: dict[tuple[int, str], str] = {}
        self.trace = None if state.spec.trace is None else span_of_run(state.spec.trace, state.spec.run_id)
        self._taken = committed
        self._since_snapshot = 0

    @property
    def spec(self) -> RunSpec:
        return self.state.spec

    @property
    def has_been_taken(self) -> bool:
        """Whether it was part of a commit, be it under way."""
        return bool(self._taken.seq)

    def offer(self, first_index: int, inputs: Sequence[bytes]) -> None:
        """Inputs have come, raw JSON without newlines, which the next commit brings."""
        segments = make_segments(first_index, inputs)
        self.segments.extend(segments)
        for segment in segments:
            self.state.inputs.offer(segment)

    def has_recorded(self, count: int) -> bool:
        """Whether so many events wait for the next commit."""
        return len(self.state.events) >= count

    @property
    def is_awaited(self) -> bool:
        """Whether somebody, or what it does next, waits for its next commit; or it is the last."""
        return bool(self.tickets or self.awaiting or self.state.after) or self.state.facts.is_terminal

    @property
    def record(self) -> RunRecord:
        """As of the last durable commit."""
        return RunRecord(self.spec, self.committed)

    def tell(self, *, is_gone: bool = False) -> None:
        """Wakes whose wait is over: all, if nothing of it will be committed any more."""
        waiting, self.awaiting = self.awaiting, []
        for seq, over in waiting:
            if is_gone or seq <= self.committed.seq:
                over.complete(None)
            else:
                self.awaiting.append((seq, over))

    def note_token(self, item: int, step: str, token: str | None) -> None:
        """A step waits under this token, if it has one."""
        if token is not None:
            self.tokens[item, step] = token

    def take(self, wall_ms: int) -> Taken:
        """Takes all that was recorded since the last call."""
        state, facts = self.state, self.state.facts
        events, commands, tickets = state.events, state.after, self.tickets
        state.events, state.after, self.tickets = [], [], []
        at_ms = max(wall_ms, facts.progress.updated_at_ms or 0)
        if events:
            facts.stamp(at_ms)
        before, self._taken = self._taken, copy.copy(facts.progress)
        self._since_snapshot += len(events)
        snapshot = None
        if self._since_snapshot > SNAPSHOT_EVERY + 4 * len(facts.live):
            snapshot, self._since_snapshot = take_snapshot(facts), 0
        write = RunWrite(
            run_id=self.spec.run_id,
            lease=self.lease,
            expected_seq=before.seq,
            events=events,
            at_ms=at_ms,
            completions_before=before.completions,
            progress=self._taken,
            spec=None if before.seq else self.spec,
            segments=self.segments,
            chunks=facts.results.take_touched(),
            snapshot=snapshot,
            outbox=self._take_messages(),
            byproducts=None if self.byproducts is None else self.byproducts.take(),
        )
        self.segments = []
        return Taken(self, write, commands, tickets)

    def _take_messages(self) -> list[Message]:
        effects, self.state.effects = self.state.effects, []
        first = self.state.facts.seq - len(effects)
        return [
            Message(self.spec.run_id, seq, effect.kind, effect.body) for seq, effect in enumerate(effects, first + 1)
        ]

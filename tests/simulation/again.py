"""A client that has runs go again: what a fork keeps is what there was, and the run that it is of never changes."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

from protocol import methods as m
from protocol.errors import ErrorCode, RpcError
from protocol.forking import RestartParams, TimeTravelParams
from protocol.runs import ItemEntry, Outcome, RunStatus
from stepflow_runtime.model.status import TERMINAL_RUN_STATES

if TYPE_CHECKING:
    from tests.simulation.workload import Client


async def go_again(client: Client, run_id: str, steps: list[str], chance: Random) -> None:
    """Restarts a run while it runs, now and then; when it has ended makes forks of it, and of these."""
    asker = _Asker(client, chance)
    if chance.random() < 0.5:
        await asker.ask(m.RESTART_RUN, RestartParams(run_id))
    status = await client.finish(run_id)
    for _ in range(chance.randint(1, 3)):
        fork, travels = await _fork(asker, status, steps, chance)
        if fork is None:
            continue
        client.world.promises.note_run(fork.run_id, status.items.total)
        ended = await client.finish(fork.run_id)
        _compare(client, status, ended, travels)
        if (await client.finish(status.run_id)).results != status.results:
            client.world.trace.violate(f"{status.run_id} has other results since it was forked")
        status = ended
    asker.check()


async def _fork(
    asker: _Asker, status: RunStatus, steps: list[str], chance: Random
) -> tuple[RunStatus | None, set[int]]:
    """A fork, unless it cannot be, and the items that may have other results in it."""
    total = status.items.total
    meant = sorted({chance.randrange(total) for _ in range(3)}) if total and chance.random() < 0.6 else None
    if chance.random() < 0.5:
        only: Any = "failed" if chance.random() < 0.5 else None
        fork = await asker.ask(m.RESTART_RUN, RestartParams(status.run_id, meant, only))
        kept = {Outcome.SUCCESS} if only is None else {Outcome.SUCCESS, Outcome.CANCELLED}
        bad = {entry.item_index for entry in status.results or () if entry.result.outcome not in kept}
        return fork, bad if meant is None else bad & set(meant)
    params = TimeTravelParams(status.run_id, chance.choice(steps), meant)
    return await asker.ask(m.TIME_TRAVEL, params), set(range(total)) if meant is None else set(meant)


class _Asker:
    """Asks under a new request id each time, and now and then twice.

    Attributes:
        given: The runs that were given, by the runs that were to go again.
    """

    def __init__(self, client: Client, chance: Random) -> None:
        self._client = client
        self._chance = chance
        self.given: defaultdict[str, set[str]] = defaultdict(set)

    async def ask(self, method: m.Method, params: RestartParams | TimeTravelParams) -> RunStatus | None:
        """The run that goes again, be it a fork; `None` if it cannot."""
        params.request_id = f"request {self._chance.random()}"
        try:
            status: RunStatus = await self._client.ask(method, params)
        except RpcError as error:
            if error.code != ErrorCode.CONFLICT:
                raise
            return None
        self.given[params.run_id].add(status.run_id)
        if self._chance.random() < 0.3:
            again: RunStatus = await self._client.ask(method, params)
            if again.run_id != status.run_id:
                self._client.world.trace.violate(f"one request gave {status.run_id} and {again.run_id}")
        return status

    def check(self) -> None:
        """There are no forks but those that were given."""
        world = self._client.world
        for run_id, run in world.disk.state._runs.items():
            fork = run.record.spec.fork
            if fork is not None and fork.origin in self.given and run_id not in self.given[fork.origin]:
                world.trace.violate(f"{run_id} is a fork of {fork.origin} that nobody was told of")


def _compare(client: Client, before: RunStatus, after: RunStatus, travels: set[int]) -> None:
    if after.status in TERMINAL_RUN_STATES and _keep(before, travels) != _keep(after, travels):
        client.world.trace.violate(f"{after.run_id} did not keep what {before.run_id} had, but for {sorted(travels)}")


def _keep(status: RunStatus, travels: set[int]) -> list[ItemEntry]:
    return [entry for entry in status.results or () if entry.item_index not in travels]

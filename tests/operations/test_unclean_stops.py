"""An item that takes the runtime down is found and failed, and nothing else suffers for it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.commands import AwaitTurn, Command, Execute, Wake
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.folds import fold
from stepflow_runtime.engine.inputs import make_segments
from stepflow_runtime.engine.plan import Plan, compile_plan
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.engine.revival import begin_turn, revive
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.engine.snapshot import restore_facts, take_snapshot
from stepflow_runtime.engine.suspicion import ALONE_AFTER_STOPS, NOBODY, blame, find_at_work, suspect
from stepflow_runtime.engine.turns import Turns
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, RetryCause, decode_events, encode_events
from stepflow_runtime.model.flow import parse_flow
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import Lease, RunProgress
from tests.conformance.wire import PATIENCE_S, RawClient, make_flow, serve
from tests.system.servers import config

PLAN: Final = compile_plan(parse_flow(make_flow("/x")))
SPEC: Final = RunSpec(
    run_id=RunId("r"), root_run_id=RunId("r"), flow_id=BlobId("f"), created_at_ms=0, max_concurrency=4
)
MAX_STOPS: Final = 5


class Machine:
    """A machine on which a runtime with one run starts again and again; only its journal stays.

    Args:
        items: How many the run has.
        culprits: Those that kill the runtime as soon as they are executed.
    """

    def __init__(self, items: int, culprits: set[int]) -> None:
        self.items = items
        self.culprits = culprits
        self.spec = SPEC
        self.journal: list[AnyEvent] = []
        self.executed = Counter[int]()
        self.most_at_once: list[int] = []

    def boot(self, *, after_clean_stop: bool = False, plan: Plan = PLAN) -> RunFacts:
        """Runs until the runtime is killed, or the run has ended."""
        inputs = [b"%d" % n for n in range(self.items)]
        if not self.journal:
            state = RunState.create(self.spec, self.items, True, plan, RetryPolicy())
        else:
            state = RunState(self.fold(), plan, RetryPolicy())
            at_work = find_at_work(state.facts.live.values(), (), 0)
            suspects = NOBODY if after_clean_stop else suspect({0: at_work}, MAX_STOPS)[0]
            revive(state, dict(enumerate(inputs)), {}, {}, 0, suspects=suspects, max_stops=MAX_STOPS)
        for segment in make_segments(0, inputs):
            state.inputs.offer(segment)
        return self._execute(state)

    def _execute(self, state: RunState) -> RunFacts:
        at_work: list[Execute] = []
        waiting: list[int] = []
        while True:
            state.start_items()
            self.journal += decode_events(encode_events(state.events))
            state.events, commands = [], [*state.now, *state.after]
            state.now, state.after = [], []
            at_work += self._carry_out(state, commands, waiting)
            if commands:
                continue
            self.most_at_once.append(len(at_work))
            self.executed.update(execute.item for execute in at_work)
            if any(execute.item in self.culprits for execute in at_work):
                return self.fold()
            for execute in at_work:
                state.step_ended(execute.item, execute.step, execute.attempt, execute.input, 0)
            if not at_work and not (waiting and begin_turn(state, waiting.pop(0), 0)):
                return self.fold()
            at_work = []

    def _carry_out(self, state: RunState, commands: list[Command], waiting: list[int]) -> list[Execute]:
        executes: list[Execute] = []
        for command in commands:
            match command:
                case Wake(item=item, step=step, attempt=attempt):
                    state.retry_due(item, step, attempt)
                case AwaitTurn(item=item):
                    waiting.append(item)
                case Execute():
                    executes.append(command)
                case _:
                    pass
        return executes

    def fold(self) -> RunFacts:
        """What the journal says; by way of a snapshot, which must not make a difference."""
        facts = RunFacts()
        for event in self.journal:
            fold(facts, event)
        restored = restore_facts(facts.seq, take_snapshot(facts))
        for index, item in facts.live.items():
            assert (restored.live[index].stops, restored.live[index].held) == (item.stops, item.held)
        return facts


@pytest.mark.parametrize("culprits", [{2}, {0, 3}, {11}])
def test_only_the_culprit_fails(culprits: set[int]) -> None:
    machine = Machine(12, culprits)
    for _ in range(60):
        facts = machine.boot()
        if facts.is_terminal:
            break
    assert facts.is_terminal
    assert (facts.progress.success, facts.progress.failed) == (12 - len(culprits), len(culprits))
    failed = [event for event in machine.journal if isinstance(event, ev.ItemFailed)]
    assert {event.item for event in failed} == culprits
    for event in failed:
        assert event.error.code == "INTERNAL"
        assert event.error.data == {"limit": "maxUncleanStops", "value": MAX_STOPS}


def test_suspects_start_one_at_a_time() -> None:
    machine = Machine(4, {3})
    for _ in range(ALONE_AFTER_STOPS):
        machine.boot()
    assert machine.most_at_once[-1] == 4
    before = len(machine.most_at_once)
    machine.boot()
    assert max(machine.most_at_once[before:]) == 1
    assert machine.executed[3] == 3


def test_what_gets_on_is_no_longer_suspect() -> None:
    facts = RunFacts()
    for event in (
        ev.RunCreated(SPEC, 1, True),
        ev.RunStarted(),
        ev.ItemsStarted(0, 0, ("only",)),
        ev.RunRecovered(1, (0,)),
        ev.RunRecovered(1, (0,), (0,)),
    ):
        fold(facts, event)
    assert (facts.live[0].stops, facts.live[0].held) == (2, True)
    boom = Failure("COMPONENT_FAILED", "boom")
    fold(facts, ev.StepRetrying(0, "only", 2, boom, 0, RetryCause.RECOVERY))
    assert (facts.live[0].stops, facts.live[0].held) == (2, False), "its turn has come"
    fold(facts, ev.StepRetrying(0, "only", 3, boom, 0, RetryCause.COMPONENT))
    assert facts.live[0].stops == 0, "it failed, and the runtime did not"


def test_an_item_that_is_given_up_can_stop_the_run() -> None:
    machine = Machine(3, {0})
    machine.spec = msgspec.structs.replace(SPEC, max_failures=0)
    for _ in range(MAX_STOPS + 1):
        facts = machine.boot()
    assert (facts.progress.status, facts.progress.failed) == ("failed", 1)


def test_an_orderly_stop_blames_nobody() -> None:
    machine = Machine(1, {0})
    for _ in range(20):
        facts = machine.boot(after_clean_stop=True)
    assert facts.live[0].stops == 0


def test_who_only_waits_for_a_sub_run_is_no_suspect() -> None:
    machine = Machine(2, {0, 1})
    facts = machine.boot()
    assert [item.index for item in find_at_work(facts.live.values(), {(0, "only")}, 0)] == [1]


def start_items(*stops: int) -> RunFacts:
    """The facts of a run whose items are at work, each after so many unclean stops."""
    facts = RunFacts()
    fold(facts, ev.RunCreated(SPEC, len(stops), True))
    fold(facts, ev.RunStarted())
    fold(facts, ev.ItemsStarted(0, len(stops) - 1, ("only",)))
    for index, count in enumerate(stops):
        facts.live[index].stops = count
    return facts


def stop_unclean(*runs: RunFacts) -> None:
    suspects = suspect(
        {number: find_at_work(facts.live.values(), (), 0) for number, facts in enumerate(runs)}, MAX_STOPS
    )
    for number, facts in enumerate(runs):
        fold(facts, ev.RunRecovered(0, suspects[number].counted, (), suspects[number].spared))


def test_who_has_its_turn_is_spared_if_work_that_was_hardly_suspect_goes_on_beside_it() -> None:
    in_its_turn, fresh = start_items(4), start_items(0, 1)
    stop_unclean(in_its_turn, fresh)
    assert (in_its_turn.live[0].stops, in_its_turn.live[0].spared) == (4, 1)
    assert [item.stops for item in fresh.live.values()] == [1, 2]


def test_who_has_its_turn_alone_is_suspect() -> None:
    in_its_turn = start_items(4)
    stop_unclean(in_its_turn, start_items())
    assert (in_its_turn.live[0].stops, in_its_turn.live[0].spared) == (5, 0)


def test_a_culprit_is_found_though_there_is_always_other_work() -> None:
    culprit = start_items(0)
    for _ in range(2 * MAX_STOPS):
        assert blame(culprit.live[0], MAX_STOPS) is None
        stop_unclean(culprit, start_items(0))
    assert blame(culprit.live[0], MAX_STOPS) is not None


def test_who_was_spared_and_gets_on_is_as_new() -> None:
    facts = start_items(2)
    stop_unclean(facts, start_items(0))
    assert facts.live[0].spared == 1
    fold(facts, ev.StepRetrying(0, "only", 2, Failure("COMPONENT_FAILED", "boom"), 0, RetryCause.COMPONENT))
    assert (facts.live[0].stops, facts.live[0].spared) == (0, 0)


def test_who_is_least_suspect_has_its_turn_first() -> None:
    state = RunState(start_items(3, 4, 2), PLAN, RetryPolicy())
    revive(state, dict.fromkeys(range(3), b"0"), {}, {}, 0, max_stops=MAX_STOPS)
    run, turns = ActiveRun(state, Lease(0, "", 1), RunProgress()), Turns()
    for command in state.after:
        assert isinstance(command, AwaitTurn)
        turns.add(run, command.item, command.stops)
    order: list[int] = []
    while turns.give(0):
        [index] = (item.index for item in state.facts.live.values() if not item.held and item.index not in order)
        order.append(index)
        state.facts.live[index].stops = 0
    assert order == [2, 0, 1]


def test_journals_of_the_first_release_are_read() -> None:
    assert decode_events(b"[[17,5]]") == [ev.RunRecovered(5)]


# --- as processes ---

DEADLY: Final = '''
import os
import signal
from pathlib import Path

import trio

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()
DEADLY = {"name": "deadly", "steps": [{"id": "d", "component": "/python/deadly", "input": {"$input": "$"}}],
          "output": {"$step": "d"}}


@server.component
async def deadly(input: int) -> int:
    """Kills the runtime if it is given 3, while the others are at work."""
    if input == 3:
        os.kill(os.getppid(), signal.SIGKILL)
    await trio.sleep(0.3)
    return input


@server.component
async def parent(input: list[int], ctx: StepflowContext) -> list:
    status = await ctx.submit_run(flow=DEADLY, inputs=input, wait=True)
    return [entry.result.outcome for entry in status.results]


@server.component
async def reckless(input: int, ctx: StepflowContext) -> None:
    """Kills the runtime while a sub-run of its own, which is innocent, is at work."""
    await ctx.submit_run(flow=DEADLY, inputs=[input])
    os.kill(os.getppid(), signal.SIGKILL)
    await trio.sleep_forever()


if __name__ == "__main__":
    server.run()
'''


def ask_while_it_lives(folder: Path, parts: dict[str, Any], ask: Callable[[RawClient], Any]) -> Any:
    """What a runtime answers; `None` if it is killed before, be it while it starts."""
    try:
        with serve(folder, parts) as runtime:
            try:
                with runtime.connect() as client:
                    return ask(client)
            except (json.JSONDecodeError, OSError):
                assert runtime.process.wait(PATIENCE_S) == -9
    except ConnectionError as error:
        if "ended with -9" not in str(error):
            raise
    return None


def test_a_component_that_kills_the_runtime_each_time_is_failed_and_its_parent_learns_of_it(tmp_path: Path) -> None:
    parts: dict[str, Any] = config(tmp_path, DEADLY, storage=True) | {"limits": {"maxUncleanStops": 3}}
    run_id, boots, answer = "", 0, None

    def ask(client: RawClient) -> tuple[Any, Any]:
        nonlocal run_id
        if not run_id:
            submission = {"flowId": client.put_flow(make_flow("/python/parent")), "inputs": [[1, 2, 3, 4]]}
            run_id = client.call("runs/submit", submission)["runId"]
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        (child,) = client.call("runs/list", {"parentRunId": run_id})["runs"]
        return status, client.call("runs/get", {"runId": child["runId"], "includeResults": True})["results"]

    while answer is None:
        boots += 1
        assert boots < 12
        answer = ask_while_it_lives(tmp_path, parts, ask)
    status, results = answer
    assert boots == 4
    assert [entry["result"]["outcome"] for entry in results] == ["success", "success", "failed", "success"]
    error = results[2]["result"]["error"]
    assert error["code"] == "INTERNAL"
    assert re.search("killed 3 times .* maxUncleanStops is 3", error["message"])
    assert error["data"] == {"limit": "maxUncleanStops", "value": 3}
    assert status["results"][0]["result"]["value"] == ["success", "success", "failed", "success"]


def test_the_innocent_sub_run_of_a_culprit_is_spared(tmp_path: Path) -> None:
    parts: dict[str, Any] = config(tmp_path, DEADLY, storage=True) | {"limits": {"maxUncleanStops": 3}}
    run_id, answer = "", None

    def ask(client: RawClient) -> tuple[Any, Any]:
        nonlocal run_id
        if not run_id:
            flow_id = client.put_flow(make_flow("/python/reckless"))
            run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [1]})["runId"]
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        return status, client.call("runs/list", {"parentRunId": run_id})["runs"]

    for _ in range(9):
        answer = answer or ask_while_it_lives(tmp_path, parts, ask)
    assert answer is not None
    status, (child,) = answer
    assert status["results"][0]["result"]["error"]["code"] == "INTERNAL"
    assert child["status"] == "success"

"""A hundred faults of real processes under load: nothing is lost, nothing is done again, nothing is left behind.

The runtime is killed with SIGKILL and stopped with SIGSTOP, and so are its component servers, while runs nest and fan
out. What is executed is written to a file outside the store, which is compared with the journals afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from stepflow_runtime.store.sqlite import open_sqlite
from tests.conformance.wire import RawClient, ServedRuntime, make_flow, serve
from tests.invariants import Executions, audit_store
from tests.system.processes import Process, await_that, count_descriptors, find_children, find_marked
from tests.system.servers import TRACKED, config

LIVES: Final = 20
FAULTS_A_LIFE: Final = 5
"""Of a life of the runtime; the last is its end."""

PROCESSES: Final = 2
LEVELS: Final = 1
SUM: Final = 2**LEVELS * 2 * sum(range(8))
"""What a node of so many levels gives."""

BYTES_BETWEEN_FAULTS: Final = 500
"""Of the track, where a step is a line of 60; a run has 51 steps."""

PAUSE_S: Final = 0.03

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")


def test_nothing_is_lost_repeated_or_left_behind_in_a_hundred_faults(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")  # shown if the test fails
    storm = Storm(tmp_path, Random(seed))
    for _ in range(LIVES):
        storm.live_and_die()
    storm.recover()
    assert storm.faults == LIVES * FAULTS_A_LIFE
    assert storm.audit() == []
    assert len(storm.audit(done_again=True)) == 2, "it would have been seen"
    assert find_marked(storm.database) == [], "an orderly stop leaves nothing either"


class Storm:
    """A runtime and its servers, in a bad time.

    Args:
        folder: For their files.
        random: Decides what is done to them.
    """

    def __init__(self, folder: Path, random: Random) -> None:
        self.database = folder / "state.db"
        self.faults = 0
        self._folder = folder
        self._random = random
        self._track = folder / "track"
        self._run_ids: list[str] = []
        environment = {"TRACK": str(self._track), "STUBBORN": "yes"}
        self._parts = {
            **config(folder, TRACKED, storage=True, env=environment, processes=PROCESSES),
            "retry": {"transportMaxRetries": 1000, "backoff": {"type": "constant", "minDelayMs": 10}},
            "limits": {"maxUncleanStops": 1000},
        }

    def live_and_die(self) -> None:
        """A life of the runtime: it goes on with what is there, gets more, has each fault once, and is killed."""
        with serve(self._folder, self._parts) as runtime:
            faults = [self._kill_server, self._pause_server, self._stop_server, self._pause_runtime]
            self._random.shuffle(faults)
            with runtime.connect() as client:
                for fault in faults:
                    self._work(client)
                    fault(runtime)
                    self.faults += 1
                self._expect_no_orphans(runtime)
                self._work(client)
            if self._random.random() < 0.5:  # its servers are without it before they are told so
                runtime.process.send_signal(signal.SIGSTOP)
                time.sleep(PAUSE_S)
            runtime.kill()
            self.faults += 1

    def recover(self) -> None:
        """The last life: all ends, and all is as it should be. Then it stops in an orderly way."""
        with serve(self._folder, self._parts) as runtime, runtime.connect() as client:
            for run_id in self._run_ids:
                status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
                sums = [entry["result"]["value"]["sum"] for entry in status["results"]]
                assert sums == [SUM], status
            self._expect_descriptors_back(runtime)
            self._expect_no_orphans(runtime)

    def audit(self, *, done_again: bool = False) -> list[str]:
        """What is wrong with the store, and with what was executed; as if the first step had been done again."""
        executions = Executions()
        for line in self._track.read_text().splitlines():
            run_id, item, step, attempt, at_ms = line.split()
            executions.begin((run_id, int(item), step, int(attempt)), None, int(at_ms))
        assert len(executions.begun) > LIVES * FAULTS_A_LIFE, "there was something to be lost"
        if done_again:
            executions.begin(next(iter(executions.begun)), None, time.time_ns() // 1_000_000)

        async def read() -> list[str]:
            async with open_sqlite(self.database) as store:
                return await audit_store(store, executions)

        return trio.run(read)

    # --- faults ---

    def _kill_server(self, runtime: ServedRuntime) -> None:
        os.kill(self._pick_server(runtime).pid, signal.SIGKILL)

    def _pause_server(self, runtime: ServedRuntime) -> None:
        pid = self._pick_server(runtime).pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(pid, signal.SIGCONT)

    def _stop_server(self, runtime: ServedRuntime) -> None:
        """It is stopped, and killed as it is."""
        pid = self._pick_server(runtime).pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(pid, signal.SIGKILL)

    def _pause_runtime(self, runtime: ServedRuntime) -> None:
        runtime.process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE_S)
        runtime.process.send_signal(signal.SIGCONT)

    def _pick_server(self, runtime: ServedRuntime) -> Process:
        children: list[Process] = await_that(lambda: find_children(runtime.process.pid))
        return self._random.choice(children)

    # --- what is seen ---

    def _work(self, client: RawClient) -> None:
        """Gives the runtime more to do, and waits until it is well on its way."""
        wanted = self._tracked_bytes() + BYTES_BETWEEN_FAULTS
        flow_id = client.put_flow(make_flow("/python/node"))
        params = {"flowId": flow_id, "inputs": [{"levels": LEVELS}]}
        self._run_ids.append(client.call("runs/submit", params)["runId"])
        await_that(lambda: self._tracked_bytes() >= wanted)

    def _tracked_bytes(self) -> int:
        return self._track.stat().st_size if self._track.exists() else 0

    def _expect_no_orphans(self, runtime: ServedRuntime) -> None:
        """Whatever servers there are and were, and all that they started: only those of now are there."""

        def is_clean() -> bool:
            children = find_children(runtime.process.pid)
            sessions = {child.pid for child in children}
            return all(child.state != "Z" for child in children) and all(
                process.session in sessions for process in find_marked(self.database)
            )

        await_that(is_clean)

    def _expect_descriptors_back(self, runtime: ServedRuntime) -> None:
        """Servers come and go, and take their descriptors with them."""
        pid = runtime.process.pid
        await_that(lambda: len(find_children(pid)) == PROCESSES)
        before = count_descriptors(pid)
        killed = {server.pid for server in find_children(pid)}
        for server in killed:
            os.kill(server, signal.SIGKILL)
        await_that(lambda: len({server.pid for server in find_children(pid)} - killed) == PROCESSES)
        await_that(lambda: count_descriptors(pid) <= before)

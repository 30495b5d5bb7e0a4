"""Measures scenarios, ours and the others' in turn: A B C A B C …

So a machine that is slower for a while is slower for all of them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from benchmarks.peers import pipe, pypi
from benchmarks.peers.work import Work
from benchmarks.scenario import Reading, Scenario, Summary, summarize

PEER_ROUNDS: Final = 3


class Outcome(Struct, frozen=True):
    """What came of one scenario.

    Args:
        scenario: What was measured.
        readings: Of each round.
        others: By name, what the others did of the first goal's figure.
    """

    scenario: Scenario
    readings: list[Reading]
    others: dict[str, Summary]


def measure(
    scenarios: Sequence[Scenario], rounds: int | None, peers: Sequence[pypi.Peer], folder: Path | None
) -> list[Outcome]:
    """Measures, and says on stderr what came of each round.

    Args:
        scenarios: Which.
        rounds: How often each; `None`: as each says itself.
        peers: Those that are installed.
        folder: Where databases lie; `None`: the folder for temporary files.
    """
    return [_measure_one(scenario, rounds or scenario.rounds, peers, folder) for scenario in scenarios]


def _measure_one(scenario: Scenario, rounds: int, peers: Sequence[pypi.Peer], folder: Path | None) -> Outcome:
    readings: list[Reading] = []
    others: dict[str, list[float]] = {}
    for index in range(rounds):
        started_at = time.perf_counter()
        readings.append(trio.run(scenario.measure, folder))
        if scenario.work is not None and index < PEER_ROUNDS:
            for name, value in _measure_others(scenario.work, peers, folder):
                others.setdefault(name, []).append(value)
        seconds = time.perf_counter() - started_at
        figures = ", ".join(f"{name} {value:,.5g}" for name, value in readings[-1].figures.items())
        print(f"{scenario.name} {index + 1}/{rounds} {seconds:5.1f} s: {figures}", file=sys.stderr, flush=True)
    summaries = {name: summarize([Reading({name: value}) for value in values])[name] for name, values in others.items()}
    return Outcome(scenario, readings, summaries)


def _measure_others(work: Work, peers: Sequence[pypi.Peer], folder: Path | None) -> list[tuple[str, float]]:
    found = [(peer.name, peer.measure(work, folder)) for peer in peers]
    if work in pipe.WORKS:
        found.insert(0, (pipe.NAME, trio.run(pipe.measure, work)))
    return [(name, value) for name, value in found if value is not None]

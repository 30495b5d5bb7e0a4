"""How fast it is on this machine, beside a bare pipe and the peers, in about ten minutes.

python -m benchmarks                   everything
python -m benchmarks S2 S4             some scenarios
python -m benchmarks --no-peers        only this project, and the bare pipe
python -m benchmarks --write           and keep it in results.md and results.svg, beside this file
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import fanout, latency, payloads, reading, startup, steps, waiting
from benchmarks.chart import draw
from benchmarks.machine import describe_machine
from benchmarks.peers.pypi import PEERS
from benchmarks.report import render
from benchmarks.scenario import Scenario
from benchmarks.series import measure

SCENARIOS: Final = sorted(
    (
        scenario
        for group in (fanout, latency, steps, payloads, startup, reading, waiting)
        for scenario in group.SCENARIOS
    ),
    key=lambda scenario: int("".join(filter(str.isdigit, scenario.name.partition("-")[0]))),
)
HERE: Final = Path(__file__).parent


def main(arguments: Sequence[str]) -> int:
    """Measures, and prints the table.

    Args:
        arguments: The command line.

    Returns:
        The exit code: 0, also when a goal is missed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(one.name for one in SCENARIOS))
    parser.add_argument("--rounds", type=int, help="how often each is measured; default, as each says itself")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers from PyPI out")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results.md and results.svg")
    parser.add_argument("--folder", type=Path, help="where databases lie; default, the folder for temporary files")
    options = parser.parse_args(arguments)
    scenarios = _choose(options.names)
    wants_peers = not options.no_peers and any(scenario.work for scenario in scenarios)
    peers = [peer for peer in PEERS if peer.install()] if wants_peers else []
    machine = describe_machine(options.folder)
    outcomes = measure(scenarios, options.rounds, peers, options.folder)
    table = render(outcomes, machine)
    print(table)
    if options.write:
        (HERE / "results.md").write_text(table)
        (HERE / "results.svg").write_text(draw(outcomes))
    return 0


def _choose(names: Sequence[str]) -> list[Scenario]:
    known = {scenario.name.lower(): scenario for scenario in SCENARIOS}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise SystemExit(f"There is no scenario {unknown[0]}; there are {', '.join(one.name for one in SCENARIOS)}.")
    return [known[name.lower()] for name in names] or SCENARIOS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One big run, labelled `size: big`, from a process of its own: `python -m benchmarks.big_run HOST:PORT ITEMS`."""

from __future__ import annotations

import sys

from benchmarks.bench import one_step
from component_sdk import connect


def main(address: str, items: int) -> None:
    """Submits all inputs, and leaves.

    Args:
        address: Of the runtime.
        items: How many.
    """
    with connect(address) as client:
        client.start(one_step("double"), inputs=({"n": n} for n in range(items)), labels={"size": "big"})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

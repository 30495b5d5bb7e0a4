"""Which seeds are simulated when: those that once found something come first, and stay."""

from __future__ import annotations

from typing import Final

FOUND: Final[dict[int, str]] = {
    0: "after a restart with the clock set back, a retry began again with the number of the attempt that was lost",
    60: "a wait that was throttled had made its run, and made a second one when it was asked again",
    727: "a parent and its child, both to be executed alone, waited for each other",
    1_795_270_036_753: "a clock that was set back right after a run was made delayed its beginning by so much",
    1_795_271_218_782: "an innocent item that had its turn was failed for what culprits did that nobody suspected yet",
    216: "a job that had ended said of its run that it runs: of that commit the runtime had not heard yet",
    945: "a parent that ignored its time-out kept, while it waited, the slot that its child needed",
}
"""Seeds, and what they found. When the meaning of seeds changes they stay: they are as good as any others then."""

CHECKED: Final = range(1000)
"""Simulated with all other tests."""

BATCH: Final = 100
"""Seeds that are handed to the processes together."""

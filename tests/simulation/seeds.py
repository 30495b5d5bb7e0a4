"""Which seeds are simulated when: those that once found something come first, and stay."""

from __future__ import annotations

from typing import Final

FOUND: Final[dict[int, str]] = {
    0: "after a restart with the clock set back, a retry began again with the number of the attempt that was lost",
}
"""Seeds, and what they found. When the meaning of seeds changes they stay: they are as good as any others then."""

CHECKED: Final = range(1000)
"""Simulated with all other tests."""

BATCH: Final = 100
"""Seeds that are handed to the processes together."""

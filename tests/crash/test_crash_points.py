"""The runtime dies before and after each of its writes, and another one over the same file ends what it began."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.crash.lives import Died, Hook, Lives, check_results, count_writes, live, run

When = Literal["before", "after"]


def die_at(when: When, which: int) -> tuple[Hook | None, Hook | None]:
    """Hooks that let the runtime die before or after one of its writes."""

    async def die(number: int) -> None:
        if number == which:
            raise Died

    return (die, None) if when == "before" else (None, die)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("idle_ms", [0, 2000])
def test_after_a_death_at_any_write_the_work_is_done_once(when: When, idle_ms: int, tmp_path: Path) -> None:
    writes = count_writes(tmp_path)
    assert writes >= 20
    for number in range(1, writes + 1):
        lives = Lives(tmp_path / f"{when}-{number}.db")
        run(live, lives, *die_at(when, number))
        lives.now_ms += idle_ms
        check_results(run(live, lives))


@pytest.mark.parametrize("seed", range(6))
def test_after_many_deaths_the_work_is_done_once(seed: int, tmp_path: Path) -> None:
    lives = Lives(tmp_path / "runs.db")
    for life in range(8):
        when: When = "before" if (seed + life) % 2 == 0 else "after"
        run(live, lives, *die_at(when, 3 + (seed * 5 + life * 3) % 11))
    check_results(run(live, lives))

"""What a cancellation reaches, and what it leaves."""

from __future__ import annotations

import msgspec

from stepflow_runtime.engine.cancellation import end_grace
from stepflow_runtime.engine.commands import CancelledChildren, EffectKind
from tests.stepflow_runtime.engine.bench import Bench
from tests.stepflow_runtime.engine.world import BOOM, ONE


def cancelled_children(bench: Bench) -> list[tuple[int, ...] | None]:
    """Of which items the sub-runs are to be cancelled; `None`: of all."""
    return [
        msgspec.json.decode(effect.body, type=CancelledChildren).items
        for effect in bench.state.effects
        if effect.kind is EffectKind.CANCEL_CHILDREN
    ]


def test_a_run_that_stops_leaves_the_sub_runs_of_items_that_have_ended() -> None:
    bench = Bench(ONE, range(10), max_concurrency=4, max_failures=0)
    bench.commit()
    bench.answer((0, "a", 1))
    bench.answer((2, "a", 1), BOOM)
    (items,) = cancelled_children(bench)
    assert items is not None
    assert not {0, 2} & set(items)
    assert {1, 3} <= set(items)


def test_a_cancelled_run_takes_all_its_sub_runs_with_it() -> None:
    bench = Bench(ONE, range(3))
    bench.commit()
    bench.answer((0, "a", 1))
    bench.cancel()
    assert cancelled_children(bench) == [None]


def test_a_grace_that_is_over_ends_only_the_items_it_was_given_for() -> None:
    bench = Bench(ONE, range(3))
    bench.commit()
    bench.cancel([0])
    bench.cancel([1])
    end_grace(bench.state, [0])
    assert bench.live == [1, 2]
    end_grace(bench.state, [1, 7])
    assert bench.live == [2]

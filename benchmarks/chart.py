"""The comparison with others as a picture: bars on a logarithmic scale, longer is faster, in plain SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.scenario import summarize
from benchmarks.series import Outcome

OURS: Final = "stepflow-runtime"
COLOURS: Final = {OURS: "#1f6feb", "bare pipe": "#b7bdc8"}
OTHER_COLOUR: Final = "#e08a3c"
WIDTH: Final = 860
LEFT: Final = 150
RIGHT: Final = 130
BAR: Final = 18
GAP: Final = 6
TITLE: Final = 30
FONT: Final = 'font-family="sans-serif" font-size="13"'


def draw(outcomes: Sequence[Outcome]) -> str:
    """The picture: a group of bars for each scenario that others did too, in units of work a second.

    Args:
        outcomes: What came of each scenario; those that nobody else did are left out.
    """
    groups = [(outcome.scenario.title, _find_rates(outcome)) for outcome in outcomes if outcome.others]
    height = sum(TITLE + len(rates) * (BAR + GAP) + GAP for _, rates in groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 0
    for title, rates in groups:
        parts += _draw_group(title, rates, top)
        top += TITLE + len(rates) * (BAR + GAP) + GAP
    return "\n".join([*parts, "</svg>", ""])


def _find_rates(outcome: Outcome) -> dict[str, float]:
    """A second's work of each, the fastest first; what was measured as milliseconds is turned into that."""
    goal = outcome.scenario.goals[0]
    medians = {OURS: summarize(outcome.readings)[goal.figure].median}
    medians |= {name: other.median for name, other in outcome.others.items()}
    rates = {name: 1000 / median if goal.is_ceiling else median for name, median in medians.items()}
    return dict(sorted(rates.items(), key=lambda rate: -rate[1]))


def _draw_group(title: str, rates: dict[str, float], top: int) -> Iterator[str]:
    yield f'<text x="8" y="{top + 21}" font-weight="bold">{escape(title)}, a second (logarithmic)</text>'
    lowest = math.log10(min(rates.values())) - 0.5
    scale = (WIDTH - LEFT - RIGHT) / (math.log10(max(rates.values())) - lowest)
    for index, (name, rate) in enumerate(rates.items()):
        y = top + TITLE + index * (BAR + GAP)
        length = (math.log10(rate) - lowest) * scale
        colour = COLOURS.get(name, OTHER_COLOUR)
        yield f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" rx="3" fill="{colour}"/>'
        yield f'<text x="{LEFT + length + 8:.0f}" y="{y + 14}">{rate:,.0f}</text>'

"""What is written in the console can be read by who sees contrasts badly (WCAG 2.2, level AA), in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from stepflow_runtime.web import console

CSS: Final = (Path(console.__file__).parent / "static" / "console.css").read_text("utf-8")
ENOUGH: Final = 4.5
INKS: Final = ("ink", "soft", "accent", "failed", "string")
GROUNDS: Final = ("bg", "card", "wash", "failed-wash", "suspended-wash")


def read_colours(scheme: str) -> dict[str, str]:
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))


def measure_light(colour: str) -> float:
    """The relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((measure_light(one), measure_light(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_is_on(scheme: str) -> None:
    colours = read_colours(scheme)
    pairs = [(ink, ground) for ink in INKS for ground in GROUNDS] + [("accent-ink", "accent")]
    faint = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: found for pair, found in faint.items() if found < ENOUGH} == {}

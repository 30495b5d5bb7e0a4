"""Spans of time as people write them on the command line."""

from __future__ import annotations

import re
from typing import Any, Final

import click

_SECONDS: Final = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


class Age(click.ParamType[int]):
    """`30d`, `12h`, `45m`, `10s`; the value is seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})([dhms])", str(value))
        if match is None:
            self.fail(f"{value!r} is no span of time; write it like 30d, 12h, 45m or 10s.", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]

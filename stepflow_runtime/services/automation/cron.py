"""When a schedule fires: the times that a cron expression names in a time zone.

Clocks that are put forward or back are treated as Debian's cron does: what falls into the hour that is left out fires
right after it, and what falls into the hour that comes twice fires once; expressions with `*` in minutes or hours
follow the clock as it runs. cronsim is imported when it is first needed.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache


def check_cron(cron: str, time_zone: str) -> None:
    """Refuses what names no times.

    Raises:
        ValueError: The message says what is wrong, and how it is written.
    """
    from cronsim import CronSim, CronSimError

    zone = _find_zone(time_zone)
    try:
        CronSim(cron, datetime.now(zone))
    except CronSimError as error:
        raise ValueError(f"{cron!r} is no cron expression ({error}); write it like 30 2 * * *") from None


def next_after(cron: str, time_zone: str, after_ms: int) -> int | None:
    """The first time after one, in milliseconds since the epoch; `None` if there is none any more."""
    from cronsim import CronSim

    start = datetime.fromtimestamp(after_ms // 1000, UTC).astimezone(_find_zone(time_zone))
    for time in CronSim(cron, start):
        found = int(time.timestamp() * 1000)
        if found > after_ms:  # in an hour that comes twice, cronsim thinks of the first one
            return found
    return None


@lru_cache(64)
def _find_zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write it like Europe/Berlin") from None

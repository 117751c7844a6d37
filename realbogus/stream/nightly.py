"""Topics that change with the night: which ones to read now."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from realbogus.errors import ConfigError

MOST_NIGHTS = 400


def topics_of_the_night(
    topics: tuple[str, ...], pattern: str, now: float, since: float | None = None
) -> tuple[str, ...]:
    """The given topics and those of yesterday, today and tomorrow, UTC; times are Unix, s.

    With since, the nights from then on too. A window of names and not a regular expression: that would also take up
    every night long gone, whose dead partitions starve the live one. Neighbours overlap, so that nothing is missed
    around midnight. ConfigError where since is more than MOST_NIGHTS ago.
    """
    if not pattern:
        return topics
    last = _night(now) + timedelta(days=1)
    first = _night(now if since is None else min(since, now)) - timedelta(days=1)
    nights = (last - first).days + 1
    if nights > MOST_NIGHTS:
        raise ConfigError([f"{nights} nights lie between the beginning and now; at most {MOST_NIGHTS} can be read"])
    return (*topics, *((first + timedelta(days=day)).strftime(pattern) for day in range(nights)))


def _night(time_s: float) -> date:
    return datetime.fromtimestamp(time_s, UTC).date()

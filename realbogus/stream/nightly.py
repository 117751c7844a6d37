"""Topics that change with the night: which ones to read now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def topics_of_the_night(topics: tuple[str, ...], pattern: str, now: float) -> tuple[str, ...]:
    """The given topics and those of yesterday, today and tomorrow, UTC. now is Unix time, s.

    A window of names and not a regular expression: that would also take up every night long gone, whose dead
    partitions starve the live one. Neighbours overlap, so that nothing is missed around midnight.
    """
    if not pattern:
        return topics
    today = datetime.fromtimestamp(now, UTC)
    nights = (today + timedelta(days=day) for day in (-1, 0, 1))
    return (*topics, *(night.strftime(pattern) for night in nights))

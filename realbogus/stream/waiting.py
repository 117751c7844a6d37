"""Says in the log why no alerts come: a reason that lasts, once, and when it is over."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

LASTS_S = 5.0  # s; starting, and changes of the group, take less


class Waiting:
    """Told again and again why nothing can come, "" where it can; times are monotonic, s."""

    def __init__(self) -> None:
        self._why, self._since, self._told = "", 0.0, ""

    def look(self, why: str, now: float) -> None:
        """Log what is new."""
        if why != self._why:
            self._why, self._since = why, now
        if self._told and not why:
            log.info("no longer waiting")
            self._told = ""
        elif why != self._told and now - self._since >= LASTS_S:
            log.warning("waiting: %s", why)
            self._told = why

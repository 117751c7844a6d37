"""Logs of a process, for people or for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any


class JsonLines(logging.Formatter):
    """A log record as one JSON object on a line: time, level, logger, event, and the record's own fields.

    who names the process among several.
    """

    def __init__(self, who: str = "") -> None:
        super().__init__()
        self._who = {"process": who} if who else {}

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **self._who,
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Stderr(logging.StreamHandler[Any]):
    """Writes to whatever stderr is now: a status line may stand in for it for a while."""

    @property
    def stream(self) -> Any:
        """The stderr of the moment."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass


def log_to_stderr(level: str, form: str, who: str = "") -> None:
    """Send logs to stderr, for people ("text") or machines ("json"). who names the process among several."""
    handler = _Stderr()
    prefix = f"{who} " if who else ""
    text = logging.Formatter(f"%(asctime)s {prefix}%(levelname)s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines(who) if form == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("numba").setLevel(logging.WARNING)

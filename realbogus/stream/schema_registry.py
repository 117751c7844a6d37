"""Ask a Confluent-style schema registry for the schema of an id, over HTTP; wait for it where it does not answer.

What cannot be looked up now is nobody's fault: the batch goes back, nothing is rejected for it, and the worker takes
nothing more until the registry answers again.
"""

from __future__ import annotations

import json
import logging
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from realbogus.errors import Unavailable
from realbogus.limits import Limits
from realbogus.stream.protocols import Clock, SystemClock

log = logging.getLogger(__name__)

TRIES = 3
KNOCK_EVERY_S = 2.0  # s; how often a silent registry is asked for the id that is wanted


@dataclass
class SchemaRegistry:
    """The registry at an http or https URL: what a SchemaStore takes as its fetch, and whether it answers."""

    url: str
    timeout_s: float = 5.0
    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=SystemClock)
    _wanted: int | None = field(default=None, init=False)  # the id that it did not answer for
    _problem: str = field(default="", init=False)
    _asked: float = field(default=0.0, init=False)
    _knocking: threading.Thread | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"the schema registry's URL is {self.url!r}, expected http:// or https://")

    def __call__(self, schema_id: int) -> bytes | None:
        """The text of a schema, None for an id that the registry does not know.

        Unavailable where it cannot be reached in three tries or its answer makes no sense: that is not the packet's
        fault, so no packet may be rejected for it.
        """
        for _ in range(TRIES):
            text, problem = self._ask(schema_id)
            if not problem:
                self._wanted = None
                return text
        if self._wanted is None:
            log.warning("the schema registry does not answer, waiting for it: %s", problem)
        self._wanted, self._problem, self._asked = schema_id, problem, self.clock.monotonic()
        raise Unavailable(f"schema registry: {problem} ({TRIES} tries)")

    def waiting(self) -> str:
        """Why alerts wait for the registry, "" if they do not. Asks again now and then, in a thread of its own."""
        if self._wanted is None:
            return ""
        idle = self._knocking is None or not self._knocking.is_alive()
        if idle and self.clock.monotonic() - self._asked >= KNOCK_EVERY_S:
            self._asked = self.clock.monotonic()
            self._knocking = threading.Thread(target=self.knock, name="schema registry", daemon=True)
            self._knocking.start()
        return f"the schema registry does not answer: {self._problem}"

    def knock(self) -> None:
        """Ask once more for what was wanted; whatever the answer is, an answer ends the wait."""
        wanted = self._wanted
        if wanted is None:
            return
        _, self._problem = self._ask(wanted)
        if not self._problem:
            log.info("the schema registry answers again")
            self._wanted = None

    def _ask(self, schema_id: int) -> tuple[bytes | None, str]:
        """The text, None = unknown; or else what went wrong, "" = nothing."""
        place = f"{self.url.rstrip('/')}/schemas/ids/{schema_id}"
        try:
            return self._schema(place), ""
        except urllib.error.HTTPError as error:
            error.close()
            return None, "" if error.code == 404 else f"{_shown(place)}: {error}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f"{_shown(place)}: {error}"

    def _schema(self, place: str) -> bytes:
        most = 4 * self.limits.schema_bytes  # the schema comes quoted in JSON
        with urllib.request.urlopen(place, timeout=self.timeout_s) as answer:
            text = answer.read(most + 1)
        if len(text) > most:
            raise ValueError(f"the answer is longer than {most} bytes")
        return str(json.loads(text)["schema"]).encode()


def _shown(url: str) -> str:
    """The URL without a name and password, for messages."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

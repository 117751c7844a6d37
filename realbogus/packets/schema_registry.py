"""Ask a Confluent-style schema registry for the schema of an id, over HTTP. The one place of this room with I/O."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from realbogus.errors import StreamError
from realbogus.limits import Limits
from realbogus.packets.schemas import Fetch

TRIES = 3


def registry(url: str, *, timeout_s: float = 5.0, limits: Limits | None = None) -> Fetch:
    """What a SchemaStore takes to ask the registry at this http or https URL.

    None for an id that the registry does not know. StreamError where it cannot be reached in three tries or its
    answer makes no sense: that is not the packet's fault, so no packet may be rejected for it.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"the schema registry's URL is {url!r}, expected http:// or https://")
    most = 4 * (limits or Limits()).schema_bytes  # the schema comes quoted in JSON

    def fetch(schema_id: int) -> bytes | None:
        place = f"{url.rstrip('/')}/schemas/ids/{schema_id}"
        for _ in range(TRIES):
            try:
                return _schema(place, timeout_s, most)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 404:
                    return None
                problem: Exception = error
            except (OSError, ValueError, KeyError, TypeError) as error:
                problem = error
        raise StreamError(f"schema registry: {place}: {problem} ({TRIES} tries)")

    return fetch


def _schema(place: str, timeout_s: float, most: int) -> bytes:
    with urllib.request.urlopen(place, timeout=timeout_s) as answer:
        text = answer.read(most + 1)
    if len(text) > most:
        raise ValueError(f"the answer is longer than {most} bytes")
    return str(json.loads(text)["schema"]).encode()

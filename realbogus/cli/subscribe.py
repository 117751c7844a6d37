"""Follow published events: print, filter and save them, and draw their cutouts.

How it is called: `realbogus.cli.calls.subscribe`.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from rich.console import Console

from realbogus.errors import ConfigError, StreamError, VOEventError
from realbogus.publish.archive import Archive
from realbogus.stream.kafka import following
from realbogus.subscribing import cutouts, vtp_client
from realbogus.subscribing.wishes import Wishes, as_json, as_text, cone
from realbogus.voevent import validate
from realbogus.voevent.reading import Told, tell

log = logging.getLogger(__name__)

REMEMBERED = 100_000  # ids, so that what comes twice is told once
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def run(options: argparse.Namespace) -> int:
    """Follow, and tell at the end how many events were seen."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s", level=logging.INFO)
    wishes, source = _wishes(options), _source(options)
    archive = Archive(options.save) if options.save else None
    as_lines = options.format == "json" or (options.format is None and not sys.stdout.isatty())
    shown = 0
    for told in _wanted(source, wishes, options.until_idle):
        if archive is not None:
            archive.keep(told.event)
        if options.cutouts is not None:
            _draw(told, options.cutouts)
        print(json.dumps(as_json(told)) if as_lines else as_text(told), flush=True)
        shown += 1
        if shown == options.limit:
            break
    source.close()
    Console(stderr=True).print(f"{shown} events", highlight=False)
    return 0


def _wishes(options: argparse.Namespace) -> Wishes:
    if not 0 <= options.min_score <= 1:
        raise ConfigError([f"--min-score is {options.min_score}; expected 0 to 1"])
    return Wishes(
        min_score=options.min_score,
        max_mag=options.max_mag,
        bands=frozenset(options.band),
        cone=cone(options.cone) if options.cone else None,
        tests=not options.no_tests,
    )


def _source(options: argparse.Namespace) -> Generator[bytes | None, None, None]:
    address = _HOST_PORT.fullmatch(options.vtp or options.kafka.partition(",")[0])
    if address is None:
        raise ConfigError([f"{options.vtp or options.kafka!r} is no address; expected host:port"])
    if options.vtp:
        if options.topic or options.group or options.from_beginning or options.property:
            raise ConfigError(["--topic, --group, --from-beginning and --property belong to --kafka"])
        return vtp_client.follow(address[1].strip("[]"), int(address[2]), filters=options.xpath)
    if not options.topic or options.xpath:
        raise ConfigError(["--kafka needs --topic, and takes no --xpath: that is for a broadcaster"])
    properties = dict(_pair(text) for text in options.property)
    return following.follow(
        options.kafka, options.topic, group=options.group, beginning=options.from_beginning, properties=properties
    )


def _pair(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark:
        raise ConfigError([f"--property is {text!r}; expected KEY=VALUE, such as security.protocol=SASL_SSL"])
    return key, value


def _wanted(source: Iterator[bytes | None], wishes: Wishes, until_idle_s: float | None) -> Iterator[Told]:
    """The events that somebody wants to see, each once."""
    seen: dict[str, None] = {}
    busy = time.monotonic()
    for xml in source:
        if not xml:
            if until_idle_s is not None and time.monotonic() - busy >= until_idle_s:
                if xml == vtp_client.NOBODY:
                    raise StreamError("nobody answers at this address")
                return
            continue
        busy = time.monotonic()
        told = _told(xml)
        if told is not None and told.event.ivorn not in seen:
            seen[told.event.ivorn] = None
            if len(seen) > REMEMBERED:
                del seen[next(iter(seen))]
            if wishes.want(told):
                yield told


def _told(xml: bytes) -> Told | None:
    try:
        return tell(validate.read(xml))
    except VOEventError as problem:
        log.warning("not an event of realbogus: %s", problem)
        return None


def _draw(told: Told, folder: Path) -> None:
    name = told.event.ivorn.partition("#")[2]
    if problem := cutouts.draw(told, folder / f"{name}.png"):
        log.warning("no picture of %s: %s", name, problem)

"""Look into the dead letters and the parked alerts, and send them back.

How it is called: `realbogus.cli.calls.dlq`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from realbogus import packets
from realbogus.cli.looking import first, looking, position, print_rows, read_shown
from realbogus.config import Settings
from realbogus.errors import PacketError
from realbogus.stream.kafka import KafkaSink
from realbogus.stream.letters import Filter, Letter, counted, letters, replayed
from realbogus.stream.log import Log, from_time, inputs_behind
from realbogus.stream.protocols import Sink

HEAD = 256  # bytes shown as hex
AT_ONCE = 500  # alerts written before their delivery is waited for


def run(options: argparse.Namespace) -> int:
    """Do one of the actions."""
    actions: dict[str, Callable[[argparse.Namespace, Settings, Log], int]] = {
        "list": _list,
        "show": _show,
        "replay": _replay,
    }
    with looking(options) as (settings, log):
        return actions[options.action](options, settings, log)


def letter_topics(settings: Settings, log: Log) -> list[str]:
    """The topics of dead letters and of parked alerts, of all nights."""
    given, output, known = settings.need_input(), settings.output, log.topics()
    found = [inputs_behind(known, template, given) for template in (output.dead_letters, output.parked)]
    return sorted({topic for some in found for topic in some})


def found_letters(options: argparse.Namespace, settings: Settings, log: Log) -> Iterator[Letter]:
    """The letters that the options ask for."""
    wanted = Filter(
        reasons=tuple(options.reason or ()),
        dispositions=tuple(options.disposition or ()),
        schema=options.schema,
        since_s=options.since,
        until_s=options.until,
        attempts=getattr(options, "max_attempts", None),
    )
    topics = options.topic or letter_topics(settings, log)
    extent = from_time(log, log.extent(topics), options.since)
    return letters(read_shown(log, extent, "reading dead letters"), wanted)


def _list(options: argparse.Namespace, settings: Settings, log: Log) -> int:
    found = found_letters(options, settings, log)
    if options.rows:
        rows = [_row(letter) for _, letter in zip(range(options.limit), found, strict=False)]
    else:
        names = ("night", "topic", "reason", "schema")
        rows = [{**dict(zip(names, key, strict=True)), "letters": n} for key, n in sorted(counted(found).items())]
    print_rows(rows, as_json=options.json, nothing="no such letters")
    return 0


def _row(letter: Letter) -> dict[str, Any]:
    told = letter.as_dict()
    names = ("place", "night", "reason", "attempt", "candid", "schema", "message")
    return {name: told.get(name, "") for name in names}


def _show(options: argparse.Namespace, settings: Settings, log: Log) -> int:
    topic, partition, offset = position(options.place)
    otherwise = f"there is no letter at {options.place}"
    extent = {one: (offset, offset + 1) for one in log.extent([topic]) if one == (topic, partition)}
    letter = first(letters(log.read(extent)), otherwise)
    for name, value in letter.as_dict().items():
        print(f"{name:<13} {value}")
    for name, raw in letter.message.headers:
        if not name.startswith("__rb.errors."):
            print(f"{name:<13} {raw.decode('utf-8', 'replace')}")
    print(f"{'key':<13} {(letter.message.key or b'').decode('utf-8', 'replace')}")
    print(f"{'bytes':<13} {len(letter.message.value)}")
    print("\n" + _readable(letter, settings))
    print("\n" + _hex(letter.message.value[:HEAD]))
    if options.save:
        options.save.write_bytes(letter.message.value)
        print(f"{len(letter.message.value)} bytes in {options.save}", file=sys.stderr)
    return 0


def _readable(letter: Letter, settings: Settings) -> str:
    """As much of the packet as can be decoded, as JSON; else why it cannot."""
    bare = settings.need_input().bare_schema or None
    try:
        whole = packets.read_whole(
            letter.message.value, store=packets.SchemaStore(), limits=settings.limits, bare_schema=bare
        )
    except PacketError as problem:
        return f"it cannot be decoded: {problem}"
    return json.dumps(_brief(whole), indent=1, ensure_ascii=False)


def _brief(value: Any) -> Any:
    """A packet for the eye: bytes as their number, long lists cut."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return {name: _brief(part) for name, part in value.items()}
    if isinstance(value, list):
        return [*map(_brief, value[:1]), f"<{len(value) - 1} more>"] if len(value) > 1 else list(map(_brief, value))
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _hex(raw: bytes) -> str:
    rows = (raw[at : at + 16] for at in range(0, len(raw), 16))
    return "\n".join(
        f"{16 * at:06x}  {row.hex(' '):<47}  {''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in row)}"
        for at, row in enumerate(rows)
    )


def _replay(options: argparse.Namespace, settings: Settings, log: Log) -> int:
    found = found_letters(options, settings, log)
    if options.dry_run:
        told = replay(found, None, options.to)
    else:
        with closing(KafkaSink(settings.kafka, create=False)) as sink:
            told = replay(found, sink, options.to)
    print(json.dumps(told))
    return 0


def replay(found: Iterator[Letter], sink: Sink | None, to: str) -> dict[str, Any]:
    """Send letters back; what became of them. Without a sink nothing is written."""
    sent: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for letter in found:
        if problem := letter.not_to_replay():
            left[problem] += 1
            continue
        record = replayed(letter, to)
        sent[record.topic] += 1
        if sink is not None:
            sink.send(record)
            if sent.total() % AT_ONCE == 0:
                sink.flush(float("inf"))
    if sink is not None:
        sink.flush(float("inf"))
    return {"replayed": sent.total(), "to": dict(sent), "left_out": dict(left), "dry_run": sink is None}

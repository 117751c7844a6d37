"""What an event costs in CPU time of one core: built, checked, published; beside the usual way to build one."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from lxml import etree
from publish_cases import Clock, Outbox
from voevent_cases import STYLE, element_by_element, scored, spelled

from realbogus.publish.archive import Archive
from realbogus.publish.ledger import Ledger
from realbogus.publish.outbox import Publisher
from realbogus.publish.settings import PublishSettings
from realbogus.publish.vtp_broadcaster import VtpBroadcaster
from realbogus.resources import shipped
from realbogus.voevent import build, validate

PROJECT = Path(__file__).resolve().parents[2]
TOGETHER = 200  # events of a round


def costs(rounds: int) -> dict[str, float]:
    """us of CPU time an event, the median of some rounds; the ways take turns."""
    batch = scored(TOGETHER, object_id=[f"ZTF26{number:07d}" for number in range(TOGETHER)])
    drafts = [build(batch, row, STYLE).xml for row in range(TOGETHER)]
    plain = [spelled(etree.fromstring(xml)) for xml in drafts]
    ours = etree.XMLSchema(etree.parse(str(shipped("schemas") / "voevent" / "event.xsd")))
    ways: dict[str, Callable[[], object]] = {
        "naive: lxml element by element": lambda: [element_by_element(one) for one in plain],
        "naive, validated by our schema": lambda: [element_by_element(one, ours) for one in plain],
        "realbogus: built and checked": lambda: [build(batch, row, STYLE) for row in range(TOGETHER)],
        "realbogus: checked": lambda: [validate.read(xml, draft=True) for xml in drafts],
        "publisher: checked, ledger": partial(_published, drafts, archive=False, broadcast=False),
        "publisher: checked, ledger, archive": partial(_published, drafts, archive=True, broadcast=False),
        "publisher: checked, ledger, VTP": partial(_published, drafts, archive=False, broadcast=True),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            before = _cpu_s()
            spent = way()
            spent_s = spent if isinstance(spent, float) else _cpu_s() - before
            times[name].append(spent_s / TOGETHER * 1e6)
    return {name: statistics.median(told) for name, told in times.items()}


def _published(drafts: list[bytes], *, archive: bool, broadcast: bool) -> float:
    """s of CPU time of a publisher over these drafts, with a ledger on disk; without its start and its end."""
    with tempfile.TemporaryDirectory(dir=PROJECT / ".cache") as scratch:
        sinks = [Archive(Path(scratch) / "events")] if archive else []
        sinks += [VtpBroadcaster("127.0.0.1", 0, ivorn="ivo://a.b.c/d")] if broadcast else []
        clock = Clock()
        with closing(Ledger(Path(scratch) / "ledger.sqlite")) as ledger:
            one = Publisher(Outbox(list(drafts)), ledger, sinks, PublishSettings(), clock, clock.pause)
            before = _cpu_s()
            counts = one.run(until_idle_s=1)
            spent_s = _cpu_s() - before
        for sink in sinks:
            sink.close()
    assert counts.new == len(drafts)
    return spent_s


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

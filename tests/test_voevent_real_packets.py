"""Every readable real packet makes an event that ours and the official schema accept."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SHARED, need
from lxml import etree
from voevent_cases import MODEL, NAMES, STYLE

from realbogus import packets
from realbogus.alerts import ScoredBatch
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore
from realbogus.surveys import SURVEYS, recognise
from realbogus.voevent import build

pytestmark = pytest.mark.packets

WANTED = {name: survey.fields for name, survey in SURVEYS.items()}


def judged(real_packets, survey: str) -> ScoredBatch:
    """All readable packets of a survey, as if a model had found them all real."""
    messages = [file.read_bytes() for file in sorted((real_packets / survey).rglob("*.avro"))]
    decoded, _ = packets.read(messages, wanted=WANTED, recognise=recognise, store=SchemaStore(), limits=Limits())
    (group,) = [group for group in decoded if group.survey == survey]
    alerts, _ = SURVEYS[survey].to_batch(group, Limits())
    n = len(alerts)
    features, scores = np.zeros((n, len(NAMES)), np.float32), np.full(n, 0.9)
    return ScoredBatch(alerts, MODEL, features, NAMES, scores, scores, np.ones(n, bool))


@pytest.mark.parametrize("survey", ["ztf", "rubin"])
def test_every_real_packet_makes_a_valid_event(real_packets, survey):
    official = etree.XMLSchema(etree.parse(need(SHARED / "voevent", "needs the official schema") / "VOEvent-v2.0.xsd"))
    scored = judged(real_packets, survey)
    assert len(scored) > 100
    events = [build(scored, row, STYLE) for row in range(len(scored))]
    for event in events:
        official.assertValid(etree.fromstring(event.xml))
    different = set(zip(scored.alerts.object_id, scored.alerts.candid.tolist(), strict=True))
    assert len({event.ivorn for event in events}) == len(different)

"""What the page shows of an event beyond what the event says: its three stamps and its light curve.

They come from the alert itself, which the worker lays beside the event in the outbox where there is a page for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from realbogus import packets
from realbogus.alerts import STAMP_SIDE
from realbogus.errors import PacketError
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore
from realbogus.surveys import SURVEYS, recognise
from realbogus.surveys.history import Point, light_curve
from realbogus.thumbnails import thumbnail


@dataclass(frozen=True)
class Evidence:
    """What a person looks at."""

    stamps: tuple[bytes, bytes, bytes]  # PNG: science, template, difference
    side_arcsec: float  # of each
    history: tuple[Point, ...]  # by time, this detection included


@dataclass(frozen=True)
class EvidenceReader:
    """Reads alerts one at a time; store, limits and bare_schema are those of the worker that laid them there."""

    store: SchemaStore = field(default_factory=SchemaStore)
    limits: Limits = field(default_factory=Limits)
    bare_schema: str | None = None

    def read(self, alert: bytes) -> Evidence:
        """The evidence in an alert; PacketError where it cannot be read."""
        decoded, rejected = packets.read(
            [alert],
            wanted={name: survey.fields for name, survey in SURVEYS.items()},
            recognise=recognise,
            store=self.store,
            limits=self.limits,
            bare_schema=self.bare_schema,
            compiled=False,  # one at a time: not worth the start
        )
        for group in decoded:
            survey = SURVEYS[group.survey]
            batch, unread = survey.to_batch(group, self.limits)
            if len(batch):
                whole = packets.read_whole(alert, store=self.store, limits=self.limits, bare_schema=self.bare_schema)
                science, template, difference = (thumbnail(batch.triplets[0, stamp], stamp) for stamp in range(3))
                points = tuple(light_curve(group.survey, whole))
                return Evidence((science, template, difference), STAMP_SIDE * survey.pixel_arcsec, points)
            rejected = [*rejected, *unread]
        raise PacketError(rejected[0].detail if rejected else "holds no alert")


def to_json(points: Sequence[Point]) -> str:
    """Points as JSON, a list each: mjd, band, mag, error or null, sign."""
    return json.dumps([[p.mjd, p.band, p.mag, None if math.isnan(p.mag_err) else p.mag_err, p.sign] for p in points])


def from_json(text: str) -> tuple[Point, ...]:
    """The points that `to_json` wrote."""
    return tuple(
        Point(mjd, band, mag, math.nan if error is None else error, sign)
        for mjd, band, mag, error, sign in json.loads(text)
    )

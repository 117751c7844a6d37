"""Scored batches made by hand for the tests of events and their publication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lxml import etree

from realbogus.alerts import COLUMNS, AlertBatch, ModelId, ScoredBatch
from realbogus.voevent import EventStyle, validate

STYLE = EventStyle(
    authority="org.example.survey",
    contact_name="Night desk",
    contact_email="desk@example.org",
    object_url="https://alerts.example.org/{survey}/{object_id}?candid={candid}&from=voevent",
    cutout_url="https://alerts.example.org/{object_id}/{candid}/{stamp}.png",
    model_card_url="https://alerts.example.org/models/{name}/{version}",
)
MODEL = ModelId(
    "forest",
    "1.2.0",
    "0123456789abcdef" * 4,
    "base-1:0a1b2c3d",
    0.5,
    calibrated=True,
    threshold_p_real=0.6,
    training_set="fedcba9876543210" * 4,
)
NAMES = ("negative_pixels", "peak_snr", "fwhm_over_psf", "elongation", "host_distance", "shape_residual")

_DETECTION = {
    "ra_deg": 123.4567891,
    "dec_deg": -12.3456789,
    "mjd": 60000.123456,
    "exposure_s": 30.0,
    "position_error_arcsec": 0.2,
    "mag_psf": 18.53,
    "mag_psf_err": 0.08,
    "mag_limit": 20.5,
    "snr_psf": 13.5,
    "diff_sign": 1.0,
    "survey_rb": 0.71,
    "survey_drb": 0.98,
}


def scored(
    n: int = 1,
    *,
    survey: str = "ztf",
    object_id: str | Sequence[str] = "ZTF20abcdefg",
    band: str = "r",
    model: ModelId = MODEL,
    score: float = 0.9,
    p_real: float = 0.95,
    candid: int = 1_234_567_890_123_456_789,
    contributions: bool = True,
    **columns: float,
) -> ScoredBatch:
    """N scored detections, alike but for their candids; columns replace those of a good r-band detection."""
    told: dict[str, Any] = {**_DETECTION, **columns}
    alerts = AlertBatch(
        survey=survey,
        index=np.arange(n),
        candid=np.arange(n, dtype=np.int64) + candid,
        object_id=[object_id] * n if isinstance(object_id, str) else object_id,
        band=[band] * n,
        schema=[f"{survey}/4.02"] * n,
        columns={name: np.full(n, told.get(name, np.nan)) for name in COLUMNS},
        triplets=np.zeros((n, 3, 63, 63), np.float32),
    )
    features = np.tile(np.array([3, 41.5, 1.02, np.nan, 0.8, 7e-9], np.float32), (n, 1))
    shares = np.array([-0.12, 0.21, 0.05, 0.0, 0.3, -1e-9])
    return ScoredBatch(
        alerts=alerts,
        model=model,
        features=features,
        feature_names=NAMES,
        score=np.full(n, score),
        p_real=np.full(n, p_real),
        forward=np.ones(n, bool),
        contributions=dict.fromkeys(range(n), shares) if contributions else {},
    )


def spelled(node: etree._Element) -> tuple:
    """An element as plain values: what a builder has at hand before it makes elements."""
    return node.tag, dict(node.attrib), node.text, [spelled(child) for child in node]


def element_by_element(told: tuple, schema: etree.XMLSchema | None = None) -> bytes:
    """The usual way: SubElement for each, then tostring; validated if a schema is given."""
    tag, attributes, _, children = told
    root = etree.Element(tag, attributes, nsmap={"voe": validate.NAMESPACE})
    stack = [(root, child) for child in reversed(children)]
    while stack:
        parent, (tag, attributes, text, children) = stack.pop()
        node = etree.SubElement(parent, tag, attributes)
        node.text = text
        stack += [(node, child) for child in reversed(children)]
    if schema is not None:
        schema.assertValid(root)
    return etree.tostring(root, xml_declaration=True, encoding="US-ASCII")

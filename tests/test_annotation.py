"""Annotations: byte for byte what fastavro writes, functions of their content, appended without touching the packet."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets_cases import RECORD, SMALL, containers, encode, files, slowly

from realbogus.alerts import AlertBatch, ModelId, ScoredBatch
from realbogus.errors import PacketError
from realbogus.limits import Limits
from realbogus.packets import SchemaStore, annotation, splice, write_container
from realbogus.packets.blocks import read_header, single_block

MODEL = ModelId("forest", "1.0", "ab" * 32, "set-1-0123abcd", 0.5, calibrated=True)
FEATURES = 40


def scored_batch(rows: int = 8, features: int = FEATURES, seed: int = 3) -> ScoredBatch:
    """A batch of made-up alerts, with every decision, undefined features and missing numbers."""
    some = np.random.default_rng(seed)
    alerts = AlertBatch(
        survey="ztf",
        index=np.arange(rows),
        candid=some.integers(2**53, 2**62, rows) * np.where(np.arange(rows) % 3, 1, -1),
        object_id=[f"ZTF18ab{row:04d}é" for row in range(rows)],
        band=["g"] * rows,
        schema=["ztf/4.02"] * rows,
        columns={"mjd": np.where(np.arange(rows) % 4 == 1, np.nan, 58000 + some.random(rows))},
        triplets=np.zeros((rows, 3, 63, 63), np.float32),
    )
    values = some.normal(size=(rows, features)).astype(np.float32)
    values[:, ::5] = np.nan
    score = some.random(rows).round(6)
    return ScoredBatch(
        alerts=alerts,
        model=MODEL,
        features=values,
        feature_names=[f"feature_{column}" for column in range(features)],
        score=score,
        p_real=np.where(np.arange(rows) % 2, np.nan, score**2),
        forward=(score >= MODEL.threshold) & (np.arange(rows) % 2 == 0),
        contributions={row: some.normal(size=features) for row in range(0, rows, 3)},
    )


def expected(scored: ScoredBatch, row: int, identity: str) -> dict[str, object]:
    """An annotation by its definition in the schema."""
    alerts, names = scored.alerts, scored.feature_names
    shares = scored.contributions.get(row, np.zeros(0))
    order = sorted(range(len(shares)), key=lambda at: -abs(shares[at]))[: annotation.TOP]
    above = scored.score[row] >= scored.model.threshold
    mjd, p_real = float(alerts.columns["mjd"][row]), float(scored.p_real[row])
    return {
        "annotation_id": identity,
        "candid": int(alerts.candid[row]),
        "object_id": alerts.object_id[row],
        "mjd": None if np.isnan(mjd) else mjd,
        "score": float(scored.score[row]),
        "p_real": None if np.isnan(p_real) else p_real,
        "decision": "forward" if scored.forward[row] else "hold" if above else "reject",
        "survey": alerts.survey,
        "threshold": scored.model.threshold,
        "model_name": scored.model.name,
        "model_version": scored.model.version,
        "model_sha256": scored.model.sha256,
        "feature_set": scored.model.feature_set,
        "code_version": "0.1.0",
        "features": scored.features[row].tolist(),
        "top_contributions": [
            {"feature": names[at], "value": float(scored.features[row, at]), "contribution": float(shares[at])}
            for at in order
        ],
    }


@pytest.mark.parametrize("features", [0, 1, FEATURES, 200])
def test_annotations_are_byte_for_byte_what_fastavro_writes(features):
    scored = scored_batch(features=features)
    for row, value in enumerate(annotation.encode(scored, "0.1.0")):
        identity = annotation.decode(value)["annotation_id"]
        assert value == encode(annotation.schema(), expected(scored, row, identity))


@given(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), st.floats(0, 1), st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_content_survives(object_id, candid, score, name):
    scored = scored_batch(1)
    alerts = replace(scored.alerts, object_id=[object_id], candid=np.array([candid]))
    scored = replace(scored, alerts=alerts, score=np.array([score]), model=replace(MODEL, name=name))
    (value,) = annotation.encode(scored, "0.1.0")
    found = annotation.decode(value)
    assert (found["object_id"], found["candid"], found["score"]) == (object_id, candid, score)
    assert value == encode(annotation.schema(), expected(scored, 0, found["annotation_id"]))


def test_a_batch_gives_what_single_alerts_give():
    scored = scored_batch()
    together = annotation.encode(scored, "0.1.0")
    for row in range(len(scored)):
        assert annotation.encode(only(scored, row), "0.1.0") == [together[row]]


def only(scored: ScoredBatch, row: int) -> ScoredBatch:
    alerts = scored.alerts
    pick = slice(row, row + 1)
    return replace(
        scored,
        alerts=replace(
            alerts,
            index=alerts.index[pick],
            candid=alerts.candid[pick],
            object_id=alerts.object_id[pick],
            columns={"mjd": alerts.columns["mjd"][pick]},
        ),
        features=scored.features[pick],
        score=scored.score[pick],
        p_real=scored.p_real[pick],
        forward=scored.forward[pick],
        contributions={0: scored.contributions[row]} if row in scored.contributions else {},
    )


def test_the_id_tells_alerts_and_strategies_apart_and_repeats_itself():
    scored = scored_batch()

    def ids(batch, version="0.1.0"):
        return [annotation.decode(value)["annotation_id"] for value in annotation.encode(batch, version)]

    assert ids(scored) == ids(scored)
    variants = [
        ids(scored),
        ids(scored, "0.1.1"),
        ids(replace(scored, model=replace(MODEL, sha256="cd" * 32))),
        ids(replace(scored, model=replace(MODEL, threshold=0.6))),
        ids(replace(scored, model=replace(MODEL, feature_set="set-2"))),
        ids(replace(scored, alerts=replace(scored.alerts, survey="rubin"))),
    ]
    everything = [one for variant in variants for one in variant]
    assert len(set(everything)) == len(everything)
    assert all(len(one) == 64 for one in everything)


def test_every_decision_occurs():
    found = {annotation.decode(value)["decision"] for value in annotation.encode(scored_batch(40), "0.1.0")}
    assert found == {"forward", "hold", "reject"}


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw + b"\0", lambda raw: b"", lambda raw: b"x" * 9]
)
def test_what_is_no_annotation_is_refused(damage):
    with pytest.raises(PacketError, match="annotation"):
        annotation.decode(damage(annotation.encode(scored_batch(1), "0.1.0")[0]))


def test_every_field_of_the_schema_is_documented():
    assert all(field["doc"] for field in annotation.schema()["fields"])
    assert "time" not in {word for field in annotation.schema()["fields"] for word in field["name"].split("_")}


# appended to the packet

(ANNOTATION,) = annotation.encode(scored_batch(1), "0.1.0")


def read_annotated(message: bytes) -> tuple[dict[str, object], object]:
    """The packet and its annotation, as any Avro reader reads them."""
    (record,) = fastavro.reader(io.BytesIO(message))
    return record, record.pop(annotation.FIELD)


def original(message: bytes) -> object:
    """The packet as fastavro reads it: WINTER's has a default that fastavro refuses, which is then left out."""
    try:
        return next(iter(fastavro.reader(io.BytesIO(message))))
    except fastavro.schema.SchemaParseException:
        return slowly(message)


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)  # NaN equals NaN


def test_a_packet_and_its_annotation_come_back_as_they_were():
    record, annotated = read_annotated(splice.append(write_container(SMALL, RECORD), ANNOTATION, store=SchemaStore()))
    assert record == RECORD
    assert same(annotated, annotation.decode(ANNOTATION))


@pytest.mark.packets
def test_real_packets_come_back_as_they_were(real_packets):
    store = SchemaStore()
    found = [(path, raw) for path, raw in files(real_packets).items() if raw[:3] == b"Obj"]
    ztf = [raw for path, raw in found if path.startswith("ztf/")][::25]
    others = [raw for path, raw in found if not path.startswith(("ztf/", "damaged/"))][::4]
    for raw in ztf + others:
        message = splice.append(raw, ANNOTATION, store=store)
        record, annotated = read_annotated(message)
        assert same(record, original(raw))
        assert same(annotated, annotation.decode(ANNOTATION))
        header = read_header(raw, Limits())
        block = single_block(raw, header)
        assert header.codec == "deflate" or raw[block.start : block.stop] + ANNOTATION in message  # untouched


@pytest.mark.packets
def test_records_without_a_container_become_containers(real_packets):
    found = [raw for path, raw in files(real_packets).items() if "confluent" in path]
    store = SchemaStore()
    for raw in found:
        record, _ = read_annotated(splice.append(raw, ANNOTATION, store=store, bare_schema="rubin/9.0"))
        start = 5 if raw[:5] == b"\0\0\0\x03\x84" else 0
        schema = fastavro.parse_schema(json.loads(store.by_name("rubin/9.0").text))
        assert same(record, fastavro.schemaless_reader(io.BytesIO(raw[start:]), schema, None))


def test_a_compressed_packet_is_inflated_and_annotated():
    record, _ = read_annotated(
        splice.append(containers(SMALL, [RECORD], codec="deflate"), ANNOTATION, store=SchemaStore())
    )
    assert record == RECORD


def test_equal_packets_give_equal_bytes():
    message = write_container(SMALL, RECORD)
    first = splice.append(message, ANNOTATION, store=SchemaStore())
    assert splice.append(message, ANNOTATION, store=SchemaStore()) == first


def test_an_annotated_packet_is_not_annotated_again():
    once = splice.append(write_container(SMALL, RECORD), ANNOTATION, store=SchemaStore())
    with pytest.raises(PacketError, match="has a field 'realbogus' already"):
        splice.append(once, ANNOTATION, store=SchemaStore())


def test_a_packet_that_holds_itself_is_not_annotated():
    schema = {"type": "record", "name": "chain", "fields": [{"name": "next", "type": ["null", "chain"]}]}
    with pytest.raises(PacketError, match="holds others"):
        splice.append(write_container(schema, {"next": None}), ANNOTATION, store=SchemaStore())


def test_a_list_of_types_is_annotated_where_the_packet_is_the_last_of_them():
    other = {"type": "record", "name": "other", "fields": [{"name": "x", "type": "int"}]}
    message = write_container([other, SMALL], ("test.alert", RECORD))
    record, _ = read_annotated(splice.append(message, ANNOTATION, store=SchemaStore()))
    assert record == RECORD
    with pytest.raises(PacketError, match=r"is not a test\.alert"):
        splice.append(write_container([other, SMALL], ("other", {"x": 1})), ANNOTATION, store=SchemaStore())


@pytest.mark.parametrize("stop", [0, 3, 100, -1])
def test_a_damaged_packet_is_not_annotated(stop):
    with pytest.raises(PacketError):
        splice.append(write_container(SMALL, RECORD)[:stop], ANNOTATION, store=SchemaStore())

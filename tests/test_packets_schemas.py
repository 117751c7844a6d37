"""Any schema: made-up ones with made-up records, the shipped ones, ids, names and the registry."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packets_cases import RECORD, SMALL, all_fields, assert_holds, encode, read_all

from realbogus.errors import PacketError, Reason
from realbogus.packets import Fields, Limits, SchemaStore, read, write_container
from realbogus.packets.avrotypes import resolve
from realbogus.packets.schemas import KEPT, shipped_names
from realbogus.packets.writing import assemble, encode_header, encode_long
from realbogus.surveys import SURVEYS, recognise

WANTED = {name: survey.fields for name, survey in SURVEYS.items()}
SURVEY_SCHEMAS = [name for name in shipped_names() if not name.startswith("realbogus")]


# made-up schemas

_LONGS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, 2**53 + 1, 2**63 - 1, -(2**63)]))
_FLOATS = st.floats(width=32, allow_nan=False)
VALUES: dict[str, Any] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": _LONGS,
    "float": _FLOATS,
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=200),
    "string": st.text(max_size=80),
}


@st.composite
def schema_and_values(draw, names: Iterator[str], depth: int = 3):
    """A schema and a strategy of its values."""
    kinds = [*VALUES, "enum", "fixed"] + (["array", "map", "union", "record"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    if kind in VALUES:
        return kind, VALUES[kind]
    if kind == "enum":
        symbols = [f"s{n}" for n in range(draw(st.integers(1, 5)))]
        return {"type": "enum", "name": next(names), "symbols": symbols}, st.sampled_from(symbols)
    if kind == "fixed":
        size = draw(st.integers(0, 9))
        return {"type": "fixed", "name": next(names), "size": size}, st.binary(min_size=size, max_size=size)
    if kind in ("array", "map"):
        items, values = draw(schema_and_values(names, depth - 1))
        if kind == "array":
            return {"type": "array", "items": items}, st.lists(values, max_size=4)
        return {"type": "map", "values": items}, st.dictionaries(st.text(max_size=5), values, max_size=3)
    if kind == "union":
        return draw(_union(names, depth))
    return draw(record_and_values(names, depth - 1))


@st.composite
def _union(draw, names: Iterator[str], depth: int):
    """A union of null and others, in any order: as (branch, value) where fastavro could mistake one for another."""
    plain = draw(st.lists(st.sampled_from(["null", "int", "double", "string", "bytes"]), unique=True, max_size=3))
    branches = [(kind, VALUES[kind]) for kind in plain]
    if draw(st.booleans()):
        branches.append(draw(record_and_values(names, depth - 1)))
    if not branches:
        branches = [("null", VALUES["null"])]
    branches = draw(st.permutations(branches))
    tagged = [values.map(_tag(schema)) for schema, values in branches]
    return [schema for schema, _ in branches], st.one_of(tagged)


def _tag(schema):
    name = schema if isinstance(schema, str) else schema["name"]
    return (lambda value: value) if name == "null" else (lambda value: (name, value))


@st.composite
def record_and_values(draw, names: Iterator[str], depth: int = 3):
    parts = [draw(schema_and_values(names, depth)) for _ in range(draw(st.integers(0, 5)))]
    fields = [{"name": f"f{n}", "type": schema} for n, (schema, _) in enumerate(parts)]
    values = st.fixed_dictionaries({f"f{n}": values for n, (_, values) in enumerate(parts)})
    return {"type": "record", "name": next(names), "fields": fields}, values


@st.composite
def packets(draw):
    names = (f"n{number}" for number in range(10_000))
    schema, values = draw(record_and_values(names))
    return schema, draw(values)


@given(packets())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_record_of_any_schema_is_what_fastavro_reads(packet):
    schema, values = packet
    message = write_container(schema, values)
    (record,) = fastavro.reader(io.BytesIO(message))
    decoded, rejected = read_all([message])
    assert not rejected
    assert_holds(decoded[0], 0, all_fields(resolve(schema)), record)


KINDS = ("record", "array", "map", "enum", "fixed", "union", "null", "int", "long", "string", "bytes", "double")
NAMES = ("a", "b", "candid", "test.alert", "ztf.alert")
KEYS = ("type", "name", "namespace", "fields", "items", "values", "symbols", "size", "default", "version")
_ATOMS = st.one_of(
    st.sampled_from(KINDS + NAMES), st.integers(-3, 9), st.none(), st.booleans(), st.floats(allow_nan=False)
)
_JSON = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner)),
    max_leaves=25,
)


@given(_JSON, st.binary(max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_json_in_place_of_a_schema_is_read_or_rejected(schema, body):
    message = assemble(encode_header(json.dumps(schema).encode()), body)
    for compiled in (True, False):
        decoded, rejected = read([message], wanted=WANTED, recognise=recognise, store=SchemaStore(), compiled=compiled)
        assert len(rejected) + len(decoded) == 1


def test_a_type_that_is_used_again_is_read_each_time():
    inner = {"type": "record", "name": "inner", "fields": [{"name": "x", "type": "int"}]}
    fields = [{"name": "a", "type": inner}, {"name": "b", "type": "inner"}]
    fields += [{"name": "list", "type": {"type": "array", "items": "inner"}}, {"name": "c", "type": ["inner", "null"]}]
    schema = {"type": "record", "name": "outer", "namespace": "some.space", "fields": fields}
    record = {"a": {"x": 1}, "b": {"x": 2}, "list": [{"x": 9}] * 3, "c": {"x": 3}}
    (group,), _ = read_all([write_container(schema, record)])
    assert_holds(group, 0, all_fields(resolve(schema)), record)


def test_a_record_within_itself_gives_what_is_wanted_of_its_first_levels():
    below = [{"name": "x", "type": "int"}, {"name": "next", "type": ["null", "chain"]}]
    schema = {"type": "record", "name": "chain", "fields": below}
    record = {"x": 1, "next": {"x": 2, "next": {"x": 3, "next": None}}}
    (group,), _ = read_all([write_container(schema, record)])
    assert_holds(group, 0, Fields(("x", "next.x", "next.next.x"), ("x", "next.x", "next.next.x"), (), ()), record)


def test_lists_in_blocks_that_tell_their_size_are_read():
    schema = {
        "type": "record",
        "name": "blocks",
        "fields": [{"name": "a", "type": {"type": "array", "items": "int"}}, {"name": "b", "type": "int"}],
    }
    body = encode_long(-2) + encode_long(2) + b"\x02\x04" + encode_long(1) + b"\x06" + b"\0" + encode_long(77)
    message = write_container(schema, {"a": [], "b": 0})
    empty = encode(schema, {"a": [], "b": 0})
    message = message.replace(b"\x02" + encode_long(len(empty)) + empty, b"\x02" + encode_long(len(body)) + body)
    (group,), _ = read_all([message])
    assert group.numbers.tolist() == [[77.0]]


def test_logical_types_are_what_lies_beneath_them():
    stamp = {"type": "long", "logicalType": "timestamp-micros"}
    schema = {"type": "record", "name": "timed", "fields": [{"name": "at", "type": ["null", stamp]}]}
    message = write_container(schema, {"at": 1_700_000_000_000_000})
    for compiled in (True, False):
        (group,), _ = read_all([message], compiled=compiled)
        assert group.integers.tolist() == [[1_700_000_000_000_000]]


def test_defaults_that_fastavro_refuses_do_no_harm():
    schema = {"type": "record", "name": "odd", "fields": [{"name": "a", "type": "int", "default": None}]}
    plain = {"type": "record", "name": "odd", "fields": [{"name": "a", "type": "int"}]}
    old, new = json.dumps(plain).encode(), json.dumps(schema).encode()
    message = write_container(plain, {"a": 5})
    message = message.replace(encode_long(len(old)) + old, encode_long(len(new)) + new)
    for compiled in (True, False):
        (group,), rejected = read_all([message], compiled=compiled)
        assert not rejected
        assert group.integers.tolist() == [[5]]


# shipped schemas


def test_surveys_schemas_are_shipped():
    assert {"ztf/4.02", "rubin/7.4", "rubin/8.0", "rubin/9.0", "rubin/10.0", "rubin/11.0"} <= set(SURVEY_SCHEMAS)


@pytest.mark.parametrize("name", SURVEY_SCHEMAS)
def test_shipped_schemas_are_sound_and_documented(name):
    schema = json.loads(SchemaStore().by_name(name).text)
    fastavro.parse_schema(schema)
    assert all(field.get("doc") for field in schema["fields"])
    assert SchemaStore().by_name(name).name.endswith("alert")


@pytest.mark.packets
def test_shipped_schemas_are_those_of_the_wire(real_packets):
    ztf = _canonical(real_packets / "ztf" / "2475433850015010009.avro")
    rubin = _canonical(
        next(path for path in sorted((real_packets / "rubin").glob("*.avro")) if "conf" not in path.name)
    )
    assert _shipped_canonical("ztf/4.02") == ztf  # that packet is of 4.01, which differs by its number alone
    assert _shipped_canonical("rubin/10.0") == rubin


def _canonical(path: Path) -> str:
    return str(
        fastavro.schema.to_parsing_canonical_form(
            json.loads(SchemaStore().header(path.read_bytes(), Limits())[0].schema)
        )
    )


def _shipped_canonical(name: str) -> str:
    return str(fastavro.schema.to_parsing_canonical_form(json.loads(SchemaStore().by_name(name).text)))


# where schemas come from


def test_a_confluent_id_follows_rubins_rule():
    store = SchemaStore()
    assert store.by_id(900) is store.by_name("rubin/9.0")
    assert store.by_id(704) is store.by_name("rubin/7.4")
    with pytest.raises(PacketError, match="schema id 1") as caught:
        store.by_id(1)
    assert caught.value.reason == Reason.UNKNOWN_SCHEMA


def test_a_schema_may_be_a_file(tmp_path):
    file = tmp_path / "mine.avsc"
    file.write_text(json.dumps(SMALL))
    (group,), _ = read_all([encode(SMALL, RECORD)], bare_schema=str(file))
    assert_holds(group, 0, all_fields(resolve(SMALL)), RECORD)


def test_names_do_not_lead_out_of_the_bundle():
    for name in ("../rubin/9.0", "rubin", "rubin/../rubin/9.0", "", "rubin/9.0/../9.0"):
        with pytest.raises(PacketError, match="no schema is called"):
            SchemaStore().by_name(name)


def test_ever_new_schemas_do_not_fill_the_memory():
    store = SchemaStore()
    for number in range(KEPT + 30):
        read_all([write_container({**SMALL, "doc": str(number)}, RECORD)], store=store)
    assert len(store._headers) == len(store._by_text) == KEPT

"""Bytes that nobody should send: whatever they are, they are refused fast, and never read beyond their end."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packets_cases import RECORD, SMALL, all_fields, assert_holds, containers, encode, encode_header, read_all

from realbogus.errors import PacketError, Reason
from realbogus.packets import Limits, SchemaStore, blocks, read, write_container
from realbogus.packets.avrotypes import resolve
from realbogus.packets.program import TooLarge, compile_program
from realbogus.packets.writing import assemble, encode_long

GOOD = write_container(SMALL, RECORD)
STORE = SchemaStore()
SECONDS = 1.0  # the longest a message may take; the loops below would take minutes without their bounds


def rejected(message, **options):
    """How one message is rejected, within the time allowed."""
    start = time.perf_counter()
    decoded, (one,) = read_all([message], **options)
    assert time.perf_counter() - start < SECONDS
    assert not decoded
    return one


def record_of(schema, body):
    return assemble(encode_header(json.dumps(schema).encode()), body)


@st.composite
def mutated(draw, good=GOOD):
    """A sound message with a few bytes flipped, cut out or put in."""
    raw = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        how = draw(st.sampled_from(("flip", "cut", "insert", "end")))
        if how == "flip" and at < len(raw):
            raw[at] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del raw[at : at + draw(st.integers(1, 40))]
        elif how == "insert":
            raw[at:at] = draw(st.binary(min_size=1, max_size=20))
        else:
            del raw[at:]
    return bytes(raw)


@given(mutated())
@settings(max_examples=400, deadline=None)
def test_a_mutated_container_is_read_as_fastavro_reads_it_or_rejected(message):
    decoded, refused = read_all([message])
    assert len(refused) + sum(len(group.index) for group in decoded) == 1
    for group in decoded:
        slow, slow_refused = read_all([message], compiled=False)
        if slow_refused:  # fastavro is stricter with names, which the wire does not hold
            assert slow_refused[0].reason == Reason.UNKNOWN_SCHEMA
            continue
        fields = all_fields(SchemaStore().header(message, Limits())[1].root)
        assert_same_texts(group, slow[0], fields)


def assert_same_texts(group, other, fields):
    assert group.numbers.tobytes() == other.numbers.tobytes()
    assert group.integers.tolist() == other.integers.tolist()
    assert group.present.tolist() == other.present.tolist()
    for column in range(len(fields.texts)):
        assert group.text(0, column) == other.text(0, column)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_behind_a_bare_schema_are_read_or_rejected(message):
    decoded, refused = read_all([message], bare_schema="rubin/9.0", store=STORE)
    assert not decoded
    assert len(refused) == 1


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_record_in_a_sound_block_is_read_or_rejected(body):
    decoded, refused = read_all([record_of(SMALL, body)], store=STORE)
    assert len(refused) + sum(len(group.index) for group in decoded) == 1


def test_no_read_ever_leaves_the_message():
    """The decoder without compilation, over bytes that raise where they are read outside."""
    script = Path(__file__).with_name("packets_guarded.py")
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    records, refused = map(int, run.stdout.split())
    assert records > 50
    assert refused > 200


# bombs


def test_a_list_of_items_without_bytes_is_counted_and_not_walked():
    schema = {"type": "record", "name": "bomb", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}
    one = rejected(record_of(schema, encode_long(1 << 40) + b"\0"))
    assert one.reason == Reason.OVERSIZE
    assert "1099511627776 items" in one.detail
    decoded, _ = read_all([record_of(schema, encode_long(4999) + b"\0")])
    assert len(decoded) == 1


def test_lists_within_lists_of_nothing_end_soon():
    nothing = {"type": "array", "items": {"type": "array", "items": "null"}}
    schema = {"type": "record", "name": "bomb", "fields": [{"name": "a", "type": nothing}]}
    inner = encode_long(5000) + b"\0"
    decoded, _ = read_all([record_of(schema, encode_long(5000) + inner * 5000 + b"\0")])
    assert len(decoded) == 1


def test_a_list_in_ever_more_blocks_is_bounded_as_a_whole():
    body = encode(SMALL, RECORD | {"history": []})
    end = body.index(b"\0", 20)
    one = rejected(record_of(SMALL, body[: end - 4]), limits=Limits(list_items=5))
    assert one.reason == Reason.MALFORMED
    many = write_container(SMALL, RECORD | {"history": [None] * 6})
    assert rejected(many, limits=Limits(list_items=5)).reason == Reason.OVERSIZE


def test_a_record_within_itself_is_followed_to_a_limit():
    schema = {"type": "record", "name": "chain", "fields": [{"name": "next", "type": ["null", "chain"]}]}
    one = rejected(record_of(schema, b"\x02" * 500_000 + b"\0"))
    assert "nested deeper than 64" in one.detail
    decoded, _ = read_all([record_of(schema, b"\x02" * 50 + b"\0")])
    assert len(decoded) == 1


def test_a_record_that_needs_itself_is_refused():
    schema = {"type": "record", "name": "chain", "fields": [{"name": "next", "type": "chain"}]}
    assert "nested deeper" in rejected(record_of(schema, b"")).detail


def test_records_that_double_are_refused_by_both_decoders():
    kind = {"type": "record", "name": "r0", "fields": []}
    for level in range(1, 40):
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": f"r{level - 1}"}]
        kind = {"type": "record", "name": f"r{level}", "fields": fields}
    message = record_of(kind, b"")
    decoded, _ = read_all([message])
    assert len(decoded) == 1  # every value of it takes no bytes
    assert rejected(message, compiled=False).reason == Reason.UNKNOWN_SCHEMA


def test_the_plain_decoder_refuses_schemas_that_would_keep_it_busy():
    nulls = {"type": "record", "name": "bomb", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}
    chain = {"type": "record", "name": "chain", "fields": [{"name": "next", "type": ["null", "chain"]}]}
    for schema, body in ((nulls, encode_long(1 << 40) + b"\0"), (chain, b"\x02" * 500_000 + b"\0")):
        assert rejected(record_of(schema, body), compiled=False).reason == Reason.UNKNOWN_SCHEMA


def test_a_compressed_block_is_inflated_within_bounds():
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflater.compress(bytes(200 << 20)) + deflater.flush()
    sync = bytes(16)
    head = encode_header(json.dumps(SMALL).encode(), "deflate")
    one = rejected(head + sync + b"\x02" + encode_long(len(bomb)) + bomb + sync)
    assert one.reason == Reason.OVERSIZE
    assert "inflates to more than 1048576 bytes" in one.detail


def test_a_damaged_compressed_block_is_rejected():
    good = containers(SMALL, [RECORD], codec="deflate")
    assert not read_all([good])[1]
    broken = bytearray(good)
    broken[-40] ^= 0xFF
    assert rejected(bytes(broken)).reason == Reason.MALFORMED


@pytest.mark.parametrize("codec", ["snappy", "zstandard", "bzip2", "xz", "\xff"])
def test_another_codec_is_refused_by_name(codec):
    head = encode_header(json.dumps(SMALL).encode(), codec)
    one = rejected(head + GOOD[GOOD.index(b"candid") :])
    assert one.reason == Reason.MALFORMED
    assert "null and deflate are read" in one.detail


def test_a_message_beyond_the_limit_is_not_looked_at():
    one = rejected(GOOD + bytes(1 << 20))
    assert one.reason == Reason.OVERSIZE
    assert "the limit is 1048576" in one.detail


def test_a_schema_beyond_the_limit_is_refused():
    wide = {**SMALL, "doc": "x" * (1 << 18)}
    assert rejected(write_container(wide, RECORD)).reason == Reason.OVERSIZE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"type":"array","items":' * 5000 + b'"int"' + b"}" * 5000, "nested too deeply"),
        (b"{", "not readable JSON"),
        (b"\xff\xfe", "not readable JSON"),
        (b"9" * 10_000, "not readable JSON"),
        (b"7", "where a type is due"),
        (b'"string"', "describes no record"),
        (b'{"type":"record","name":"a","fields":[{"name":"b","type":"c"}]}', "uses the type 'c'"),
        (b'{"type":"record","name":"a","fields":7}', "no proper fields"),
        (b'{"type":"record","fields":[]}', "has no name"),
        (b'{"type":"record","name":"a","fields":[{"name":"b","type":{"type":"fixed","name":"f","size":-1}}]}', "-1"),
        (b'{"type":"record","name":"a","fields":[{"name":"b","type":{"type":{"type":[7]}}}]}', "where a type is due"),
    ],
)
def test_a_header_without_a_usable_schema_is_rejected(text, said):
    one = rejected(encode_header(text) + bytes(16) + b"\x02\x00" + bytes(16))
    assert one.reason == Reason.UNKNOWN_SCHEMA
    assert said in one.detail


@pytest.mark.parametrize(
    ("message", "reason", "said"),
    [
        (b"", Reason.MALFORMED, "empty"),
        (b"\0", Reason.UNKNOWN_SCHEMA, "starts with 00"),
        (b"\0\0\0\x03\x85rest", Reason.UNKNOWN_SCHEMA, "schema id 901"),
        (b"\x1f\x8b\x08rest", Reason.UNKNOWN_SCHEMA, "looks like gzip"),
        (b"SIMPLE  =      T", Reason.UNKNOWN_SCHEMA, "looks like FITS"),
        (b'{"candid": 1}', Reason.UNKNOWN_SCHEMA, "looks like JSON"),
        (b"<!DOCTYPE html>", Reason.UNKNOWN_SCHEMA, "looks like XML or HTML"),
        (b"Obj\x01", Reason.MALFORMED, "its header needs 5"),
        (b"Obj\x01\x00", Reason.MALFORMED, "its header needs 21"),
        (b"Obj\x01\x00" + bytes(16), Reason.MALFORMED, "no writer schema"),
        (b"Obj\x01" + b"\xff" * 11, Reason.MALFORMED, "longer than 10 bytes"),
        (b"Obj\x01\x02\x01", Reason.MALFORMED, "claims -1 bytes"),
    ],
)
def test_what_is_no_packet_is_named(message, reason, said):
    one = rejected(message)
    assert one.reason == reason
    assert said in one.detail


def test_a_container_of_several_records_is_no_message():
    assert "holds 3 records" in rejected(containers(SMALL, [RECORD] * 3)).detail
    assert "holds 0 records" in rejected(empty_block()).detail


def empty_block():
    head = encode_header(json.dumps(SMALL).encode())
    return head + bytes(range(16)) + b"\0\0" + bytes(range(16))


def test_a_schema_too_large_to_compile_goes_to_fastavro_and_is_counted(monkeypatch):
    root = resolve(SMALL)
    with pytest.raises(TooLarge):
        compile_program(root, all_fields(root), max_rows=5)
    monkeypatch.setattr("realbogus.packets.columns.compile_program", refuse)
    store = SchemaStore()
    (group,), _ = read_all([GOOD, GOOD], store=store)
    assert store.fallbacks == 2
    assert_holds(group, 1, all_fields(root), RECORD)


def refuse(*_):
    raise TooLarge("too large")


def test_a_wanted_field_stands_for_one_column():
    root = resolve(SMALL)
    fields = all_fields(root)
    with pytest.raises(ValueError, match="wanted twice"):
        compile_program(root, type(fields)(("flux", "flux"), (), (), ()))


def test_a_field_may_be_wanted_together_with_what_lies_below_it():
    below = {"type": "record", "name": "below", "fields": [{"name": "candid", "type": "long"}]}
    schema = {"type": "record", "name": "odd", "fields": [{"name": "candid", "type": ["int", below]}]}
    for value, expected in ((("below", {"candid": 7}), [math.nan, 7]), (("int", 3), [3, math.nan])):
        (group,), _ = read_all([write_container(schema, {"candid": value})])
        np.testing.assert_array_equal(group.numbers, [expected])


def test_all_that_reading_raises_is_for_the_caller():
    with pytest.raises(PacketError, match="no schema is called"):
        SchemaStore().by_name("rubin/99.0")


def test_what_is_said_of_a_message_is_short():
    long = "x" * 100_000
    schema = {"type": "record", "name": long, "fields": [{"name": long, "type": "bytes"}]}
    assert len(rejected(record_of(schema, b"\x08")).detail) < 400
    assert len(rejected(record_of({**schema, "fields": [{"name": "a", "type": long}]}, b"")).detail) < 400
    _, (one,) = read([record_of(schema, b"\0")], wanted={}, recognise=lambda _: None, store=SchemaStore())
    assert (one.reason, len(one.detail) < 400) == (Reason.UNKNOWN_SURVEY, True)


@given(st.binary(max_size=3000), st.integers(1, 4000), st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_both_ways_to_inflate_agree(data, most, cut):
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = deflater.compress(data * 3) + deflater.flush()
    packed = packed[: len(packed) - cut] if cut < 20 else packed
    assert outcome(blocks.inflate, packed, most) == outcome(blocks._inflate_plainly, packed, most)


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except PacketError as error:
        return str(error)

"""Containers: what the simulator writes, and nights of many records taken apart."""

from __future__ import annotations

import io

import fastavro
import pytest
from packets_cases import RECORD, SMALL, all_fields, assert_holds, containers, encode, read_all

from realbogus.packets import Items, encode_item, field_names, write_container
from realbogus.packets.avrotypes import resolve
from realbogus.packets.blocks import decode_long
from realbogus.packets.container import split
from realbogus.packets.writing import encode_long

MANY = [RECORD | {"candid": number, "history": [None] * (number % 5)} for number in range(40)]


@pytest.mark.parametrize("value", [0, -1, 1, 63, 64, -64, -65, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_numbers_survive_the_way_to_bytes_and_back(value):
    raw = encode_long(value)
    assert raw == encode("long", value)
    assert decode_long(raw, 0) == (value, len(raw))


def test_what_we_write_fastavro_reads():
    message = write_container(SMALL, RECORD)
    assert list(fastavro.reader(io.BytesIO(message))) == [RECORD]
    assert message == write_container(SMALL, RECORD)
    assert message != write_container(SMALL, RECORD | {"flux": 2.25})


def test_a_record_that_does_not_fit_is_not_written():
    with pytest.raises((ValueError, TypeError)):
        write_container(SMALL, RECORD | {"candid": "many"})


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("sync_interval", [1, 500, 1 << 20])
def test_a_night_of_many_records_is_taken_apart(codec, sync_interval):
    pieces = split(containers(SMALL, MANY, codec=codec, sync_interval=sync_interval))
    assert len(pieces) == len(MANY)
    (group,), rejected = read_all(pieces)
    assert not rejected
    for row, record in enumerate(MANY):
        assert_holds(group, row, all_fields(resolve(SMALL)), record)
        assert list(fastavro.reader(io.BytesIO(pieces[row]))) == [record]


def test_a_packet_of_one_record_stays_as_it_is():
    message = write_container(SMALL, RECORD)
    assert split(message)[0] is message
    compressed = containers(SMALL, [RECORD], codec="deflate")
    assert split(compressed)[0] is compressed


@pytest.mark.parametrize("raw", [b"", b"Obj\x01", b"Obj\x01\x00", b"no container", b"\0\0\0\x03\x84"])
def test_what_is_no_container_stays_as_it_is(raw):
    assert split(raw) == [raw]


def test_a_night_cut_short_stays_whole_and_is_rejected_as_a_whole():
    night = containers(SMALL, MANY, sync_interval=500)
    assert split(night[:-1]) == [night[:-1]]
    assert "its block needs" in read_all([night[:-1]])[1][0].detail


def test_a_damaged_record_ends_its_block_and_costs_none_before_it():
    night = bytearray(containers(SMALL, MANY))
    body = encode(SMALL, MANY[20])
    night[night.index(body) + 2] = 0xFE  # the length of objectId or its branch, as the candid has
    pieces = split(bytes(night))
    (group,), rejected = read_all(pieces)
    assert group.integers[:, 0].tolist() == list(range(20))
    assert len(rejected) == 1


def test_a_container_may_end_with_an_empty_block():
    message = write_container(SMALL, RECORD)
    ended = message + b"\0\0" + message[-16:]
    for compiled in (True, False):
        decoded, rejected = read_all([message, ended], compiled=compiled)
        assert not rejected
        assert len(decoded[0].index) == 2


def test_items_that_are_encoded_before_give_the_same_bytes():
    schema = "rubin/11.0"
    row = dict.fromkeys(field_names(schema, "diaSource")) | dict.fromkeys(
        ("diaSourceId", "visit", "detector", "psfNdata", "trailNdata", "dipoleNdata", "bboxSize"), 7
    )
    row |= dict.fromkeys(("midpointMjdTai", "ra", "dec", "x", "y", "timeProcessedMjdTai"), 1.5)
    names = ("observation_reason", "target_name", "diaObject", "ssSource", "mpc_orbits")
    record = dict.fromkeys((*names, "cutoutDifference", "cutoutScience", "cutoutTemplate")) | {"diaSourceId": 7}
    plain = record | {"diaSource": row, "prvDiaSources": [row, row], "prvDiaForcedSources": []}
    items = plain | {
        "prvDiaSources": Items((encode_item(schema, "prvDiaSources", row),) * 2),
        "prvDiaForcedSources": Items(()),
    }
    assert write_container(schema, items) == write_container(schema, plain)

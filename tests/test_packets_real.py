"""Real packets of all surveys, against fastavro: every field, both decoders, each damaged file with its own reason."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from packets_cases import all_fields, assert_holds, files, follow, read_all, slowly

from realbogus.errors import Reason
from realbogus.packets import Limits, SchemaStore, read
from realbogus.packets.container import split
from realbogus.surveys import SURVEYS, recognise

pytestmark = pytest.mark.packets
WANTED = {name: survey.fields for name, survey in SURVEYS.items()}
FOLDERS = ("ztf", "rubin", "atlas", "winter", "zuds", "decam", "decam_decat", "roman")


def read_wanted(messages, **options):
    return read(messages, wanted=WANTED, recognise=recognise, store=SchemaStore(), limits=Limits(), **options)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_field_of_every_packet_is_what_fastavro_says(folder, real_packets):
    found = [raw for path, raw in files(real_packets).items() if path.startswith(f"{folder}/") and raw[:3] == b"Obj"]
    decoded, rejected = read_all(found)
    assert found
    assert not rejected
    for group in decoded:
        fields = all_fields(SchemaStore().header(found[group.index[0]], Limits())[1].root)
        for row, index in enumerate(group.index.tolist()):
            assert_holds(group, row, fields, slowly(found[index]))


def test_both_decoders_give_the_same_of_all_packets(real_packets):
    everything = list(files(real_packets).values())
    some = everything[::5] + [raw for path, raw in files(real_packets).items() if not path.startswith("ztf/")]
    fast, fast_rejected = read_wanted(some, bare_schema="rubin/9.0")
    slow, slow_rejected = read_wanted(some, bare_schema="rubin/9.0", compiled=False)
    assert [(one.index, one.reason, one.survey) for one in fast_rejected] == [
        (one.index, one.reason, one.survey) for one in slow_rejected
    ]
    assert [group.survey for group in fast] == [group.survey for group in slow] == ["rubin", "ztf"]
    for one, other in zip(fast, slow, strict=True):
        assert_same(one, other)


def assert_same(one, other):
    for name in ("index", "numbers", "integers", "present"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert list(one.schemas) == list(other.schemas)
    for row in range(len(one.index)):
        assert all(one.text(row, column) == other.text(row, column) for column in range(one.texts.shape[1]))
        for column in range(one.blobs.shape[1]):
            (start, size), (begin, length) = one.blobs[row, column].tolist(), other.blobs[row, column].tolist()
            assert (start < 0) == (begin < 0)
            assert one.messages[row][start : start + size] == other.messages[row][begin : begin + length]


def test_a_batch_gives_what_single_packets_give(real_packets):
    some = [raw for path, raw in files(real_packets).items() if path.startswith(("ztf/", "rubin/"))][::40]
    together, _ = read_wanted(some)
    alone = [read_wanted([raw])[0] for raw in some]
    for group in together:
        for row, index in enumerate(group.index.tolist()):
            (single,) = alone[index]
            np.testing.assert_array_equal(single.numbers[0], group.numbers[row])
            np.testing.assert_array_equal(single.blobs[0], group.blobs[row])


def test_a_candid_beyond_2_53_is_exact(real_packets):
    found = {path: raw for path, raw in files(real_packets).items() if path.startswith("ztf/")}
    (group,), _ = read_wanted(list(found.values()))
    by_name = [int(Path(path).stem.split("_")[0]) for path in found if Path(path).stem.isdigit()]
    assert max(by_name) > 2**53
    assert set(by_name) <= set(group.integers[:, 0].tolist())


@pytest.mark.parametrize("bare", ["rubin/9.0", None])
def test_rubin_records_without_a_container_are_read_to_the_last_byte(bare, real_packets):
    found = {path: raw for path, raw in files(real_packets).items() if "confluent" in path}
    decoded, rejected = read_wanted(list(found.values()), bare_schema=bare)
    assert len(found) == 11
    assert sum(len(group.index) for group in decoded) == (11 if bare else 1)  # one has the Confluent header, id 900
    assert {one.reason for one in rejected} == (set() if bare else {Reason.UNKNOWN_SCHEMA})
    candids = {int(Path(path).name.split(".")[0]) for path in found}
    assert set(decoded[0].integers[:, 0].tolist()) <= candids


DAMAGED = {
    "schema_4.02": r"block ends at byte 84476 and 84660 bytes follow",
    "121540793515135009": r"ends at byte 43633, its block needs 43634; .* 1 byte was lost inside",
    "121540793515135010": r"ends at byte 43052, its block needs 43053",
    "516401801315010009": r"ends at byte 66543, its block needs 66544",
    "516434762915010006": r"ends at byte 66518, its block needs 66519",
    "516442330015015017": r"ends at byte 66555, its block needs 66556",
    "516442805615015004": r"ends at byte 66550, its block needs 66551",
    "516476004815015005": r"ends at byte 66552, its block needs 66553",
    "Hsiao_v2_51": r"ends at byte 57445, its block needs 57453; .* 8 bytes were lost inside",
    "Hsiao_v2_52": r"ends at byte 68849, its block needs 68860",
    "Hsiao_v2_53": r"the sync marker due at byte 81385 is not there",
    "Hsiao_v2_54": r"ends at byte 69151, its block needs 69162",
    "Hsiao_v2_55": r"ends at byte 78875, its block needs 78888",
    "516442333915010047": r"field prv_candidates.candid at byte 20204 claims branch 8",
}


def test_each_damaged_file_is_rejected_with_its_own_reason(real_packets):
    found = {path: raw for path, raw in files(real_packets).items() if path.startswith("damaged/")}
    decoded, rejected = read_wanted([piece for raw in found.values() for piece in split(raw)])
    assert not decoded
    assert len(rejected) == len(found) == len(DAMAGED)
    for path, one in zip(found, rejected, strict=True):
        (expected,) = (text for key, text in DAMAGED.items() if key in path)
        assert one.reason == Reason.MALFORMED
        assert re.search(expected, one.detail), path
    assert len({one.detail for one in rejected}) == len(rejected)
    assert sum(one.candid is not None for one in rejected) == len(rejected)


@pytest.mark.parametrize(("folder", "name"), [("winter", "winter.alert"), ("zuds", "zuds.alert"), ("atlas", "atlas")])
def test_another_survey_is_named_together_with_whose_alert_it_is(folder, name, real_packets):
    found = [raw for path, raw in files(real_packets).items() if path.startswith(f"{folder}/")]
    decoded, rejected = read_wanted(found)
    assert not decoded
    for raw, one in zip(found, rejected, strict=True):
        record = slowly(raw)
        assert one.reason == Reason.UNKNOWN_SURVEY
        assert name in one.detail
        assert one.object_id == record["objectId"]
        assert one.candid == (record["candid"] if isinstance(record["candid"], int) else None)


def test_a_recognised_survey_that_is_not_wanted_is_rejected_as_such(real_packets):
    raw = next(raw for path, raw in files(real_packets).items() if path.startswith("ztf/"))
    _, (one,) = read([raw], wanted={}, recognise=recognise, store=SchemaStore())
    assert (one.reason, one.survey) == (Reason.UNKNOWN_SURVEY, "ztf")
    assert one.candid == follow(slowly(raw), "candid")


@pytest.mark.parametrize("stop", [1, 4, 30, 5000, 23000, 40000])
def test_a_packet_cut_short_says_where_it_ends_and_what_it_needs(stop, real_packets):
    raw = next(raw for path, raw in files(real_packets).items() if path.startswith("ztf/"))
    _, (one,) = read_wanted([raw[:stop]])
    assert one.reason == (Reason.MALFORMED if stop >= 4 else Reason.UNKNOWN_SCHEMA)
    if stop >= 4:
        assert f"ends at byte {stop}, its " in one.detail


def test_no_message_is_lost_and_none_counts_twice(real_packets):
    everything = list(files(real_packets).values())
    decoded, rejected = read_wanted(everything)
    indices = [index for group in decoded for index in group.index.tolist()] + [one.index for one in rejected]
    assert sorted(indices) == list(range(len(everything)))

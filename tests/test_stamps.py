"""FITS stamps become triplets: the same pixels as astropy gives, each where it belongs, whatever the bytes."""

from __future__ import annotations

import gzip
import io
import time
import zlib
from pathlib import Path

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from realbogus import stamps
from realbogus.alerts import CENTRE, DIFFERENCE, SCIENCE, STAMP_SIDE
from realbogus.errors import Reason, StampError
from realbogus.frame import centred_corner, trimmed_corner
from realbogus.stamps import read_image, read_triplets, unpack

LIMIT = 1 << 18
CHIP = (3080, 3072)
RNG = np.random.default_rng(7)


def fits_of(image, **cards) -> bytes:
    unit = fits.PrimaryHDU(np.asarray(image, ">f4"))
    unit.header.update(cards)
    out = io.BytesIO()
    unit.writeto(out)
    return out.getvalue()


def stamp_of(image, **cards) -> bytes:
    return gzip.compress(fits_of(image, **cards), mtime=0)


def noise(*shape) -> np.ndarray:
    return RNG.normal(10, 3, shape).astype(np.float32)


def read(*alerts, place=lambda row, shape: centred_corner(shape), turn=False, limit=LIMIT):
    """Triplets and problems of alerts, each given as its three stamps; None = absent."""
    messages = [b"head" + b"".join(stamp or b"" for stamp in alert) for alert in alerts]
    spans = np.zeros((len(alerts), 3, 2), np.int64)
    for row, alert in enumerate(alerts):
        offset = 4
        for column, stamp in enumerate(alert):
            spans[row, column] = (-1, 0) if stamp is None else (offset, len(stamp))
            offset += len(stamp or b"")
    return read_triplets(messages, spans, np.full(len(alerts), turn), place, limit)


def one(stamp, **options):
    triplets, problems = read((stamp, stamp, stamp), **options)
    if problems:
        raise problems[0]
    return triplets[0]


def test_a_plain_stamp_keeps_every_pixel_to_the_last_bit():
    image = noise(63, 63)
    np.testing.assert_array_equal(one(stamp_of(image))[SCIENCE], image)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf, -3.4e38, 1.1e30])
def test_what_is_no_flux_becomes_nan_and_nothing_else_does(hole):
    image = noise(63, 63)
    image[3, 5], image[4, 5] = hole, 9e29
    got = one(stamp_of(image))[SCIENCE]
    assert np.isnan(got[3, 5])
    assert np.isnan(got).sum() == 1
    assert got[4, 5] == image[4, 5]


def test_the_difference_alone_is_turned_where_asked():
    image = noise(63, 63)
    triplet = one(stamp_of(image), turn=True)
    np.testing.assert_array_equal(triplet[SCIENCE], image)
    np.testing.assert_array_equal(triplet[DIFFERENCE], -image)


def test_fill_at_the_rim_is_no_pixel_and_zeros_inside_are():
    image = noise(63, 63)
    image[:2], image[:, 60:], image[30, :], image[2, 10] = 0, 0, 0, np.nan
    got = one(stamp_of(image))[SCIENCE]
    assert np.isnan(got[:2]).all()
    assert np.isnan(got[:, 60:]).all()
    assert (got[30, :60] == 0).all()
    assert np.isnan(got).sum() == 63 * 63 - 61 * 60 + 1


def test_fill_behind_missing_rows_is_found_too():
    image = noise(63, 63)
    image[-3:], image[-5:-3] = np.nan, 0
    assert np.isnan(one(stamp_of(image))[SCIENCE][-5:]).all()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_stamp_without_a_valid_pixel_is_refused_by_name(value):
    _, problems = read((stamp_of(noise(63, 63)), stamp_of(np.full((63, 63), value)), stamp_of(noise(63, 63))))
    assert str(problems[0]) == "the template stamp has no valid pixel"
    assert problems[0].reason is Reason.BAD_STAMP


@pytest.mark.parametrize("side", [30, 31, 42, 61, 62, 63, 64, 81, 93, 129])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.9])
def test_a_stamp_of_another_size_keeps_the_candidate_in_the_middle(side, fraction):
    """An even side is cut so that the candidate lies between its two middle pixels; measured on Rubin stamps."""
    position = side // 2 - 1 + fraction if side % 2 == 0 else (side - 1) / 2
    source = int(np.floor(position + 0.5))
    image = noise(side, side)
    image[source, source] = 1000
    got = one(stamp_of(image), place=lambda row, shape: centred_corner(shape, 100 + position, 7 + position))[SCIENCE]
    assert got[CENTRE, CENTRE] == 1000
    assert np.isfinite(got).sum() == min(side, STAMP_SIDE) ** 2


@pytest.mark.parametrize(
    ("shape", "x", "y", "corner"),
    [
        ((63, 62), 3042.27, 735.74, (0, 0)),  # right edge; this and the next are real ones
        ((57, 63), 2659.58, 26.17, (6, 0)),  # lower edge
        ((53, 63), 2387.81, 3058.56, (0, 0)),  # upper edge
        ((63, 62), 31.2, 735.74, (0, 1)),  # left edge: the same shape as the first
        ((40, 50), 19.0, 8.9, (23, 13)),  # a corner of the chip
        ((63, 63), np.nan, np.nan, (0, 0)),
        ((81, 81), np.nan, np.nan, (-9, -9)),
    ],
)
def test_a_trimmed_stamp_lies_where_the_chip_position_says(shape, x, y, corner):
    assert trimmed_corner(shape, x, y, CHIP) == corner


@pytest.mark.parametrize(("x", "y"), [(1500.0, 1500.0), (np.nan, 20.0), (3030.0, 1500.0)])
def test_a_trimmed_stamp_that_the_position_does_not_explain_is_refused(x, y):
    with pytest.raises(StampError, match=r"is 50 px wide, which position .* on a chip of 3072 px does not explain"):
        trimmed_corner((63, 50), x, y, CHIP)


@pytest.mark.parametrize(
    ("x", "y"), [(20.0, 1000.0), (3060.0, 1000.0), (1000.0, 12.0), (1000.0, 3071.0), (5.0, 3079.0)]
)
def test_cut_anywhere_the_source_stays_in_the_middle(x, y):
    sky = noise(3080, 3072)
    row, column = round(y) - 1, round(x) - 1
    cut = sky[max(0, row - 31) : row + 32, max(0, column - 31) : column + 32]
    got = one(stamp_of(cut), place=lambda at, shape: trimmed_corner(shape, x, y, CHIP))[SCIENCE]
    assert got[CENTRE, CENTRE] == sky[row, column]
    assert np.isfinite(got).sum() == cut.size


def test_missing_stamps_are_named():
    _, problems = read((None, stamp_of(noise(63, 63)), b""))
    assert str(problems[0]) == "the packet lacks stamps: science, difference"
    assert problems[0].reason is Reason.MISSING_STAMP


def test_a_bad_alert_leaves_its_neighbours_alone():
    good = [tuple(stamp_of(noise(63, 63)) for _ in range(3)) for _ in range(3)]
    triplets, problems = read(good[0], (good[0][0], b"junk", good[0][2]), good[1], (None, None, None), good[2])
    alone, none = read(*good)
    assert sorted(problems) == [1, 3]
    assert not none
    np.testing.assert_array_equal(triplets[[0, 2, 4]], alone)


def test_a_short_stamp_says_where_it_ends_and_what_it_needs():
    with pytest.raises(StampError, match=r"ends at byte 9000, its 63 x 63 image needs 18756"):
        unpack(fits_of(noise(63, 63))[:9000], LIMIT)


def test_the_header_tells_the_shape_not_the_length():
    wide, square = fits_of(noise(63, 59)), fits_of(noise(63, 63))
    assert len(wide) == len(square)
    assert unpack(wide, LIMIT)[2] == (63, 59)


@pytest.mark.parametrize("inflate", [stamps._inflate, stamps._inflate_plain])
def test_both_inflaters_agree_and_check_the_crc(inflate):
    packed = stamp_of(noise(63, 63))
    assert inflate(packed, LIMIT) == gzip.decompress(packed)
    wrong = packed[:-8] + bytes(4) + packed[-4:]
    with pytest.raises(StampError, match="does not inflate"):
        inflate(wrong, LIMIT)


def test_without_the_deflate_wheel_zlib_gives_the_same(monkeypatch):
    packed = stamp_of(noise(63, 63))
    fast = read_image(packed, LIMIT)
    monkeypatch.setattr(stamps, "deflate", None)
    np.testing.assert_array_equal(read_image(packed, LIMIT), fast)


@pytest.mark.parametrize("claim", ["honest", "small", "none"])
def test_a_bomb_is_refused_before_it_unfolds(claim):
    bomb = gzip.compress(bytes(200_000_000), mtime=0)[: None if claim == "honest" else -4]
    bomb += {"honest": b"", "small": (20160).to_bytes(4, "little"), "none": bytes(4)}[claim]
    took = []
    for _ in range(3):
        start = time.process_time()
        with pytest.raises(StampError, match="inflates to more than the 262144 bytes allowed") as caught:
            unpack(bomb, LIMIT)
        took.append(time.process_time() - start)
    assert caught.value.reason is Reason.OVERSIZE
    assert min(took) < 0.010


def test_a_stamp_larger_than_allowed_is_refused_unread():
    with pytest.raises(StampError, match="has 262145 bytes, more than the 262144 allowed") as caught:
        unpack(bytes(LIMIT + 1), LIMIT)
    assert caught.value.reason is Reason.OVERSIZE


def integers(image) -> fits.HDUList:
    return fits.HDUList([fits.PrimaryHDU(image.astype(np.int16))])


def doubles(image) -> fits.HDUList:
    return fits.HDUList([fits.PrimaryHDU(image.astype(np.float64))])


def unsigned(image) -> fits.HDUList:
    return fits.HDUList([fits.PrimaryHDU(image.astype(np.uint16))])  # written with BZERO


def extension(image) -> fits.HDUList:
    return fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)])


def cube_before(image) -> fits.HDUList:
    return fits.HDUList([fits.PrimaryHDU(np.zeros((2, 3, 4), np.float32)), fits.ImageHDU(image)])


@pytest.mark.parametrize("make", [integers, doubles, unsigned, extension, cube_before])
def test_unusual_fits_gives_what_astropy_reads(make):
    image, out = np.abs(noise(63, 40)), io.BytesIO()
    units = make(image)
    units.writeto(out)
    want = next(unit.data for unit in units if unit.data is not None and unit.data.ndim == 2)
    np.testing.assert_array_equal(read_image(out.getvalue(), LIMIT), want.astype(np.float32))


def test_a_header_of_many_blocks_is_read():
    image = noise(20, 30)
    raw = fits_of(image, **{f"KEY{n}": n for n in range(100)})
    assert stamps._layout(stamps._header(raw))[0] > 2880
    np.testing.assert_array_equal(read_image(raw, LIMIT), image)


def test_tile_compressed_images_are_refused():
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise(63, 63))]).writeto(out)
    with pytest.raises(StampError, match="without an image"):
        read_image(out.getvalue(), LIMIT)


@pytest.mark.parametrize(
    "raw", [b"", b"x", bytes(2880), b"SIMPLE  =" + bytes(100), b"\x1f\x8b", b"\x1f\x8b" + bytes(50)]
)
def test_what_is_not_fits_is_refused(raw):
    with pytest.raises(StampError):
        unpack(raw, LIMIT)


@pytest.mark.parametrize("card", ["NAXIS   =           1000000000", "TFIELDS =             99999999"])
def test_more_axes_than_fits_allows_are_refused_before_they_are_looked_for(card):
    raw = fits_of(noise(20, 30)).replace(b"NAXIS   =                    2", card.encode())
    with pytest.raises(StampError, match="more axes or columns"):
        read_image(raw, LIMIT)


PLAIN = fits_of(np.arange(63 * 50, dtype=np.float32).reshape(63, 50))
PACKED = gzip.compress(PLAIN, mtime=0)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_and_cut_stamps_give_an_image_or_a_stamp_error(data):
    whole = bytearray([PLAIN, PACKED][data.draw(st.integers(0, 1))])
    for _ in range(data.draw(st.integers(0, 4))):
        top = min(len(whole), data.draw(st.sampled_from([400, len(whole)]))) - 1
        whole[data.draw(st.integers(0, top))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    triplets, problems = read((cut, PACKED, PLAIN))
    assert triplets.shape == (1, 3, 63, 63)
    assert all(isinstance(problem, StampError) for problem in problems.values())


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.floats(), st.floats())
def test_stamps_of_any_shape_are_placed_or_refused(rows, columns, x, y):
    stamp = fits_of(np.ones((rows, columns)))
    triplets, problems = read((stamp,) * 3, place=lambda row, shape: centred_corner(shape, x, y))
    assert not problems
    assert np.isfinite(triplets[0, 0, CENTRE, CENTRE])
    read((stamp,) * 3, place=lambda row, shape: trimmed_corner(shape, x, y, CHIP))


# real stamps


@pytest.fixture(scope="module")
def real_stamps(real_packets: Path) -> list[bytes]:
    """Every stamp of every shared ZTF packet and of the Rubin containers."""
    found = []
    for path in sorted(real_packets.glob("ztf/*.avro")) + sorted(real_packets.glob("rubin/*.avro")):
        raw = path.read_bytes()
        if raw[:4] == b"Obj\x01":
            record = next(fastavro.reader(io.BytesIO(raw)))
            cutouts = (record[f"cutout{name.capitalize()}"] for name in stamps.STAMPS)
            found += [cutout if isinstance(cutout, bytes) else cutout["stampData"] for cutout in cutouts if cutout]
    return found


@pytest.mark.packets
@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")  # ZTF's SIMPLE card is out of place
def test_every_real_stamp_equals_what_astropy_reads(real_stamps):
    for stamp in real_stamps:
        raw = zlib.decompress(stamp, 31) if stamp[:2] == b"\x1f\x8b" else stamp
        with fits.open(io.BytesIO(raw)) as units:
            np.testing.assert_array_equal(
                read_image(stamp, LIMIT).view(np.uint32), units[0].data.astype("f4").view("u4")
            )
    assert len(real_stamps) > 5000


@pytest.mark.packets
def test_real_stamps_hold_no_fill_and_lose_only_what_is_no_flux(real_stamps):
    for stamp in real_stamps:
        image = read_image(stamp, LIMIT)
        with np.errstate(invalid="ignore"):
            valid = np.abs(image) <= 1e30
        if max(image.shape) <= STAMP_SIDE and valid.any():
            got = one(stamp, place=lambda row, shape: centred_corner(shape))[SCIENCE]
            assert np.isfinite(got).sum() == valid.sum()


@pytest.mark.benchmark(group="three stamps")
@pytest.mark.parametrize("way", ["ours", "astropy"])
def test_time_of_a_batch(benchmark, way):
    alerts = [tuple(stamp_of(noise(63, 63)) for _ in range(3)) for _ in range(64)]

    def by_astropy():
        for alert in alerts:
            for stamp in alert:
                with gzip.open(io.BytesIO(stamp)) as file, fits.open(io.BytesIO(file.read())) as units:
                    np.asarray(units[0].data, np.float32)

    benchmark((lambda: read(*alerts)) if way == "ours" else by_astropy)

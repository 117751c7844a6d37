"""Small pictures of stamps: every pixel where it belongs, what is missing visible as missing."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from realbogus.alerts import DIFFERENCE, SCIENCE
from realbogus.pictures import HATCH, MISSING, levels
from realbogus.thumbnails import thumbnail

RNG = np.random.default_rng(3)


def stamp() -> np.ndarray:
    return RNG.normal(100, 5, (63, 63)).astype(np.float32)


def colours(png: bytes) -> np.ndarray:
    """(63, 63, 3), first row at the top."""
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def test_the_first_row_is_at_the_bottom_and_the_brightest_pixel_white():
    image = stamp()
    image[2, 5] = 9000
    assert (colours(thumbnail(image, SCIENCE))[60, 5] == 255).all()


def test_missing_pixels_are_striped_and_no_others():
    image = stamp()
    image[:, :20] = np.nan
    seen = {tuple(colour) for colour in colours(thumbnail(image, SCIENCE))[:, :20].reshape(-1, 3)}
    assert seen == {tuple(bytes.fromhex(MISSING[1:])), tuple(bytes.fromhex(HATCH[1:]))}
    assert not seen & {tuple(colour) for colour in colours(thumbnail(image, SCIENCE))[:, 20:].reshape(-1, 3)}


def test_in_the_difference_brighter_is_red_and_fainter_blue():
    image = (stamp() - 100) / 100
    image[31, 31], image[31, 40] = 50, -50
    drawn = colours(thumbnail(image, DIFFERENCE))
    (red, _, blue), (fainter_red, _, fainter_blue) = drawn[31, 31], drawn[31, 40]
    assert red > blue
    assert fainter_blue > fainter_red


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.5, 1e30, -1e30])
def test_flat_and_empty_stamps_are_drawn_too(value):
    for kind in range(3):
        assert colours(thumbnail(np.full((63, 63), value, np.float32), kind)).shape == (63, 63, 3)


def test_levels_go_from_the_darkest_to_the_brightest():
    image = stamp()
    image[31, 31] = 5000
    for kind in range(3):
        level = levels(image, kind)
        assert level.min() >= 0
        assert level.max() == pytest.approx(1)


def test_the_same_stamp_gives_the_same_bytes_and_few_of_them():
    image = stamp()
    assert thumbnail(image, SCIENCE) == thumbnail(image.copy(), SCIENCE)
    assert len(thumbnail(image, SCIENCE)) < 6000

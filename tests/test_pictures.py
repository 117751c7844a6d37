"""Pictures are written for whatever triplets there are, without touching matplotlib's global state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from realbogus.alerts import COLUMNS, DIFFERENCE, SCIENCE, AlertBatch, ModelId, ScoredBatch
from realbogus.pictures import LARGEST, alert_title, draw_alert, draw_triplets, stretch, verdict

RNG = np.random.default_rng(3)
MODEL = ModelId("palomar", "1.0", "ab" * 32, "full-1:12", 0.5, True)


def triplets(count: int) -> np.ndarray:
    y, x = np.mgrid[:63, :63] - 31
    star = 80 * np.exp(-(x**2 + y**2) / 8)
    return (RNG.normal(0, 4, (count, 3, 63, 63)) + star).astype(np.float32)


def scored(pictures: np.ndarray, *, p_real: float = 0.9, magnitude: float = 18.25, name: str = "ZTF1") -> ScoredBatch:
    count = len(pictures)
    columns = {column: np.full(count, np.nan) for column in COLUMNS} | {"mag_psf": np.full(count, magnitude)}
    alerts = AlertBatch(
        survey="ztf",
        index=np.arange(count),
        candid=np.arange(count) + 2**60,
        object_id=[name] * count,
        band=["r"] * count,
        schema=["ztf/4.02"] * count,
        columns=columns,
        triplets=pictures,
    )
    features = RNG.normal(size=(count, 20)).astype(np.float32)
    features[:, 3] = np.nan
    score = np.linspace(0.2, 0.8, count)
    return ScoredBatch(
        alerts, MODEL, features, [f"feature_{at}" for at in range(20)], score, np.full(count, p_real), score >= 0.5
    )


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_triplets_become_a_png(tmp_path: Path, count):
    draw_triplets(
        triplets(count), [f"alert {at}" for at in range(count)], tmp_path / "out.png", heading="Best and worst"
    )
    image = imread(tmp_path / "out.png")
    assert image.shape[2] == 4
    assert image[..., :3].std() > 0.05


@pytest.mark.parametrize("hole", ["whole", "edge", "constant", "core"])
def test_missing_pixels_are_drawn_and_do_not_warn(tmp_path: Path, hole):
    odd = triplets(1)
    where = {"whole": np.s_[:], "edge": np.s_[..., :20, :], "constant": np.s_[:0], "core": np.s_[..., 28:35, 28:35]}
    odd[where[hole]] = np.nan
    if hole == "constant":
        odd[:] = 7
    draw_triplets(odd, [hole], tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 2000


def test_missing_pixels_have_a_colour_of_their_own(tmp_path: Path):
    whole, holed = triplets(1), triplets(1)
    holed[..., :25] = np.nan
    for name, what in (("whole", whole), ("holed", holed)):
        draw_triplets(what, [""], tmp_path / f"{name}.png")
    pictures = (imread(tmp_path / f"{name}.png")[..., :3] for name in ("whole", "holed"))
    sand = np.array([0.914, 0.847, 0.784])  # what lies under the hatching
    hatch = [float((np.abs(picture - sand).max(axis=-1) < 0.02).mean()) for picture in pictures]
    assert hatch[1] > 0.1 > 10 * hatch[0]


def test_the_same_triplets_give_the_same_bytes(tmp_path: Path):
    same = triplets(2)
    for name in ("a", "b"):
        draw_triplets(same, ["one", "two"], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(("count", "titles"), [(0, 0), (2, 1), (LARGEST + 1, LARGEST + 1)])
def test_a_picture_needs_triplets_and_their_titles(tmp_path: Path, count, titles):
    with pytest.raises(ValueError, match=f"1 to {LARGEST} triplets with a title each"):
        draw_triplets(triplets(count), ["x"] * titles, tmp_path / "out.png")


@pytest.mark.parametrize("explained", [True, False])
def test_an_alert_is_drawn_with_and_without_contributions(tmp_path: Path, explained):
    batch = scored(triplets(2))
    draw_alert(batch, 1, tmp_path / "out.png", contributions=RNG.normal(size=20) if explained else None)
    assert imread(tmp_path / "out.png").shape[0] > (900 if explained else 500)


@pytest.mark.parametrize("name", ["$\\frac{", "\x00\x1b[2J", "星", "a" * 64])
def test_hostile_names_are_drawn_as_text(tmp_path: Path, name):
    draw_alert(scored(triplets(1), name=name), 0, tmp_path / "out.png")
    draw_triplets(triplets(1), [name], tmp_path / "out.png", heading=name)


def test_words_of_an_alert():
    batch = scored(triplets(2))
    assert alert_title(batch, 0) == "ZTF1 · 1152921504606846976 · r 18.25 mag"
    assert verdict(batch, 0) == "bogus: score 0.200, P(real) 0.900"
    assert verdict(scored(triplets(2), p_real=np.nan), 1) == "real: score 0.800"
    assert alert_title(scored(triplets(1), magnitude=np.nan), 0) == "ZTF1 · 1152921504606846976"


def test_the_stretch_spans_noise_and_candidate():
    low, high, noise = stretch(triplets(1)[0, SCIENCE], SCIENCE)
    assert 3 < noise < 5
    assert low < -2 * noise
    assert high > 60
    low, high, _ = stretch(triplets(1)[0, DIFFERENCE], DIFFERENCE)
    assert abs(low + high) < noise


def test_matplotlib_is_imported_only_to_draw():
    code = "import sys, realbogus.pictures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

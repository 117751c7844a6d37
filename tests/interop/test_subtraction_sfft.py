"""Both subtraction engines against sfft 1.7.3, which solves for its kernel in Fourier space (Hu et al. 2022).

sfft and what it imports come from scripts/requirements/oracle.txt, installed without their dependencies.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from realbogus.simulation.optics import PSF, paint_points
from realbogus.simulation.subtraction import alard_lupton, gaussian_basis
from realbogus.simulation.zogy import Half, zogy

pytestmark = pytest.mark.interop

SIDE = 256
SKY = (150.0, 100.0)
NEW, OLD = PSF(2.6, 3.3, 0.04, 0.02), PSF(2.0, 3.5, 0.0, 0.03)
SCALE = 0.8
CHANGE = (128.3, 127.6, 800.0)
INNER = np.s_[20:-20, 20:-20]


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(3)
    stars = np.column_stack([rng.uniform(12, SIDE - 12, (120, 2)), 10 ** rng.uniform(3, 4.3, 120)])
    science, template = np.full((SIDE, SIDE), SKY[0]), np.full((SIDE, SIDE), SKY[1])
    paint_points(science, np.vstack([stars * [1, 1, SCALE], CHANGE]), NEW, 1e-3)
    paint_points(template, stars, OLD, 1e-3)
    variance = science / 6.2 + 2.0
    science += np.sqrt(variance) * rng.standard_normal(science.shape)
    return science, template + rng.standard_normal(template.shape), variance, stars


@pytest.fixture(scope="module")
def oracle(pair, tmp_path_factory):
    pytest.importorskip("sfft", reason="needs sfft: scripts/requirements/oracle.txt")
    from sfft.CustomizedPacket import Customized_Packet

    folder = tmp_path_factory.mktemp("sfft")
    for name, image in zip(("science", "template"), pair[:2], strict=True):
        fits.writeto(folder / f"{name}.fits", image)
    files = [str(folder / f"{name}.fits") for name in ("template", "science")]
    Customized_Packet.CP(
        *files, *files, "REF", 8, FITS_DIFF=str(folder / "difference.fits"), KerPolyOrder=0, BGPolyOrder=0,
        BACKEND_4SUBTRACT="Numpy", NUM_CPU_THREADS_4SUBTRACT=1, VERBOSE_LEVEL=0,
    )  # fmt: skip
    return fits.getdata(folder / "difference.fits").astype(float)


def robust(image: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(image - np.median(image))))


def flux(difference: np.ndarray, psf: np.ndarray) -> float:
    r = psf.shape[0] // 2
    return float((difference[128 - r : 129 + r, 128 - r : 129 + r] * psf).sum() / (psf**2).sum())


def check(difference: np.ndarray, psf: np.ndarray, oracle: np.ndarray) -> None:
    assert np.corrcoef(difference[INNER].ravel(), oracle[INNER].ravel())[0, 1] > 0.99
    assert robust(difference[INNER]) == pytest.approx(robust(oracle[INNER]), rel=0.03)
    assert flux(difference, psf) == pytest.approx(flux(oracle, NEW.image(10)), rel=0.04)


def test_alard_lupton_agrees_with_sfft(pair, oracle):
    science, template, variance, stars = pair
    done = alard_lupton(science, template, variance, stars[:, :2], gaussian_basis(), order=0)
    assert done is not None
    check(done.difference, NEW.image(10), oracle)


def test_zogy_agrees_with_sfft(pair, oracle):
    science, template, _, _ = pair
    sigma = float(np.sqrt(SKY[0] / 6.2 + 2.0))
    new = Half(science - SKY[0], sigma, 1.0 / 6.2, NEW.image(10), 1.0)
    old = Half(template - SKY[1], 1.0, 0.0, OLD.image(10), 1.0 / SCALE)
    done = zogy(new, old, 0.0)
    check(done.difference, done.psf, oracle)

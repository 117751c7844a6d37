"""A detection as an alert packet: stamps in gzipped FITS and a record with every field of ZTF schema 4.02.

The survey's own scores (rb, drb) stay null: they would be another classifier's judgement of a sky that does not exist.
Names of objects start with SIM, and the publisher says that the packet is simulated.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus import packets
from realbogus.simulation.detection import COLUMNS, WINDOW_PX, Candidates
from realbogus.simulation.history import SCHEMA
from realbogus.simulation.neighbours import NONE, Neighbours, ReferenceCatalogue
from realbogus.simulation.optics import Image
from realbogus.simulation.places import Place
from realbogus.simulation.recipe import CHIP_SHAPE
from realbogus.simulation.scene import ASTEROID
from realbogus.simulation.truth import Verdict

deflate: Any
try:
    import deflate
except ImportError:  # the wheel does not exist for every platform; other bytes then, the same pixels
    deflate = None

PUBLISHER = "realbogus simulation"
HALF = 31  # pixels: stamps are 63 x 63 around the candidate
LEVEL = 1  # of compression: noise packs no better at 6, which takes twice as long
MAG = 2.5 / np.log(10.0)
NARROWER = 0.84  # what the survey's core fits give for a point source, in widths of the PSF
APERTURE = 0.09  # mag: light of a point source that apertures miss, which the survey puts back
SHRINKS = 2.5  # how much faster than ours; from the share of real packets at the floor
SCATTER = 1.8  # real packets: sigmapsf over its value on plain sky times the root of chipsf


@dataclass(frozen=True)
class Sheet:
    """One exposure as the packets of its detections need it."""

    stamps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]  # science, template, difference
    corner: tuple[int, int]  # x and y on the chip of the frame's first pixel, counted from 1
    zero_point: float
    fwhm_px: float  # of the difference image's PSF
    columns: Mapping[str, Any]  # of the candidate record, the same for all of the exposure
    place: Place


def gzip_fits(image: NDArray[np.float32]) -> bytes:
    """A stamp as a gzipped FITS file of one float32 image; NaN is written as NaN. Equal pixels give equal bytes."""
    pixels = image.astype(">f4").tobytes()
    raw = _fits_head(*image.shape) + pixels + bytes(-len(pixels) % 2880)
    return bytes(deflate.gzip_compress(raw, LEVEL)) if deflate else gzip.compress(raw, LEVEL, mtime=0)


def cut(frame: NDArray[np.float32], x: float, y: float, corner: tuple[int, int]) -> NDArray[np.float32]:
    """The 63 x 63 pixels around a position on the chip, fewer where the frame ends.

    The middle pixel is the position's rounded one, counted from 1, as ZTF does: a source at x = 3042.3 of a chip of
    3072 columns has 62.
    """
    i, j = round(x) - corner[0], round(y) - corner[1]
    return frame[max(j - HALF, 0) : j + HALF + 1, max(i - HALF, 0) : i + HALF + 1]


def candidate_record(
    sheet: Sheet,
    found: Candidates,
    row: int,
    verdict: Verdict,
    reference: ReferenceCatalogue,
    near: Neighbours,
    place: tuple[float, float],
    jitter: np.random.Generator,
) -> dict[str, Any]:
    """The candidate part of the record, without history counts. place is the candidate's on the reference grid."""
    one = dict(zip(_NAMES, found.table[row].tolist(), strict=True))
    record = {
        **sheet.columns,
        **_identity(sheet, one, row),
        **_photometry(sheet, one),
        **_shape(sheet, one, jitter),
        **_reference(sheet, reference, near),
        **near.columns,
        **_solar_system(verdict, jitter),
    }
    record["ra"], record["dec"] = sheet.place.sky(*place)
    return record


def build(sheet: Sheet, record: Mapping[str, Any], name: str, history: list[bytes], forced: list[bytes]) -> bytes:
    """The packet of one detection: an object container with a single record; the histories are encoded rows."""
    x, y = float(record["xpos"]), float(record["ypos"])
    science, template, difference = (cut(frame, x, y, sheet.corner) for frame in sheet.stamps)
    positive = record["isdiffpos"] == "t"
    stem = f"candid{record['candid']}"
    files = (f"{stem}_pid{record['pid']}_targ_sci", f"{stem}_ref",
             f"{stem}_pid{record['pid']}_targ_{'scimref' if positive else 'refmsci'}")  # fmt: skip
    images = (science, template, difference if positive else -difference)
    science_cutout, template_cutout, difference_cutout = (
        {"fileName": f"{file}.fits.gz", "stampData": gzip_fits(image)}
        for file, image in zip(files, images, strict=True)
    )
    message = {
        "schemavsn": "4.02",
        "publisher": PUBLISHER,
        "objectId": name,
        "candid": record["candid"],
        "candidate": record,
        "prv_candidates": packets.Items(tuple(history)),
        "fp_hists": packets.Items(tuple(forced)),
        "cutoutScience": science_cutout,
        "cutoutTemplate": template_cutout,
        "cutoutDifference": difference_cutout,
    }
    return packets.write_container(SCHEMA, message)


_NAMES = COLUMNS


def _identity(sheet: Sheet, one: Mapping[str, float], serial: int) -> dict[str, Any]:
    positive = one["sign"] > 0
    x = float(np.float32(one["x"] + sheet.corner[0]))
    y = float(np.float32(one["y"] + sheet.corner[1]))
    rows, columns = CHIP_SHAPE
    return {
        "candid": sheet.columns["pid"] * 10**6 + (15 if positive else 10) * 1000 + serial,
        "tblid": serial,
        "isdiffpos": "t" if positive else "f",
        "xpos": x,
        "ypos": y,
        "mindtoedge": min(x, y, columns - x, rows - y),
    }


def _photometry(sheet: Sheet, one: Mapping[str, float]) -> dict[str, Any]:
    """Magnitudes of the difference flux. The PSF fit's error is scaled by its chi, as DAOPhot's scatter is."""
    zero = sheet.zero_point
    flux = max(one["flux"], 1.0)  # DN; where every detection is given a fit may be negative
    magpsf = zero - 2.5 * np.log10(flux)
    magap, magapbig = (zero - APERTURE - 2.5 * np.log10(max(one[name], 1.0)) for name in ("aperture", "wide"))
    limit = sheet.columns["diffmaglim"]
    return {
        "magpsf": magpsf,
        "sigmapsf": sigma_psf(flux, one["sky_error"], one["chi2"]),
        "chipsf": one["chi2"],
        "magap": magap,
        "sigmagap": min(MAG * one["aperture_error"] / max(one["aperture"], 1.0), 10.0),
        "magapbig": magapbig,
        "sigmagapbig": min(MAG * one["wide_error"] / max(one["wide"], 1.0), 10.0),
        "magdiff": magap - magpsf,
        "magfromlim": limit - magap,
        "sky": one["sky"],
        "scorr": one["scorr"],
        "dsnrms": one["dsnrms"],
        "ssnrms": one["ssnrms"],
        "dsdiff": one["dsnrms"] - one["ssnrms"],
    }


def sigma_psf(flux: float, sky_error: float, chi2: float) -> float:
    """Error of the PSF magnitude: that on plain sky, with the scatter of a bad fit in it."""
    return float(SCATTER * MAG * sky_error / flux * math.sqrt(max(chi2, 0.3)))


def _shape(sheet: Sheet, one: Mapping[str, float], rng: np.random.Generator) -> dict[str, Any]:
    width, scatter = sheet.fwhm_px, rng.normal(0.0, [0.12, 0.5])  # of sizes and classes, as real packets have it
    major, minor = (one[axis] * math.exp(scatter[0]) for axis in "ab")
    core = NARROWER * one["width"]
    core -= SHRINKS * max(0.93 - core, 0.0)  # the survey's own fit falls to its floor on cores of a few pixels
    fwhm = min(max(core, 0.5) * width, 9.0)
    point = 1.0 / ((2.355 / width) ** 2 + 1.0 / WINDOW_PX**2)  # square of a point source's windowed rms
    star = 1.0 / (1.0 + math.exp(2.6 * (major * minor / point - 2.5) + scatter[1]))
    return {
        "fwhm": fwhm,
        "seeratio": width / fwhm,
        "aimage": major,
        "bimage": minor,
        "aimagerat": major / fwhm,
        "bimagerat": minor / fwhm,
        "elong": one["elong"],
        "classtar": star,
        "nneg": int(one["nneg"]),
        "nbad": int(one["nbad"]),
        "sumrat": one["sumrat"],
    }


def _reference(sheet: Sheet, source: ReferenceCatalogue, near: Neighbours) -> dict[str, Any]:
    """The nearest source of the reference image's own catalogue."""
    row = near.row
    ra, dec = sheet.place.sky(float(source.x[row]), float(source.y[row]))
    return {
        "distnr": near.distance,
        "magnr": float(source.mag[row]),
        "sigmagnr": float(source.error[row]),
        "chinr": float(source.chi[row]),
        "sharpnr": float(source.sharp[row]),
        "ranr": ra,
        "decnr": dec,
    }


def _solar_system(verdict: Verdict, jitter: np.random.Generator) -> dict[str, Any]:
    """The nearest known asteroid: a predicted place and magnitude a little off; -999 and "null" where there is none."""
    change = verdict.change
    if change is None or change.event.kind != ASTEROID or not change.event.number:
        return {"ssdistnr": NONE, "ssmagnr": NONE, "ssnamenr": "null"}
    off = abs(float(jitter.normal(0.0, 0.6)))
    return {
        "ssdistnr": off,
        "ssmagnr": change.event.mag + float(jitter.normal(0, 0.25)),
        "ssnamenr": str(change.event.number),
    }


@lru_cache(maxsize=4096)
def _fits_head(rows: int, columns: int) -> bytes:
    """One header block: the cards of a plain float32 image."""
    cards = (("SIMPLE", "T"), ("BITPIX", "-32"), ("NAXIS", "2"), ("NAXIS1", str(columns)), ("NAXIS2", str(rows)))
    text = "".join(f"{name:8s}= {value:>20s}".ljust(80) for name, value in cards)
    return (text + "BUNIT   = 'DN      '".ljust(80) + "END".ljust(80)).ljust(2880).encode("ascii")


def as_float32(image: Image) -> NDArray[np.float32]:
    """A frame as it is stored in stamps."""
    return np.ascontiguousarray(image, np.float32)

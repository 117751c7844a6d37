"""The packets of Rubin: what a frame's detections become under its schema 11.0, histories from the same frames.

Fluxes are nJy and keep their sign, times TAI at mid-exposure, the difference is science minus template for either sign.
`reliability` stays null, since it is another classifier's judgement; so do the orbits of the Minor Planet Center.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import erfa
import numpy as np
from numpy.typing import NDArray

from realbogus import packets
from realbogus.simulation.defects import Defect
from realbogus.simulation.exposure import DAY_S, Reference
from realbogus.simulation.history import Objects
from realbogus.simulation.optics import Image
from realbogus.simulation.photometry import forced
from realbogus.simulation.places import Place
from realbogus.simulation.pointing import Observed, Pointing, Simulated
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.scene import ASTEROID, Scene
from realbogus.simulation.truth import Truth, Verdict

SCHEMA = "rubin/11.0"
ZERO_POINT_MAG = 31.4  # AB magnitude of 1 nJy
CHIP_SHAPE = (4000, 4072)  # rows, columns of a detector
DETECTORS = 189
BANDS = {1: "g", 2: "r", 3: "i"}
SMALLEST, LARGEST = 30, 93  # pixels of a stamp's side
PSF_SIDE = 41  # pixels of the PSF image beside a stamp, and of the window of the fits
MOMENTS_PX = 9  # half the window of the second moments
DIPOLE_SIGMA = 4.0  # a negative lobe this deep makes the pipeline try a dipole


@dataclass(frozen=True)
class Plate:
    """One exposure, calibrated to nJy, as its packets need it."""

    science: Image  # sky taken away
    template: Image  # on the science grid, on its flux scale
    difference: Image
    variance: Image  # of a pixel of the difference
    science_variance: Image
    template_variance: Image
    profile: Image  # PSF of the difference
    science_profile: Image
    template_profile: Image
    place: Place
    moments: tuple[float, float, float]  # of the science PSF, arcsec squared
    midpoint: float  # MJD, TAI
    visit: int
    number: int  # of the exposure within its pointing


@dataclass
class History:
    """What was seen of one object so far."""

    first: int = 0  # id of its first detection, which names the object
    rows: list[bytes] = field(default_factory=list)
    fluxes: list[tuple[float, float, float]] = field(default_factory=list)  # MJD, flux, error
    science: list[float] = field(default_factory=list)


class RubinPackets:
    """Makes the packets of one pointing, exposure after exposure, and remembers its frames and objects."""

    def __init__(self, pointing: Pointing, recipe: Recipe, scene: Scene, reference: Reference) -> None:
        self.pointing, self.recipe, self.reference = pointing, recipe, reference
        self.detector = pointing.detector % DETECTORS
        self.objects = Objects(str)
        self.histories: dict[str, History] = {}
        self.plates: list[Plate] = []

    def of(self, rng: np.random.Generator, seen: Observed) -> Iterator[Simulated]:
        """A packet and its truth for each detection of an exposure."""
        plate = _plate(self.pointing, self.recipe, self.reference, seen, len(self.plates))
        self.plates.append(plate)
        for row, verdict in enumerate(seen.verdicts):
            source = _source(plate, seen, row, self._corner())
            source["diaSourceId"] = (plate.visit * 200 + self.detector) * 1000 + row
            source["visit"], source["detector"] = plate.visit, self.detector
            moving = verdict.change is not None and verdict.change.event.kind == ASTEROID
            number = verdict.change.event.number if moving and verdict.change is not None else 0
            history = None if number else self._history(plate, seen, row, source["diaSourceId"])
            source["diaObjectId"] = history.first if history else None
            source["ssObjectId"] = 21_000_000_000_000_000 + number if number else None
            message = self._message(rng, plate, source, history, verdict)
            yield Simulated(packets.write_container(SCHEMA, message), self._truth(seen, source, verdict))
            if history is not None:
                history.rows.append(packets.encode_item(SCHEMA, "prvDiaSources", source))

    def _corner(self) -> tuple[int, int]:
        """x and y on the detector of the frame's first pixel, counted from 0."""
        rows, columns = CHIP_SHAPE
        side, tile = self.recipe.side, self.pointing.tile
        return tile[0] * (columns - side) // 2, tile[1] * (rows - side) // 2

    def _history(self, plate: Plate, seen: Observed, row: int, source_id: int) -> History:
        place = plate.place.on_reference(float(seen.found["x"][row]), float(seen.found["y"][row]))
        known = self.objects.at(*place) or self.objects.add(*place)
        return self.histories.setdefault(known.name, History(first=source_id))

    def _message(
        self, rng: np.random.Generator, plate: Plate, source: dict[str, Any], history: History | None, verdict: Verdict
    ) -> dict[str, Any]:
        x, y = source["x"] - self._corner()[0], source["y"] - self._corner()[1]
        forced_rows = [] if history is None else list(self._forced(source, x, y))
        dia_object = None
        if history is not None:
            history.fluxes.append((source["midpointMjdTai"], source["psfFlux"], source["psfFluxErr"]))
            history.science.append(source["scienceFlux"])
            dia_object = _object(source, history)
        return {
            "diaSourceId": source["diaSourceId"],
            "observation_reason": "simulated",
            "target_name": f"simulated field {self.pointing.field}",
            "diaSource": source,
            "prvDiaSources": packets.Items(tuple(history.rows) if history else ()),
            "prvDiaForcedSources": packets.Items(tuple(forced_rows)),
            "diaObject": dia_object,
            "ssSource": _moving(rng, source, verdict) if source["ssObjectId"] else None,
            "mpc_orbits": None,
            **_stamps(plate, x, y, self._corner(), source),
        }

    def _forced(self, source: dict[str, Any], x: float, y: float) -> Iterator[bytes]:
        """Forced photometry at this place on the earlier exposures and on this one, encoded."""
        for plate in self.plates:
            flux, error = forced(plate.difference, plate.variance, plate.profile, x, y)
            light, light_error = forced(plate.science, plate.science_variance, plate.science_profile, x, y)
            row = {
                "diaForcedSourceId": source["diaSourceId"] * 10 + plate.number, "diaObjectId": source["diaObjectId"],
                "ra": source["ra"], "dec": source["dec"], "visit": plate.visit, "detector": source["detector"],
                "psfFlux": flux, "psfFluxErr": error, "midpointMjdTai": plate.midpoint, "scienceFlux": light,
                "scienceFluxErr": light_error, "band": source["band"],
                "timeProcessedMjdTai": plate.midpoint + 60.0 / DAY_S, "timeWithdrawnMjdTai": None,
            }  # fmt: skip
            yield packets.encode_item(SCHEMA, "prvDiaForcedSources", row)

    def _truth(self, seen: Observed, source: dict[str, Any], verdict: Verdict) -> Truth:
        run_name, change = f"{self.pointing.seed}/{self.pointing.serial}", verdict.change
        scale = _to_njy(self.recipe, seen)
        mag = math.nan if change is None else ZERO_POINT_MAG - 2.5 * math.log10(abs(change.flux) * scale)
        host = f"{run_name}/galaxy{change.event.host}" if change is not None and change.event.host >= 0 else ""
        return Truth(
            candid=source["diaSourceId"], object_id=str(source["diaObjectId"] or f"SS{source['ssObjectId']}"),
            real=verdict.real, kind=verdict.kind, snr=source["snr"],
            magpsf=ZERO_POINT_MAG - 2.5 * math.log10(max(abs(source["psfFlux"]), 1e-3)), true_mag=mag,
            share=verdict.share, sign=-1 if source["isNegative"] else 1, exposure=source["visit"] * 200 + self.detector,
            night=self.pointing.night, field=self.pointing.field, detector=self.detector, band=source["band"],
            seeing_px=seen.frame.conditions.psf.fwhm_px,
            source=f"{run_name}/{verdict.source}" if verdict.source else "", host=host, recipe=self.recipe.name,
        )  # fmt: skip


def visit_id(jd: float) -> int:
    """A visit's number: the date, then five digits that count the night's exposures in steps of its cadence."""
    year, month, day, fraction = erfa.jd2cal(jd - 0.5, 0.0)  # days are counted from noon
    return ((int(year) * 100 + int(month)) * 100 + int(day)) * 100_000 + int(fraction * 99_999)


def _to_njy(recipe: Recipe, seen: Observed) -> float:
    """nJy per DN of an exposure."""
    return float(10.0 ** (0.4 * (ZERO_POINT_MAG - recipe.mag_shift - seen.frame.conditions.zero_point)))


def _plate(pointing: Pointing, recipe: Recipe, reference: Reference, seen: Observed, number: int) -> Plate:
    how, frame = seen.frame.conditions, seen.subtracted.frame
    scale = _to_njy(recipe, seen)
    of_template = 10.0 ** (0.4 * (how.zero_point - reference.zero_point)) * scale
    sky = float(np.nanmedian(seen.frame.image[::4, ::4]))
    science = np.where(np.isfinite(frame.difference), seen.frame.image - sky, np.nan) * scale
    template = (seen.template - float(np.nanmedian(seen.template[::4, ::4]))) * of_template
    science_variance = (
        np.maximum(seen.frame.image, 0.5 * sky) / how.gain + (how.read_noise / how.gain) ** 2
    ) * scale**2
    light = np.maximum(np.nan_to_num(template), 0.0) / of_template / max(reference.sky_dn, 1.0)
    template_variance = (reference.noise * of_template) ** 2 * (1.0 + light)
    profile = seen.subtracted.psf.image(PSF_SIDE // 2)
    utc = how.jd + 0.5 * how.exposure_s / DAY_S
    tai = erfa.utctai(2400000.5, utc - 2400000.5)
    return Plate(
        science, template, frame.difference * scale, frame.variance * scale**2, science_variance, template_variance,
        frame.psf, seen.subtracted.psf.image(10), reference.psf.image(10),
        Place(how.solution.terms, recipe.side, pointing.ra, pointing.dec, recipe.pixel_arcsec),
        _moments(profile, recipe.pixel_arcsec), float(tai[0] - 2400000.5 + tai[1]), visit_id(how.jd), number,
    )  # fmt: skip


def _source(plate: Plate, seen: Observed, row: int, corner: tuple[int, int]) -> dict[str, Any]:
    """The diaSource of a detection, without its ids."""
    found, scale = seen.found, math.sqrt(float(plate.variance[0, 0] / seen.subtracted.frame.variance[0, 0]))
    x, y, sign = float(found["x"][row]), float(found["y"][row]), float(found["sign"][row])
    flux, error = sign * scale * float(found["flux"][row]), scale * float(found["flux_error"][row])
    ra, dec = plate.place.sky(*plate.place.on_reference(x, y))
    arcsec = plate.place.pixel_arcsec
    snr = float(found["scorr"][row])
    off = 0.6 * math.sqrt(plate.moments[0] + plate.moments[1]) / snr  # arcsec: a centroid's photon noise
    science = forced(plate.science, plate.science_variance, plate.science_profile, x, y)
    template = forced(plate.template, plate.template_variance, plate.template_profile, x, y)
    patch, noise = _window(plate.difference, x, y), _window(plate.variance, x, y)
    return dict.fromkeys(_nullable()) | {
        "diaSourceId": 0, "visit": 0, "detector": 0, "parentDiaSourceId": None,
        "midpointMjdTai": plate.midpoint, "timeProcessedMjdTai": plate.midpoint + 60.0 / DAY_S,
        "ra": ra, "dec": dec, "raErr": off / 3600.0 / max(math.cos(math.radians(dec)), 0.05), "decErr": off / 3600.0,
        "ra_dec_Cov": 0.0, "x": x + corner[0], "y": y + corner[1], "xErr": off / arcsec, "yErr": off / arcsec,
        "apFlux": sign * scale * float(found["aperture"][row]),
        "apFluxErr": scale * float(found["aperture_error"][row]),
        "isNegative": sign < 0, "snr": snr, "psfFlux": flux, "psfFluxErr": error,
        "scienceFlux": science[0], "scienceFluxErr": science[1],
        "templateFlux": template[0], "templateFluxErr": template[1],
        "band": BANDS[seen.frame.conditions.band], "extendedness": _extendedness(found["width"][row]),
        **dict(zip(("ixxPSF", "iyyPSF", "ixyPSF"), plate.moments, strict=True)),
        **dict(zip(("ixx", "iyy", "ixy"), _moments(sign * patch, arcsec), strict=True)),
        **_fits(plate, patch * sign, noise, sign), **_trail(flux, error, ra, dec),
        **_flags(seen, x, y), "bboxSize": int(np.clip(round(4.0 * math.log(max(snr, 5.0)) + 5.0), 9, 60)),
    }  # fmt: skip


@lru_cache(maxsize=1)
def _nullable() -> tuple[str, ...]:
    """Every field of a diaSource."""
    return tuple(packets.field_names(SCHEMA, "diaSource"))


def _window(image: Image, x: float, y: float) -> Image:
    """The 41 x 41 pixels around a place; NaN outside."""
    half, (rows, columns) = PSF_SIDE // 2, image.shape
    i, j = round(x), round(y)
    out = np.full((PSF_SIDE, PSF_SIDE), np.nan)
    top, left = max(j - half, 0), max(i - half, 0)
    part = image[top : min(j + half + 1, rows), left : min(i + half + 1, columns)]
    out[top - j + half : top - j + half + part.shape[0], left - i + half : left - i + half + part.shape[1]] = part
    return out


def _moments(image: Image, arcsec: float) -> tuple[float, float, float]:
    """Second moments xx, yy, xy in arcsec squared, under a Gaussian weight that adapts (Bernstein and Jarvis 2002)."""
    middle = image.shape[0] // 2
    inner = np.s_[middle - MOMENTS_PX : middle + MOMENTS_PX + 1]
    v, u = np.mgrid[-MOMENTS_PX : MOMENTS_PX + 1, -MOMENTS_PX : MOMENTS_PX + 1].astype(float)
    light = np.nan_to_num(image[inner, inner])
    xx, yy, xy = 4.0, 4.0, 0.0
    for _ in range(12):
        determinant = max(xx * yy - xy * xy, 1e-3)
        weight = light * np.exp(-0.5 * (yy * u * u - 2.0 * xy * u * v + xx * v * v) / determinant)
        total = float(weight.sum())
        if total <= 0.0:
            break
        xx, yy, xy = (2.0 * float((weight * m).sum()) / total for m in (u * u, v * v, u * v))
        xx, yy = min(max(xx, 0.5), 16.0), min(max(yy, 0.5), 16.0)
        most = 0.95 * math.sqrt(xx * yy)
        xy = min(max(xy, -most), most)
    return xx * arcsec**2, yy * arcsec**2, xy * arcsec**2


def _fits(plate: Plate, patch: Image, noise: Image, sign: float) -> dict[str, Any]:
    """Chi squares of the point source over the window, and of two points where a negative lobe asks for it."""
    profile = np.zeros((PSF_SIDE, PSF_SIDE))
    half, small = PSF_SIDE // 2, plate.profile.shape[0] // 2
    profile[half - small : half + small + 1, half - small : half + small + 1] = plate.profile
    usable = np.isfinite(patch) & np.isfinite(noise)
    flux = float((patch * profile)[usable].sum() / (profile[usable] ** 2).sum())
    chi2 = float((((patch - flux * profile) ** 2) / noise)[usable].sum())
    out = {"psfChi2": chi2, "psfNdata": int(usable.sum()), "isDipole": False, "dipoleFitAttempted": False,
           "dipoleNdata": 0, "trailNdata": 0}  # fmt: skip
    near = np.nan_to_num(patch[half - 7 : half + 8, half - 7 : half + 8])
    j, i = (int(n) - 7 for n in np.unravel_index(int(near.argmin()), near.shape))
    if near[j + 7, i + 7] > -DIPOLE_SIGMA * math.sqrt(float(noise[half, half])):
        return out
    other = np.roll(profile, (j, i), (0, 1))
    pair = np.stack([profile[usable], -other[usable]], axis=1)
    fluxes, *_ = np.linalg.lstsq(pair, patch[usable], rcond=None)
    rest = float(((patch[usable] - pair @ fluxes) ** 2 / noise[usable]).sum())
    one = math.sqrt(float(np.nanmedian(noise)) / float((profile**2).sum()))
    return out | {
        "isDipole": bool(fluxes.min() > 0.5 * fluxes.max()), "dipoleFitAttempted": True,
        "dipoleMeanFlux": float(np.abs(fluxes).mean()), "dipoleMeanFluxErr": one / math.sqrt(2.0),
        "dipoleFluxDiff": sign * float(fluxes[0] - fluxes[1]), "dipoleFluxDiffErr": one * math.sqrt(2.0),
        "dipoleLength": math.hypot(i, j) * plate.place.pixel_arcsec,
        "dipoleAngle": math.degrees(math.atan2(-j, -i)), "dipoleChi2": rest, "dipoleNdata": int(usable.sum()),
    }  # fmt: skip


def _trail(flux: float, error: float, ra: float, dec: float) -> dict[str, Any]:
    return {"trailFlux": flux, "trailFluxErr": error, "trailRa": ra, "trailDec": dec, "trail_flag_edge": False}


def _extendedness(width: float) -> float:
    """0 for the width of the PSF or less, 1 from about twice of it."""
    return float(1.0 / (1.0 + math.exp(-8.0 * (width - 1.55))))


def _flags(seen: Observed, x: float, y: float) -> dict[str, bool]:
    """The flags of a pipeline that knows saturation, bad columns and missing pixels, but missed this cosmic ray."""
    names = [name for name in _nullable() if "flag" in name.lower() and name != "pixelFlags"]
    out = dict.fromkeys(names, False) | {"glint_trail": False}
    j, i = round(y), round(x)
    box, missing = (
        seen.frame.damage.bits[max(j - 4, 0) : j + 5, max(i - 4, 0) : i + 5],
        seen.subtracted.frame.difference,
    )
    gone = bool(np.isnan(missing[max(j - 4, 0) : j + 5, max(i - 4, 0) : i + 5]).any())
    bits = int(np.bitwise_or.reduce(box, axis=None))
    out["pixelFlags_saturated"] = bool(bits & int(Defect.SATURATION))
    out["pixelFlags_bad"] = bool(bits & int(Defect.BAD_COLUMN))
    out["pixelFlags_nodata"] = out["pixelFlags_interpolated"] = gone
    out["pixelFlags_edge"] = min(i, j, missing.shape[1] - 1 - i, missing.shape[0] - 1 - j) < 5
    out["pixelFlags"] = any(out[name] for name in out if name.startswith("pixelFlags_"))
    return out


def _object(source: dict[str, Any], history: History) -> dict[str, Any]:
    """The diaObject: where it is, and statistics of its fluxes in this band."""
    flux, error = (np.array([row[n] for row in history.fluxes]) for n in (1, 2))
    band, count = source["band"], len(flux)
    spread = float(flux.std(ddof=1)) if count > 1 else None
    named = {name: 0 for name in packets.field_names(SCHEMA, "diaObject") if name.endswith("Ndata")}
    science = np.array(history.science)
    return dict.fromkeys(packets.field_names(SCHEMA, "diaObject")) | named | {
        "diaObjectId": source["diaObjectId"], "validityStartMjdTai": source["timeProcessedMjdTai"],
        **{name: source[name] for name in ("ra", "dec", "raErr", "decErr", "ra_dec_Cov")},
        f"{band}_psfFluxMean": float(np.average(flux, weights=error**-2.0)), f"{band}_psfFluxSigma": spread,
        f"{band}_psfFluxMeanErr": float((error**-2.0).sum() ** -0.5), f"{band}_psfFluxNdata": count,
        f"{band}_psfFluxMin": float(flux.min()), f"{band}_psfFluxMax": float(flux.max()),
        f"{band}_psfFluxErrMean": float(error.mean()), f"{band}_scienceFluxMean": float(science.mean()),
        f"{band}_scienceFluxMeanErr": float(error.mean() / math.sqrt(count)), "nDiaSources": count,
        "firstDiaSourceMjdTai": history.fluxes[0][0], "lastDiaSourceMjdTai": history.fluxes[-1][0],
    }  # fmt: skip


def _moving(rng: np.random.Generator, source: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    """The ssSource of a known asteroid: where its orbit said that it would be."""
    assert verdict.change is not None
    event, arcsec = verdict.change.event, rng.normal(0.0, 0.1, 2)
    ra, dec, jd = math.radians(source["ra"]), math.radians(source["dec"]), source["midpointMjdTai"] + 2400000.5
    longitude, latitude = erfa.eqec06(jd, 0.0, ra, dec)
    gal_longitude, gal_latitude = erfa.icrs2g(ra, dec)
    return dict.fromkeys(packets.field_names(SCHEMA, "ssSource")) | {
        "diaSourceId": source["diaSourceId"], "ssObjectId": source["ssObjectId"], "designation": str(event.number),
        "eclLambda": math.degrees(longitude), "eclBeta": math.degrees(latitude),
        "galLon": math.degrees(gal_longitude), "galLat": math.degrees(gal_latitude),
        "ephRa": source["ra"] + float(arcsec[0]) / 3600.0, "ephDec": source["dec"] + float(arcsec[1]) / 3600.0,
        "ephOffset": float(np.hypot(*arcsec)), "ephVmag": ZERO_POINT_MAG - 2.5 * math.log10(abs(source["psfFlux"])),
    }  # fmt: skip


def _stamps(plate: Plate, x: float, y: float, corner: tuple[int, int], source: dict[str, Any]) -> dict[str, bytes]:
    """The three cutouts: FITS of image, variance and PSF; even sides, the candidate half a pixel off the middle."""
    side = int(np.clip(2 * ((source["bboxSize"] + 14) // 2), SMALLEST, LARGEST - 1))
    left, low = math.floor(x) - side // 2, math.floor(y) - side // 2
    wide = PSF_SIDE // 2 - 10
    cutouts = {}
    for name, image, variance, profile in (
        ("cutoutDifference", plate.difference, plate.variance, plate.profile),
        ("cutoutScience", plate.science, plate.science_variance, plate.science_profile),
        ("cutoutTemplate", plate.template, plate.template_variance, plate.template_profile),
    ):
        parts = [_cut(frame, left, low, side) for frame in (image, variance)]
        cards = {"CUTMINX": left + corner[0], "CUTMINY": low + corner[1]}
        cutouts[name] = _fits_file(parts[0], parts[1], np.pad(profile, wide), cards)
    return cutouts


def _cut(frame: Image, left: int, low: int, side: int) -> NDArray[np.float32]:
    """A square of a frame, NaN where the frame ends."""
    out = np.full((side, side), np.nan, np.float32)
    top, first = max(low, 0), max(left, 0)
    part = frame[top : max(low + side, 0), first : max(left + side, 0)]
    out[top - low : top - low + part.shape[0], first - left : first - left + part.shape[1]] = part
    return out


def _fits_file(
    image: NDArray[np.float32], variance: NDArray[np.float32], profile: Image, cards: dict[str, int]
) -> bytes:
    """Three units: the image in nJy, UNCERT (its variance) and PSFIMAGE."""
    return b"".join(
        (
            _unit(
                "SIMPLE  =                    T", image.astype(">f4"), {"EXTEND": "T", **cards, "BUNIT": "'nJy     '"}
            ),
            _unit("XTENSION= 'IMAGE   '", variance.astype(">f4"), {"PCOUNT": 0, "GCOUNT": 1, "EXTNAME": "'UNCERT  '"}),
            _unit("XTENSION= 'IMAGE   '", profile.astype(">f8"), {"PCOUNT": 0, "GCOUNT": 1, "EXTNAME": "'PSFIMAGE'"}),
        )
    )


def _unit(first: str, pixels: NDArray[Any], cards: dict[str, Any]) -> bytes:
    """One FITS unit: header and data, both padded to 2880 bytes."""
    rows, columns = pixels.shape
    sizes = {"BITPIX": -8 * pixels.itemsize, "NAXIS": 2, "NAXIS1": columns, "NAXIS2": rows}
    lines = [first, *(f"{name:8s}= {value!s:>20s}" for name, value in (sizes | cards).items()), "END"]
    head = "".join(line.ljust(80) for line in lines)
    body = pixels.tobytes()
    return head.ljust(-(-len(head) // 2880) * 2880).encode("ascii") + body + bytes(-len(body) % 2880)

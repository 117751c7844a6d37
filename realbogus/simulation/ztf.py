"""The packets of ZTF: what a frame's detections become under schema 4.02, with the history of their objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from realbogus.simulation.exposure import Reference
from realbogus.simulation.history import (
    RBVERSION,
    KnownObject,
    Objects,
    Visit,
    earlier_rows,
    encode_forced,
    encode_row,
    forced_rows,
)
from realbogus.simulation.medians import median
from realbogus.simulation.neighbours import Matcher, reference_catalogue, sky_catalogue
from realbogus.simulation.packet import Sheet, as_float32, build, candidate_record
from realbogus.simulation.places import Place
from realbogus.simulation.pointing import NID_ZERO_JD, Observed, Pointing, Simulated
from realbogus.simulation.recipe import BANDS, CHIP_SHAPE, Recipe
from realbogus.simulation.scene import Scene
from realbogus.simulation.truth import Truth, Verdict

LETTERS = "abcdefghijklmnopqrstuvwxyz"
RMS = {1: -3.31, 2: -3.37, 3: -3.47}  # ln of the usual scatter of zero points by band: 645 exposures of real packets
HISTORY = (  # noqa: SIM905 (a list of words reads better than one of strings)
    "jd fid pid diffmaglim pdiffimfilename programpi programid candid isdiffpos tblid nid rcid field xpos ypos ra dec "
    "magpsf sigmapsf chipsf magap sigmagap distnr magnr sigmagnr chinr sharpnr sky magdiff fwhm classtar mindtoedge "
    "magfromlim seeratio aimage bimage aimagerat bimagerat elong nneg nbad rb ssdistnr ssmagnr ssnamenr sumrat "
    "magapbig sigmagapbig ranr decnr scorr magzpsci magzpsciunc magzpscirms clrcoeff clrcounc rbversion"
).split()


def object_name(pointing: Pointing, number: int) -> str:
    """The name of a new object: SIM, the year, seven letters; no two of a run are alike."""
    year = 17 + (pointing.night - 1) // 365
    rest, text = (pointing.seed * 7_368_787 + pointing.serial * 8192 + number) % 26**7, ""
    for _ in range(7):
        rest, letter = divmod(rest, 26)
        text = LETTERS[letter] + text
    return f"SIM{year:02d}{text}"


def _corner(pointing: Pointing, side: int) -> tuple[int, int]:
    """x and y on the chip, counted from 1, of the frame's first pixel."""
    rows, columns = CHIP_SHAPE
    return 1 + pointing.tile[0] * (columns - side) // 2, 1 + pointing.tile[1] * (rows - side) // 2


class ZtfPackets:
    """Makes the packets of one pointing, exposure after exposure, and remembers its objects."""

    def __init__(self, pointing: Pointing, recipe: Recipe, scene: Scene, reference: Reference) -> None:
        sky = sky_catalogue(pointing.rng(3), scene, pointing.ra, pointing.dec)
        self.pointing, self.recipe, self.reference = pointing, recipe, reference
        self.matcher = Matcher.of(reference_catalogue(reference), sky)
        self.objects = Objects(lambda number: object_name(pointing, number))
        self.visits = _earlier_visits(pointing, recipe)

    def of(self, rng: np.random.Generator, seen: Observed) -> Iterator[Simulated]:
        """A packet and its truth for each detection of an exposure."""
        sheet = _sheet(rng, self.pointing, self.recipe, self.reference, seen)
        x, y = sheet.place.on_reference(seen.found["x"], seen.found["y"])
        places, neighbours = zip(x.tolist(), y.tolist(), strict=True), self.matcher.at(x, y)
        for row, (verdict, place, near) in enumerate(zip(seen.verdicts, places, neighbours, strict=True)):
            record = candidate_record(sheet, seen.found, row, verdict, self.matcher.reference, near, place, rng)
            known = self.objects.at(*place) or self._new(rng, place, verdict, record, sheet.zero_point)
            known.found += 1
            record |= {"ndethist": known.found, "jdstarthist": known.first_jd, "jdendhist": record["jd"]}
            forced = forced_rows(rng, verdict, self.visits, record, sheet.zero_point)
            packet = build(sheet, record, known.name, known.rows, forced)
            known.rows = [*known.rows, encode_row({name: record.get(name) for name in HISTORY})]
            yield Simulated(packet, _truth(self.pointing, self.recipe, seen, record, known, verdict))

    def _new(
        self,
        rng: np.random.Generator,
        place: tuple[float, float],
        verdict: Verdict,
        record: dict[str, Any],
        zero: float,
    ) -> KnownObject:
        known = self.objects.add(*place)
        known.rows, known.found, known.first_jd = earlier_rows(rng, verdict, self.visits, record, zero)
        return known


def _truth(
    pointing: Pointing, recipe: Recipe, seen: Observed, record: dict[str, Any], known: KnownObject, verdict: Verdict
) -> Truth:
    run_name = f"{pointing.seed}/{pointing.serial}"
    change = verdict.change
    mag = math.nan if change is None else record["magzpsci"] - 2.5 * math.log10(abs(change.flux))
    host = f"{run_name}/galaxy{change.event.host}" if change is not None and change.event.host >= 0 else ""
    return Truth(
        candid=record["candid"], object_id=known.name, real=verdict.real, kind=verdict.kind, snr=record["scorr"],
        magpsf=record["magpsf"], true_mag=mag, share=verdict.share, sign=1 if record["isdiffpos"] == "t" else -1,
        exposure=record["pid"], night=pointing.night, field=pointing.field, detector=pointing.detector,
        band=BANDS[pointing.band], seeing_px=seen.frame.conditions.psf.fwhm_px,
        source=f"{run_name}/{verdict.source}" if verdict.source else "", host=host, recipe=recipe.name,
    )  # fmt: skip


def _sheet(rng: np.random.Generator, pointing: Pointing, recipe: Recipe, reference: Reference, seen: Observed) -> Sheet:
    """What the packets of an exposure share: stamps to cut from and the columns of the image."""
    how, difference = seen.frame.conditions, seen.subtracted.frame.difference
    gone = ~np.isfinite(difference)
    level = how.sky_dn * float(np.exp(recipe.pedestal_spread * rng.normal(-0.7, 1.0)) - 1.0)
    science, template = as_float32(seen.frame.image), as_float32(seen.template)
    science += np.float32(level)
    science[gone], template[gone] = np.nan, np.nan
    template += np.float32(median(science[::4, ::4] - template[::4, ::4]))
    return Sheet(
        stamps=(science, template, as_float32(difference)),
        corner=_corner(pointing, recipe.side),
        zero_point=how.zero_point,
        fwhm_px=recipe.quoted_width * seen.subtracted.psf.fwhm_px,
        columns=_image_columns(rng, pointing, recipe, reference, seen),
        place=Place(how.solution.terms, recipe.side, pointing.ra, pointing.dec, recipe.pixel_arcsec),
    )


def exposure_id(jd: float, detector: int) -> int:
    """ZTF's pid: night, fraction of the day in 1e-5, detector."""
    since = jd - NID_ZERO_JD
    night = math.floor(since)
    return night * 10**9 + int((since - night) * 1e5) * 10**4 + detector * 100 + 15


def _image_columns(
    rng: np.random.Generator, pointing: Pointing, recipe: Recipe, reference: Reference, seen: Observed
) -> dict[str, Any]:
    """Columns of the candidate record that belong to the image."""
    how = seen.frame.conditions
    pid = exposure_id(how.jd, pointing.detector)
    area = 1.0 / float((seen.subtracted.psf.image(10) ** 2).sum())
    limit = how.zero_point - 2.5 * math.log10(
        5.0
        * recipe.limit_scatter
        * float(np.exp(rng.normal(0.0, 0.2)))
        * math.sqrt(seen.subtracted.sky_variance * area)
    )
    epochs = reference.epochs
    return {
        "jd": how.jd, "fid": pointing.band, "pid": pid, "diffmaglim": limit,
        "pdiffimfilename": _file_name(pointing, how.jd), "programpi": "Simulated", "programid": 1,
        "nid": pointing.night, "rcid": pointing.detector, "field": pointing.field, "rb": None, "drb": None,
        "rbversion": RBVERSION, "drbversion": RBVERSION, "tooflag": 0,
        "ncovhist": int(np.exp(pointing.rng(5).normal(7.1, 0.5))),
        "rfid": pointing.field * 10**6 + pointing.band * 10**5 + pointing.detector * 10**2 + 1,
        "jdstartref": float(epochs[0]), "jdendref": float(epochs[-1]), "nframesref": reference.frames,
        "nmatches": int(rng.poisson(80 + seen.subtracted.stamps * 30)), "exptime": how.exposure_s,
        **_calibration(rng, pointing.band, how.zero_point, seen.frame.damage.scale_rms),
    }  # fmt: skip


def _calibration(rng: np.random.Generator, band: int, zero_point: float, scale_rms: float = 0.0) -> dict[str, float]:
    """Columns of a photometric solution; scale_rms is what the frame adds to its usual scatter, mag."""
    colour = {1: -0.06, 2: 0.09, 3: 0.01}[band] + float(rng.normal(0.0, 0.012))
    usual = float(np.clip(np.exp(rng.normal(RMS[band], 0.32)), 0.012, 0.1))
    scatter = math.hypot(usual, scale_rms)
    return {
        "magzpsci": zero_point, "magzpsciunc": 2e-4 * scatter, "magzpscirms": scatter,
        "clrcoeff": colour, "clrcounc": 3e-4 * scatter, "zpclrcov": -5e-6, "zpmed": zero_point + 0.5 * colour,
        "clrmed": float(rng.normal(0.6, 0.06)), "clrrms": float(rng.normal(0.2, 0.03)),
    }  # fmt: skip


def _file_name(pointing: Pointing, jd: float) -> str:
    """A name in the manner of the survey's files."""
    pid = exposure_id(jd, pointing.detector)
    quadrant = f"c{pointing.detector // 4 + 1:02d}_o_q{pointing.detector % 4 + 1}"
    return f"sim_{pid}_{pointing.field:06d}_z{BANDS[pointing.band]}_{quadrant}_scimrefdiffimg.fits"


def _earlier_visits(pointing: Pointing, recipe: Recipe) -> list[Visit]:
    """The visits of the field in the 30 days before, in two bands."""
    rng = pointing.rng(6)
    count = int(np.clip(rng.poisson(18), 2, 60))
    days = np.sort(rng.choice(np.arange(1, 30), size=min(count, 29), replace=False))[::-1]
    out = []
    for day in days:
        jd = pointing.jd - float(day) + float(rng.uniform(-0.1, 0.1))
        limit = float(rng.normal(20.3, 0.4))
        columns = _visit_columns(rng, pointing, jd, limit, recipe)
        row = encode_row({name: columns[name] for name in HISTORY})
        out.append(Visit(jd, limit, columns, row, encode_forced(columns["forced"])))
    return out


def _visit_columns(
    rng: np.random.Generator, pointing: Pointing, jd: float, limit: float, recipe: Recipe
) -> dict[str, Any]:
    """prv_candidates of a visit that saw nothing, and the columns its forced photometry shares."""
    band = int(rng.choice([1, 2]))
    calibration = _calibration(rng, band, recipe.zero_point + float(rng.normal(0.0, 0.06)))
    shared = {name: calibration[name] for name in ("magzpsci", "magzpsciunc", "magzpscirms", "clrcoeff", "clrcounc")}
    pid = exposure_id(jd, pointing.detector)
    row: dict[str, Any] = dict.fromkeys(HISTORY)
    row |= {
        "jd": jd, "fid": band, "pid": pid, "diffmaglim": limit, "pdiffimfilename": _file_name(pointing, jd),
        "programpi": "Simulated", "programid": 1, "nid": math.floor(jd - NID_ZERO_JD), "rcid": pointing.detector,
        "field": pointing.field, "rbversion": RBVERSION, **shared,
    }  # fmt: skip
    forced = {
        "field": pointing.field, "rcid": pointing.detector, "fid": band, "pid": pid,
        "rfid": pointing.field * 10**6 + band * 10**5 + pointing.detector * 10**2 + 1,
        "sciinpseeing": float(np.exp(rng.normal(0.75, 0.2))), "scibckgnd": float(np.exp(rng.normal(5.0, 0.4))),
        "scisigpix": float(rng.normal(6.5, 1.0)), **shared, "exptime": 30.0,
        "adpctdif1": float(rng.uniform(0.05, 0.2)), "adpctdif2": float(rng.uniform(0.05, 0.2)),
        "diffmaglim": limit, "programid": 1, "jd": jd, "procstatus": "0",
    }  # fmt: skip
    return row | {"forced": forced, "now": pointing.jd}

"""One field on one detector: a template, a few exposures, and the packets of what is found in them.

A pointing is the unit of work. All its randomness comes from the night's seed and its own number, so that pointings
can be made in any order, on any number of processes, with the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from realbogus.simulation.defects import BLOCK, Damage, Detector, draw_detector
from realbogus.simulation.detection import Candidates, Searchable, detect
from realbogus.simulation.engines import ENGINES, Subtracted
from realbogus.simulation.exposure import (
    PAD,
    Conditions,
    Frame,
    Reference,
    draw_conditions,
    expose,
    make_reference,
    register,
)
from realbogus.simulation.history import RBVERSION, KnownObject, Objects, Visit, earlier_rows, encode_row, forced_rows
from realbogus.simulation.neighbours import Matcher, reference_catalogue, sky_catalogue
from realbogus.simulation.optics import PSF
from realbogus.simulation.packet import Sheet, as_float32, build, candidate_record, sigma_psf
from realbogus.simulation.recipe import BANDS, CHIP_SHAPE, Recipe
from realbogus.simulation.scene import Scene, draw_scene
from realbogus.simulation.truth import Change, Surroundings, Truth, Verdict, judge

NID_ZERO_JD = 2457754.5  # 2017 January 1: ZTF counts nights from here
CADENCE_D = 45.0 / 86400.0
LETTERS = "abcdefghijklmnopqrstuvwxyz"
QUOTED_WIDTH = 1.36  # FWHM that the survey quotes over that of the profile within a pixel; real packets, in the median
EDGE = 31  # pixels: half a stamp; a frame's sides that are no chip edge keep this distance
HISTORY = (  # noqa: SIM905 (a list of words reads better than one of strings)
    "jd fid pid diffmaglim pdiffimfilename programpi programid candid isdiffpos tblid nid rcid field xpos ypos ra dec "
    "magpsf sigmapsf chipsf magap sigmagap distnr magnr sigmagnr chinr sharpnr sky magdiff fwhm classtar mindtoedge "
    "magfromlim seeratio aimage bimage aimagerat bimagerat elong nneg nbad rb ssdistnr ssmagnr ssnamenr sumrat "
    "magapbig sigmagapbig ranr decnr scorr magzpsci magzpsciunc magzpscirms clrcoeff clrcounc rbversion"
).split()


@dataclass(frozen=True)
class Pointing:
    """Where and when to look."""

    seed: int
    serial: int  # within the run
    jd: float  # of its first exposure
    field: int
    detector: int  # ZTF rcid, 0 to 63
    tile: tuple[int, int]  # which piece of the quadrant the frame is: column and row, 0 to 2
    band: int  # ZTF fid
    seeing_px: float  # FWHM of the air, typical of the night at that time
    ra: float
    dec: float

    @property
    def night(self) -> int:
        """ZTF's night number, nid."""
        return math.floor(self.jd - NID_ZERO_JD)

    def rng(self, *what: int) -> np.random.Generator:
        """The generator for one purpose, a function of seed, serial and the purpose alone."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.serial, *what)))


@dataclass(frozen=True)
class Simulated:
    """An alert packet and what it truly shows."""

    packet: bytes
    truth: Truth


@dataclass(frozen=True)
class Observed:
    """An exposure taken, subtracted and searched."""

    frame: Frame
    template: NDArray[np.float64]  # on the science grid
    subtracted: Subtracted
    found: Candidates
    verdicts: list[Verdict]


def run(pointing: Pointing, recipe: Recipe) -> list[Simulated]:
    """All alerts of a pointing, in order of time."""
    with threadpool_limits(1):  # small matrices gain nothing from threads, and sums must not depend on their number
        return _run(pointing, recipe)


def _run(pointing: Pointing, recipe: Recipe) -> list[Simulated]:
    scene = draw_scene(pointing.rng(0), recipe, pointing.jd)
    reference = make_reference(pointing.rng(1), scene, recipe, pointing.jd, pointing.band)
    detector = draw_detector(pointing.rng(2, pointing.detector), recipe)
    sky = sky_catalogue(pointing.rng(3), scene, pointing.ra, pointing.dec)
    matcher = Matcher.of(reference_catalogue(reference), sky)
    objects = Objects(lambda number: object_name(pointing, number))
    visits = _earlier_visits(pointing, recipe)
    out: list[Simulated] = []
    for number in range(recipe.visits):
        rng = pointing.rng(4, number)
        seen = observe(rng, pointing, recipe, scene, reference, detector, number)
        if seen is not None:
            out += _packets(rng, pointing, recipe, reference, seen, matcher, objects, visits)
    return out


def observe(
    rng: np.random.Generator, pointing: Pointing, recipe: Recipe, scene: Scene, reference: Reference,
    detector: Detector, number: int,
) -> Observed | None:  # fmt: skip
    """Take, subtract and search one exposure; None where the subtraction finds too few stars."""
    jd = pointing.jd + number * CADENCE_D
    how = draw_conditions(rng, recipe, jd, pointing.band, pointing.seeing_px)
    frame = expose(rng, scene, recipe, how, detector)
    template = register(reference, how.solution, recipe.side)
    template_masked, template_bits = _on_science_grid(reference.damage, how, recipe.side)
    masked = frame.damage.masked | template_masked | _ragged_edges(rng, pointing, recipe.side)
    science, template = np.where(masked, np.nan, frame.image), np.where(masked, np.nan, template)
    done = ENGINES[recipe.subtraction](rng, recipe, scene, how, reference, science, template)
    if done is None:
        return None
    done.frame.score[...] /= recipe.score_noise
    found = _search(rng, done.frame, done.psf, recipe, pointing)
    around = _surroundings(scene, how, reference, frame, template_bits, masked)
    return Observed(frame, template, done, found, judge(found, around))


def object_name(pointing: Pointing, number: int) -> str:
    """The name of a new object: SIM, the year, seven letters; no two of a run are alike."""
    year = 17 + (pointing.night - 1) // 365
    rest, text = (pointing.seed * 7_368_787 + pointing.serial * 8192 + number) % 26**7, ""
    for _ in range(7):
        rest, letter = divmod(rest, 26)
        text = LETTERS[letter] + text
    return f"SIM{year:02d}{text}"


def vet(found: Candidates, fwhm_px: float) -> NDArray[np.bool_]:
    """The loose first cuts of the survey's alert stream, as real packets show them at the edge of each column."""
    flux, error = np.maximum(found["flux"], 1e-3), found["sky_error"]
    magnitude_error = np.array([sigma_psf(*row) for row in zip(flux, error, found["chi2"], strict=True)])
    magdiff = -2.5 * np.log10(np.maximum(found["aperture"], 1e-3) / flux)
    wide = np.maximum(found["width"], 0.5) * fwhm_px
    return np.asarray(
        (found["flux"] > 0)
        & (found["missing"] == 0)
        & (found["elong"] <= 1.6)
        & (found["nneg"] <= 13)
        & (found["sumrat"] >= 0.4)
        & (wide <= 7.0)
        & (magnitude_error <= 0.217)
        & (magdiff > -0.4)
        & (magdiff < 0.75)
    )


def _search(rng: np.random.Generator, frame: Searchable, psf: PSF, recipe: Recipe, pointing: Pointing) -> Candidates:
    """Detect on the difference, away from sides that are no chip edge, and apply the survey's cuts."""
    found = detect(frame, recipe.threshold)
    keep = _inside(found, pointing, recipe.side)
    if recipe.vetted:
        keep &= vet(found, psf.fwhm_px)
    kept = np.flatnonzero(keep)
    if kept.size > recipe.most_alerts:
        kept = np.sort(rng.choice(kept, recipe.most_alerts, replace=False))
    return found.where(kept)


def _inside(found: Candidates, pointing: Pointing, side: int) -> NDArray[np.bool_]:
    low_x, high_x, low_y, high_y = _chip_edges(pointing)
    x, y = np.round(found["x"]), np.round(found["y"])
    return np.asarray(
        (x >= (0 if low_x else EDGE))
        & (x <= side - 1 - (0 if high_x else EDGE))
        & (y >= (0 if low_y else EDGE))
        & (y <= side - 1 - (0 if high_y else EDGE))
    )


def _chip_edges(pointing: Pointing) -> tuple[bool, bool, bool, bool]:
    """Which sides of the frame are edges of the chip: left, right, lower, upper."""
    return pointing.tile[0] == 0, pointing.tile[0] == 2, pointing.tile[1] == 0, pointing.tile[1] == 2


def _corner(pointing: Pointing, side: int) -> tuple[int, int]:
    """x and y on the chip, counted from 1, of the frame's first pixel."""
    rows, columns = CHIP_SHAPE
    return 1 + pointing.tile[0] * (columns - side) // 2, 1 + pointing.tile[1] * (rows - side) // 2


def _ragged_edges(rng: np.random.Generator, pointing: Pointing, side: int) -> NDArray[np.bool_]:
    """Pixels at chip edges that the reference does not cover: a margin in blocks, of another depth each."""
    masked = np.zeros((side, side), bool)
    for view, edge in zip((masked.T, masked.T[::-1], masked, masked[::-1]), _chip_edges(pointing), strict=True):
        if edge:
            depths = int(rng.integers(0, 25)) + rng.integers(0, 2, side // BLOCK + 1) * int(rng.integers(2, 8))
            for block, depth in enumerate(depths):
                view[:depth, block * BLOCK : (block + 1) * BLOCK] = True
    return masked


def _on_science_grid(damage: Damage, how: Conditions, side: int) -> tuple[NDArray[np.bool_], NDArray[np.uint16]]:
    """Masks and marks of the reference, moved by whole pixels."""
    dx, dy = (round(float(shift)) for shift in how.solution.terms[:, 0])
    rows, columns = np.arange(side) - dy + PAD, np.arange(side) - dx + PAD
    grid = np.ix_(np.clip(rows, 0, side + 2 * PAD - 1), np.clip(columns, 0, side + 2 * PAD - 1))
    return damage.masked[grid], damage.bits[grid]


def _surroundings(
    scene: Scene, how: Conditions, reference: Reference, frame: Frame, template_bits: NDArray[np.uint16],
    masked: NDArray[np.bool_],
) -> Surroundings:  # fmt: skip
    """Gather what detections are judged against."""
    stars, galaxies = scene.stars, scene.galaxies
    steady = [e for e in scene.events if e.kind == "variable" and e.host < 0]
    x = np.concatenate([stars.x + stars.moved_x, galaxies.x, [e.x for e in steady]])
    y = np.concatenate([stars.y + stars.moved_y, galaxies.y, [e.y for e in steady]])
    mag = np.concatenate([stars.mag, galaxies.mag, [e.mag for e in steady]])
    dx, dy = how.mapping.shift(x, y, scene.side)
    wrong = how.solution.shift(x, y, scene.side) - np.array([dx, dy])
    wrong[:, : stars.x.size] -= np.array([stars.moved_x, stars.moved_y])
    sources = np.stack([x + dx, y + dy, 10.0 ** (-0.4 * (mag - how.zero_point))], axis=1)
    return Surroundings(
        changes=_changes(scene, how, reference),
        science_bits=frame.damage.bits,
        template_bits=template_bits,
        masked=masked,
        sources=sources,
        displaced=np.hypot(*wrong),
        fwhm_px=how.psf.fwhm_px,
    )


def _changes(scene: Scene, how: Conditions, reference: Reference) -> list[Change]:
    """Every true change of this exposure."""
    out = []
    for event in scene.events:
        x, y = event.place(how.jd)
        flux = event.flux(how.jd, how.zero_point) - event.reference_flux(reference.epochs, how.zero_point)
        dx, dy = how.mapping.shift(np.array([x]), np.array([y]), scene.side)
        out.append(Change(event, x + float(dx[0]), y + float(dy[0]), flux))
    return out


def _packets(
    rng: np.random.Generator, pointing: Pointing, recipe: Recipe, reference: Reference, seen: Observed,
    matcher: Matcher, objects: Objects, visits: list[Visit],
) -> Iterator[Simulated]:  # fmt: skip
    """A packet and its truth for each detection of an exposure."""
    sheet = _sheet(rng, pointing, recipe, reference, seen)
    for row, verdict in enumerate(seen.verdicts):
        record = candidate_record(sheet, seen.found, row, row, verdict, matcher, rng)
        place = seen.found["x"][row] - sheet.shift[0], seen.found["y"][row] - sheet.shift[1]
        known = objects.at(*place)
        if known is None:
            known = objects.add(*place)
            known.rows, known.found, known.first_jd = earlier_rows(rng, verdict, visits, record, sheet.zero_point)
        known.found += 1
        record |= {"ndethist": known.found, "jdstarthist": known.first_jd, "jdendhist": record["jd"]}
        forced = forced_rows(rng, verdict, visits, record, sheet.zero_point)
        packet = build(sheet, record, known.name, known.rows, forced)
        known.rows = [*known.rows, encode_row({name: record.get(name) for name in HISTORY})]
        yield Simulated(packet, _truth(pointing, recipe, seen, record, known, verdict))


def _truth(
    pointing: Pointing, recipe: Recipe, seen: Observed, record: dict[str, Any], known: KnownObject, verdict: Verdict
) -> Truth:
    run_name = f"{pointing.seed}/{pointing.serial}"
    change = verdict.change
    mag = math.nan if change is None else record["magzpsci"] - 2.5 * math.log10(abs(change.flux))
    host = f"{run_name}/galaxy{change.event.host}" if change is not None and change.event.host >= 0 else ""
    return Truth(
        candid=record["candid"], object_id=known.name, real=verdict.real, kind=verdict.kind, snr=record["scorr"],
        magpsf=record["magpsf"], true_mag=mag, sign=1 if record["isdiffpos"] == "t" else -1, exposure=record["pid"],
        night=pointing.night, field=pointing.field, detector=pointing.detector, band=BANDS[pointing.band],
        seeing_px=seen.frame.conditions.psf.fwhm_px, source=f"{run_name}/{verdict.source}" if verdict.source else "",
        host=host, recipe=recipe.name,
    )  # fmt: skip


def _sheet(rng: np.random.Generator, pointing: Pointing, recipe: Recipe, reference: Reference, seen: Observed) -> Sheet:
    """What the packets of an exposure share: stamps to cut from and the columns of the image."""
    how, difference = seen.frame.conditions, seen.subtracted.frame.difference
    gone = ~np.isfinite(difference)
    level = how.sky_dn * float(np.exp(recipe.pedestal_spread * rng.normal(-0.7, 1.0)) - 1.0)
    science = np.where(gone, np.nan, seen.frame.image + level)
    template = np.where(gone, np.nan, seen.template + float(np.nanmedian(science[::4, ::4] - seen.template[::4, ::4])))
    solution = how.solution.terms
    return Sheet(
        stamps=(as_float32(science), as_float32(template), as_float32(difference)),
        corner=_corner(pointing, recipe.side),
        zero_point=how.zero_point,
        fwhm_px=QUOTED_WIDTH * seen.subtracted.psf.fwhm_px,
        columns=_image_columns(rng, pointing, recipe, reference, seen),
        shift=(float(solution[0, 0]), float(solution[1, 0])),
        turn=solution,
        centre=(pointing.ra, pointing.dec),
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
        **_calibration(rng, pointing.band, how.zero_point),
    }  # fmt: skip


def _calibration(rng: np.random.Generator, band: int, zero_point: float) -> dict[str, float]:
    """Columns of a photometric solution."""
    colour = {1: -0.06, 2: 0.09, 3: 0.01}[band] + float(rng.normal(0.0, 0.012))
    scatter = float(np.clip(np.exp(rng.normal(-3.4, 0.3)), 0.012, 0.1))
    return {
        "magzpsci": zero_point, "magzpsciunc": 3e-6 * scatter / 0.03, "magzpscirms": scatter,
        "clrcoeff": colour, "clrcounc": 9e-6, "zpclrcov": -5e-6, "zpmed": zero_point + 0.5 * colour,
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
        out.append(Visit(jd, limit, columns, encode_row({name: columns[name] for name in HISTORY})))
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

"""The packets of Rubin: what a frame's detections become under its schema 11.0, histories from the same frames.

Fluxes are nJy and keep their sign, times TAI at mid-exposure, the difference is science minus template for either sign.
`reliability` stays null, since it is another classifier's judgement; so do the orbits of the Minor Planet Center.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import erfa
import numpy as np

from realbogus import packets
from realbogus.simulation.exposure import DAY_S, Reference
from realbogus.simulation.history import Objects
from realbogus.simulation.photometry import forced
from realbogus.simulation.pointing import Observed, Pointing, Simulated
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.rubin.cutouts import cutouts
from realbogus.simulation.rubin.plate import ZERO_POINT_MAG, Plate, calibrated, to_njy
from realbogus.simulation.rubin.source import SCHEMA, measured
from realbogus.simulation.scene import ASTEROID, Scene
from realbogus.simulation.truth import Truth, Verdict

CHIP_SHAPE = (4000, 4072)  # rows, columns of a detector
DETECTORS = 189


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
        plate = calibrated(self.pointing, self.recipe, self.reference, seen, len(self.plates))
        self.plates.append(plate)
        for row, verdict in enumerate(seen.verdicts):
            source = measured(plate, seen, row, self._corner())
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
            **cutouts(plate, x, y, self._corner(), source),
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
        scale = to_njy(self.recipe, seen)
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

"""Print what a packet says, what a model thinks of it, and draw it.

How it is called: `realbogus.cli.calls.inspect`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from realbogus import packets
from realbogus.alerts import AlertBatch, Rejected, ScoredBatch
from realbogus.errors import ConfigError, ModelError
from realbogus.frame import HUGE
from realbogus.limits import Limits
from realbogus.model import Model, load_model
from realbogus.packets.schemas import SchemaStore
from realbogus.pictures import draw_alert, draw_triplets, verdict
from realbogus.policy import Policy
from realbogus.registry import Registry
from realbogus.resources import shipped
from realbogus.scoring import WANTED, score_batch
from realbogus.stamps import STAMPS, read_image
from realbogus.surveys import SURVEYS, recognise

TOP = 10  # contributions printed
MJD_ZERO = datetime(1858, 11, 17)


@dataclass(frozen=True)
class Stamp:
    """What is told of one stamp, as it came."""

    name: str
    rows: int
    columns: int
    missing: float  # share of pixels that are none


@dataclass(frozen=True)
class Judged:
    """What a model said of the alert."""

    scored: ScoredBatch
    contributions: NDArray[np.float64]  # (F,)

    def top(self, count: int) -> list[tuple[str, float, float]]:
        """Name, value and share of the features that counted most."""
        order = np.argsort(-np.abs(self.contributions), kind="stable")[:count]
        return [
            (self.scored.feature_names[at], float(self.scored.features[0, at]), float(self.contributions[at]))
            for at in order
        ]


def run(options: argparse.Namespace) -> int:
    """Read the packet, judge it where a model is at hand, and show both."""
    if not options.packet.is_file():
        raise ConfigError([f"there is no file {options.packet}"])
    alert, stamps = read_packet(options.packet, options.schema)
    if isinstance(alert, Rejected):
        return _show_rejected(alert, options.packet, as_json=options.json)
    model = _model_for(alert.survey, options.model, options.models)
    judged = _judge(alert, model) if model else None
    if options.json:
        print(json.dumps(as_dict(alert, stamps, judged), allow_nan=False))
    else:
        show(Console(highlight=False), alert, stamps, judged)
    if options.png:
        _draw(alert, judged, options.png)
    return 0


def read_packet(path: Path, bare_schema: str | None) -> tuple[AlertBatch | Rejected, list[Stamp]]:
    """Read one packet: a batch of one alert and its stamps, or why it is rejected."""
    limits = Limits()
    with path.open("rb") as file:
        message = file.read(limits.message_bytes + 1)
    decoded, rejected = packets.read(
        [message], wanted=WANTED, recognise=recognise, store=SchemaStore(), limits=limits, bare_schema=bare_schema
    )
    if not decoded:
        return rejected[0], []
    alerts, refused = SURVEYS[decoded[0].survey].to_batch(decoded[0], limits)
    if refused:
        return refused[0], []
    spans = decoded[0].blobs[0].tolist()
    data = decoded[0].messages[0]
    images = [read_image(data[offset : offset + length], limits.stamp_bytes) for offset, length in spans]
    return alerts, [_stamp(name, image) for name, image in zip(STAMPS, images, strict=True)]


def _stamp(name: str, image: NDArray[np.float32]) -> Stamp:
    with np.errstate(invalid="ignore"):
        return Stamp(name, image.shape[0], image.shape[1], float(1 - (np.abs(image) <= HUGE).mean()))


def _model_for(survey: str, spec: str | None, folder: Path | None) -> Model | None:
    """The model asked for, or the promoted one if there is one for this survey."""
    registry = Registry(folder or shipped("models"))
    if spec is not None:
        return load_model(Path(spec)) if Path(spec).is_dir() else registry.load(spec)
    try:
        current = registry.current()
    except ModelError as problem:
        print(f"realbogus: {problem}; the packet is shown without a score", file=sys.stderr)
        return None
    model = registry.load(current)
    if survey in model.surveys:
        return model
    print(f"realbogus: {current} is not for {survey}; the packet is shown without a score", file=sys.stderr)
    return None


def _judge(alert: AlertBatch, model: Model) -> Judged:
    scored = score_batch(alert, model, Policy())
    return Judged(scored, model.contributions(scored.features)[0])


# showing


def _show_rejected(rejected: Rejected, path: Path, *, as_json: bool) -> int:
    if as_json:
        told = {"rejected": str(rejected.reason), "detail": rejected.detail, "survey": rejected.survey}
        print(json.dumps(told | {"candid": rejected.candid, "object_id": rejected.object_id}))
    else:
        which = f" ({rejected.survey} {rejected.candid or ''})".replace(" )", ")") if rejected.survey else ""
        Console(highlight=False, soft_wrap=True).print(
            f"[bold red]rejected[/]: {escape(path.name)}{escape(which)}\n"
            f"reason: {rejected.reason}\ndetail: {escape(_printable(rejected.detail))}"
        )
    return 1


def show(console: Console, alert: AlertBatch, stamps: list[Stamp], judged: Judged | None) -> None:
    """Print the alert for a person."""
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    table.add_column()
    for name, text in _lines(alert, stamps):
        table.add_row(name, escape(text))
    console.print(table)
    if judged is not None:
        _show_judged(console, judged)


def _lines(alert: AlertBatch, stamps: list[Stamp]) -> list[tuple[str, str]]:
    survey = SURVEYS[alert.survey]
    value = {name: float(column[0]) for name, column in alert.columns.items()}
    own = [f"{title} {value[name]:.4f}" for name, title in survey.own_scores.items() if math.isfinite(value[name])]
    sky = f"{value['ra_deg']:.7f} {value['dec_deg']:+.7f} deg, ±{value['position_error_arcsec']:.2f} arcsec"
    return [
        ("object", _printable(alert.object_id[0]) or "none"),
        ("candid", str(alert.candid[0])),
        ("survey", f"{survey.title}, schema {alert.schema[0]}"),
        ("position", sky),
        ("mid-exposure", f"{_iso(value['mjd'])} UTC, MJD {value['mjd']:.6f}, {value['exposure_s']:.0f} s"),
        ("brightness", _brightness(value, alert.band[0])),
        ("seeing", _seeing(value["psf_fwhm_px"], survey.pixel_arcsec)),
        ("survey's own", ", ".join(own) or "no score"),
        *((f"{stamp.name} stamp", _size(stamp)) for stamp in stamps),
    ]


def _brightness(value: dict[str, float], band: str) -> str:
    sign = "brighter" if value["diff_sign"] > 0 else "fainter"
    told = [f"{value['mag_psf']:.2f} ± {value['mag_psf_err']:.2f} mag"] if math.isfinite(value["mag_psf"]) else []
    told += [f"S/N {value['snr_psf']:.1f}"] if math.isfinite(value["snr_psf"]) else []
    return ", ".join([f"band {band or 'unknown'}", *told, f"{sign} than the template"])


def _seeing(fwhm_px: float, pixel_arcsec: float) -> str:
    return f"{fwhm_px:.2f} px, {fwhm_px * pixel_arcsec:.2f} arcsec FWHM" if math.isfinite(fwhm_px) else "unknown"


def _size(stamp: Stamp) -> str:
    return f"{stamp.rows} x {stamp.columns} px" + (f", {stamp.missing:.1%} missing" if stamp.missing else "")


def _iso(mjd: float) -> str:
    return (MJD_ZERO + timedelta(days=mjd)).isoformat(sep=" ", timespec="seconds")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _show_judged(console: Console, judged: Judged) -> None:
    scored = judged.scored
    colour = "green" if scored.forward[0] else "red"
    model = scored.model
    console.print(
        f"\n[bold {colour}]{verdict(scored, 0)}[/]  threshold {model.threshold:.6f}, "
        f"{model.name}/{model.version}, sha256 {model.sha256[:12]}"
    )
    table = Table("feature", "value", "share of the score", box=None, padding=(0, 3, 0, 0), header_style="dim")
    for name, value, share in judged.top(TOP):
        table.add_row(name, f"{value:.4g}", f"[{'green' if share >= 0 else 'red'}]{share:+.4f}[/]")
    console.print(table)


def as_dict(alert: AlertBatch, stamps: list[Stamp], judged: Judged | None) -> dict[str, Any]:
    """The same as JSON values; what is undefined or infinite is null."""
    told: dict[str, Any] = {
        "candid": int(alert.candid[0]),
        "object_id": alert.object_id[0],
        "survey": alert.survey,
        "schema": alert.schema[0],
        "band": alert.band[0],
        "columns": {name: _finite(column[0]) for name, column in alert.columns.items()},
        "stamps": [vars(stamp) for stamp in stamps],
    }
    return told if judged is None else told | {"judged": _judged_dict(judged)}


def _judged_dict(judged: Judged) -> dict[str, Any]:
    scored = judged.scored
    names = scored.feature_names
    return {
        "score": float(scored.score[0]),
        "p_real": _finite(scored.p_real[0]),
        "decision": "real" if scored.forward[0] else "bogus",
        "threshold": scored.model.threshold,
        "model": {"name": scored.model.name, "version": scored.model.version, "sha256": scored.model.sha256},
        "features": dict(zip(names, map(_finite, scored.features[0]), strict=True)),
        "contributions": dict(zip(names, map(_finite, judged.contributions), strict=True)),
    }


def _finite(value: float | np.floating[Any]) -> float | None:
    return float(value) if math.isfinite(value) else None


def _draw(alert: AlertBatch, judged: Judged | None, path: Path) -> None:
    if judged is None:
        draw_triplets(alert.triplets, [f"{alert.object_id[0]} {alert.candid[0]}"], path)
    else:
        draw_alert(judged.scored, 0, path, contributions=judged.contributions)

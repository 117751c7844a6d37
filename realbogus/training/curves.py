"""What a report draws: curves, bins and slices of scores, as plain lists that JSON can hold."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.training.evaluate import (
    LEAST,
    SNR_BINS,
    Real,
    auc,
    cut_at,
    ece,
    rounded,
    with_intervals,
)
from realbogus.training.examples import Examples

MOST_POINTS = 160  # of a curve
BINS = 10  # of a reliability diagram
Z = 1.959964  # standard deviations of a 95 % interval


def roc(score: Column, is_real: Real) -> list[list[float]]:
    """FPR and MDR at each number of bogus passed, thinned evenly in the logarithm, FPR rising."""
    bogus, real = np.sort(score[~is_real])[::-1], np.sort(score[is_real])
    count = len(bogus)
    passed = np.unique(np.geomspace(1, count, MOST_POINTS).astype(np.int64)) if count else np.array([], np.int64)
    passed = np.concatenate([[0], passed])[: count + 1]
    cut = np.concatenate([bogus, [-np.inf]])[passed]  # the highest score that is refused
    missed = np.searchsorted(real, cut, side="right") / max(len(real), 1)
    return [[round(float(k) / max(count, 1), 6), round(float(m), 6)] for k, m in zip(passed, missed, strict=True)]


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson (1927); (0, 1) of nothing."""
    if not of:
        return 0.0, 1.0
    share, z2 = hits / of, Z * Z
    middle, half = share + z2 / (2 * of), Z * np.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    low, high = (middle - half) / (1 + z2 / of), (middle + half) / (1 + z2 / of)
    return max(0.0, min(share, float(low))), min(1.0, max(share, float(high)))  # rounding may not lose the share


def reliability(p_real: Column, is_real: Real, bins: int = BINS) -> list[dict[str, Any]]:
    """Mean probability and share of real, with its interval, in bins of equal size."""
    found = []
    for rows in np.array_split(np.argsort(p_real, kind="stable"), min(bins, max(len(p_real), 1))):
        hits = int(is_real[rows].sum())
        low, high = wilson(hits, len(rows))
        found.append(
            {
                "p_real": rounded(p_real[rows].mean()),
                "share_real": rounded(hits / len(rows)),
                "low": rounded(low),
                "high": rounded(high),
                "rows": len(rows),
            }
        )
    return found


def slices(examples: Examples, score: Column, p_real: Column, fpr: float, seed: int) -> dict[str, Any]:
    """Figures by S/N, filter and seeing: axis -> slices, at the cut of this FPR over all rows."""
    cut = cut_at(fpr, score, examples.is_real)
    found = {}
    for axis, parts in conditions(examples).items():
        rows = [_slice(name, examples, score, p_real, inside, cut, seed) for name, inside in parts]
        if rows := [row for row in rows if row["rows"]]:
            found[axis] = rows
    return found


def conditions(examples: Examples) -> dict[str, list[tuple[str, NDArray[np.bool_]]]]:
    """The ways to divide rows by their conditions: axis -> (name, mask). Rows without a value are in no slice."""
    snr = [(_range(low, high), (examples.snr >= low) & (examples.snr < high)) for low, high in SNR_BINS]
    bands = [(band, examples.band == band) for band in np.unique(examples.band).tolist() if band]
    found = {"S/N": snr, "filter": bands}
    seeing = examples.context.get("psf_fwhm_px", np.full(len(examples), np.nan))
    known = seeing[np.isfinite(seeing)]
    if len(known) >= 3 * LEAST:
        edges = np.unique([round(float(edge), 2) for edge in np.quantile(known, [1 / 3, 2 / 3])])
        sides = np.concatenate([[-np.inf], edges, [np.inf]])
        within = [(_range(a, b), (seeing >= a) & (seeing < b)) for a, b in pairwise(sides)]
        found["seeing, FWHM in pixels"] = within
    if len(sources := np.unique(examples.source).tolist()) > 1:
        found["source of the label"] = [(source, examples.source == source) for source in sources]
    return found


def _slice(
    name: str, examples: Examples, score: Column, p_real: Column, inside: NDArray[np.bool_], cut: float, seed: int
) -> dict[str, Any]:
    rows, is_real = np.flatnonzero(inside), examples.is_real
    real = is_real[rows]

    def figures(chosen: NDArray[np.int64]) -> dict[str, float]:
        i = rows[chosen]
        above, true = score[i] >= cut, is_real[i]
        return {
            "auc": auc(score[i], true),
            "mdr": float((~above[true]).mean()) if true.any() else np.nan,
            "fpr": float(above[~true].mean()) if (~true).any() else np.nan,
        }

    told: dict[str, Any] = {"name": name, "rows": len(rows), "real": int(real.sum()), "bogus": int((~real).sum())}
    if min(told["real"], told["bogus"]) >= LEAST:
        told |= with_intervals(figures, examples.group[rows], seed)
        told["ece"] = rounded(ece(p_real[rows], real, bins=min(BINS, len(rows) // LEAST)))
    return told


def classes(examples: Examples, score: Column, fpr: float) -> list[dict[str, Any]]:
    """Each class of bogus and of real: share above the cut of this FPR, and how well it is told from the other side."""
    cut, is_real, found = cut_at(fpr, score, examples.is_real), examples.is_real, []
    for real in (False, True):
        for kind in np.unique(examples.kind[is_real == real]).tolist():
            inside = (examples.kind == kind) & (is_real == real)
            passed = int((score[inside] >= cut).sum())
            low, high = wilson(passed, int(inside.sum()))
            against = inside | (is_real != real)
            found.append(
                {
                    "real": real,
                    "kind": kind or "not told",
                    "rows": int(inside.sum()),
                    "passed": rounded(passed / inside.sum()),
                    "low": rounded(low),
                    "high": rounded(high),
                    "auc": rounded(auc(score[against], is_real[against])),
                }
            )
    return found


def monotonic_in_snr(rows: Iterable[dict[str, Any]]) -> bool:
    """Whether no S/N bin misses significantly more real alerts than one of lower S/N."""
    told = [row["mdr"] for row in rows if "mdr" in row]
    return all(later["low"] <= earlier["high"] for i, earlier in enumerate(told) for later in told[i + 1 :])


def _range(low: float, high: float) -> str:
    if np.isinf(low):
        return f"below {high:g}"
    return f"from {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"

"""How like the real thing are simulated alerts? A forest that tries to tell them apart, and the marginals of columns.

For each class (real, bogus) extra trees learn to tell real packets from simulated ones, cross-validated by exposure:
AUC 0.5 = they cannot, 1 = they always can. What they used is named. Lopez-Paz and Oquab (2017) call it the classifier
two-sample test. It judges the simulator, so it reads whatever is asked of it; nothing it learns goes into a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import GroupKFold, cross_val_predict

from realbogus.alerts import COLUMNS, DIFFERENCE, SCIENCE, TEMPLATE, AlertBatch, Column, Matrix
from realbogus.errors import LabelError
from realbogus.features import extract
from realbogus.training.examples import LabelSet

Floats = NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
POINTLESS = (  # columns in which simulated nights differ by their plan, not by their look
    "ra_deg", "dec_deg", "mjd", "exposure_s", "chip_x_px", "chip_y_px", "detector", "diff_sign",
    "survey_rb", "survey_drb",
)  # fmt: skip
OFTEN_MISSING = 0.2  # share of real packets from which a quantity is kept out: it would tell the schema's version
LAGS = {"x1": (0, 1), "y1": (1, 0), "x2": (0, 2), "y2": (2, 0), "d1": (1, 1)}  # rows, columns
MISSING = -1e6  # stands for NaN in the forest: a value that no feature has
TREES = 200
MOST = 1500  # rows a class and side in the forest: enough for the AUC, and no more time than needed
BINS = 30
SHOWN = 20  # of the quantities that separate


@dataclass(frozen=True)
class Sample:
    """Alerts of one origin: what is compared."""

    names: tuple[str, ...]
    values: Matrix  # (N, F), NaN = undefined
    is_real: NDArray[np.bool_]  # (N,)
    group: NDArray[np.str_]  # (N,) exposures: kept together in the cross-validation

    def only(self, names: Sequence[str]) -> Sample:
        """Some of its quantities."""
        at = [self.names.index(name) for name in names]
        return Sample(tuple(names), self.values[:, at], self.is_real, self.group)

    def of_class(self, real: bool) -> Sample:
        """Those of one class."""
        rows = self.is_real == real
        return Sample(self.names, self.values[rows], self.is_real[rows], self.group[rows])


def sample_of(batches: Iterable[AlertBatch], labels: LabelSet, features: Sequence[str]) -> Sample:
    """The labelled alerts of some batches: features, columns of the packets, statistics of the stamps.

    Raises LabelError where none has a label.
    """
    parts = []
    for batch in batches:
        rows = [row for row, candid in enumerate(batch.candid.tolist()) if candid in labels.by_candid]
        if rows:
            parts.append(_part(batch, np.array(rows), labels, features))
    if not parts:
        raise LabelError("none of these packets has a label")
    return joined(parts)


def joined(samples: Sequence[Sample]) -> Sample:
    """Several samples of the same quantities as one."""
    parts = [np.concatenate([getattr(one, name) for one in samples]) for name in ("values", "is_real", "group")]
    return Sample(samples[0].names, parts[0], parts[1], parts[2])


def _part(batch: AlertBatch, rows: NDArray[np.intp], labels: LabelSet, features: Sequence[str]) -> Sample:
    told = [labels.by_candid[candid] for candid in batch.candid[rows].tolist()]
    known = [name for name in COLUMNS if name not in POINTLESS]
    statistics = stamp_statistics(batch)
    values: list[Matrix | Column] = [
        extract(batch, features)[rows],
        *(batch.columns[name][rows, None] for name in known),
    ]
    values += [column[rows, None] for column in statistics.values()]
    names = (*features, *(f"column {name}" for name in known), *(f"stamp {name}" for name in statistics))
    times = batch.columns["mjd"][rows]
    return Sample(
        names, np.concatenate(values, axis=1, dtype=np.float64).astype(np.float32),
        np.array([label.is_real for label in told]), np.array([f"{time:.6f}" for time in times]),
    )  # fmt: skip


@dataclass(frozen=True)
class Marginal:
    """How one quantity is distributed in real and in simulated alerts."""

    name: str
    distance: float  # of Kolmogorov and Smirnov, 0 to 1; NaN where one side has no value
    real: tuple[float, ...]  # QUANTILES
    simulated: tuple[float, ...]
    missing: tuple[float, float]  # share of NaN, real and simulated
    edges: tuple[float, ...]  # of the bins
    counts: tuple[tuple[float, ...], tuple[float, ...]]  # shares in the bins, real and simulated


@dataclass(frozen=True)
class Comparison:
    """One class, real packets against simulated."""

    title: str
    rows: tuple[int, int]
    auc: float  # on everything that most real packets have
    auc_features: float  # on the features that a model reads
    left_out: tuple[str, ...]  # quantities that too many real packets lack
    separating: tuple[tuple[str, float], ...]  # what the forest used, with its share of importance, most first
    marginals: tuple[Marginal, ...]


def compare(title: str, real: Sample, simulated: Sample, features: Sequence[str], seed: int = 0) -> Comparison:
    """Two-sample forests and all marginals of one class; features are the quantities that a model reads."""
    gone = np.mean(~np.isfinite(real.values), axis=0) > OFTEN_MISSING
    used = [name for name, missing in zip(real.names, gone, strict=True) if not missing]
    auc, importance = two_sample(real.only(used), simulated.only(used), seed)
    known = [name for name in features if name in used]
    on_features, _ = two_sample(real.only(known), simulated.only(known), seed)
    order = np.argsort(-importance, kind="stable")[:SHOWN]
    return Comparison(
        title, (len(real.is_real), len(simulated.is_real)), auc, on_features,
        tuple(sorted(set(real.names) - set(used))), tuple((used[k], float(importance[k])) for k in order),
        tuple(_marginal(name, real, simulated) for name in real.names),
    )  # fmt: skip


def two_sample(real: Sample, simulated: Sample, seed: int = 0) -> tuple[float, Floats]:
    """AUC with which extra trees tell the two apart, by exposure in four folds, and the importance of each quantity."""
    real, simulated = _at_most(real, seed), _at_most(simulated, seed)
    x = _filled(np.concatenate([real.values, simulated.values]))
    y = np.repeat([0, 1], [len(real.is_real), len(simulated.is_real)])
    groups = np.concatenate([np.char.add("real ", real.group), np.char.add("simulated ", simulated.group)])
    forest = ExtraTreesClassifier(TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed, n_jobs=1)
    p = cross_val_predict(forest, x, y, groups=groups, cv=GroupKFold(4), method="predict_proba")[:, 1]
    return float(roc_auc_score(y, p)), np.asarray(forest.fit(x, y).feature_importances_)


def transfer(simulated: Sample, real: Sample, seed: int = 0) -> dict[str, float]:
    """What a forest that saw simulated alerts alone is worth on real ones: AUC, and MDR at 5 and 10 % FPR."""
    forest = ExtraTreesClassifier(TREES, class_weight="balanced", random_state=seed, n_jobs=1)
    forest.fit(_filled(simulated.values), simulated.is_real)
    p = forest.predict_proba(_filled(real.values))[:, 1]
    fpr, tpr, _ = roc_curve(real.is_real, p)
    mdr = {f"mdr_at_fpr_{100 * at:g}": float(1.0 - np.interp(at, fpr, tpr)) for at in (0.01, 0.05, 0.10)}
    return {"auc": float(roc_auc_score(real.is_real, p)), **mdr}


def stamp_statistics(batch: AlertBatch) -> dict[str, Column]:
    """Noise, level, correlations and missing pixels of the three stamps of each alert: (N,) each.

    Correlations are those of pixels one or two apart, clipped at 3 sigma; DN as the survey gives them.
    """
    out: dict[str, Column] = {}
    for letter, channel in (("S", SCIENCE), ("T", TEMPLATE), ("D", DIFFERENCE)):
        stamp = batch.triplets[:, channel].astype(np.float64)
        level = np.nanmedian(stamp, axis=(1, 2))
        noise = 1.4826 * np.nanmedian(np.abs(stamp - level[:, None, None]), axis=(1, 2))
        z = np.clip((stamp - level[:, None, None]) / np.maximum(noise, 1e-9)[:, None, None], -3.0, 3.0)
        there = np.isfinite(z)
        out |= {f"{letter} level": level, f"{letter} noise": noise, f"{letter} missing": 1.0 - there.mean(axis=(1, 2))}
        out |= {f"{letter} correlation {name}": _correlation(z, there, *lag) for name, lag in LAGS.items()}
    return out


def as_json(comparisons: Sequence[Comparison], moved: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the report tells, as plain values."""
    return {
        "transfer_to_real": dict(moved),
        "classes": {
            one.title: {
                "rows_real": one.rows[0],
                "rows_simulated": one.rows[1],
                "two_sample_auc": round(one.auc, 4),
                "two_sample_auc_features": round(one.auc_features, 4),
                "left_out": list(one.left_out),
                "separating": [{"name": name, "importance": round(share, 4)} for name, share in one.separating],
                "marginals": {m.name: _plain(m) for m in one.marginals},
            }
            for one in comparisons
        },
    }


def _plain(one: Marginal) -> dict[str, Any]:
    numbers = {"real": one.real, "simulated": one.simulated}
    told = {side: [None if np.isnan(v) else float(f"{v:.5g}") for v in values] for side, values in numbers.items()}
    distance = None if np.isnan(one.distance) else round(one.distance, 3)
    return {"ks": distance, "quantiles": list(QUANTILES), **told, "missing": [round(v, 4) for v in one.missing]}


def _correlation(z: Floats, there: NDArray[np.bool_], down: int, right: int) -> Floats:
    rows, columns = z.shape[1:]
    filled = np.where(there, z, 0.0)
    product = (filled[:, : rows - down, : columns - right] * filled[:, down:, right:]).sum(axis=(1, 2))
    return np.asarray(product / np.maximum((filled**2).sum(axis=(1, 2)), 1e-9))


def _at_most(sample: Sample, seed: int) -> Sample:
    """No more rows than the forest needs, at random."""
    if len(sample.is_real) <= MOST:
        return sample
    rows = np.sort(np.random.default_rng(seed).permutation(len(sample.is_real))[:MOST])
    return Sample(sample.names, sample.values[rows], sample.is_real[rows], sample.group[rows])


def _filled(x: Matrix) -> Floats:
    return np.asarray(np.clip(np.where(np.isfinite(x), x, MISSING), MISSING, -MISSING), np.float64)


def _marginal(name: str, real: Sample, simulated: Sample) -> Marginal:
    column = real.names.index(name)
    sides = [sample.values[:, column].astype(np.float64) for sample in (real, simulated)]
    known = [side[np.isfinite(side)] for side in sides]
    told = [tuple(np.quantile(k, QUANTILES).tolist()) if k.size else (np.nan,) * len(QUANTILES) for k in known]
    both = np.concatenate(known)
    low, high = np.quantile(both, [0.01, 0.99]) if both.size else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts = [np.histogram(np.clip(k, edges[0], edges[-1]), edges)[0] / max(k.size, 1) for k in known]
    distance = float(ks_2samp(*known).statistic) if min(k.size for k in known) else float("nan")
    gone = tuple(float(np.mean(~np.isfinite(side))) for side in sides)
    return Marginal(
        name, distance, told[0], told[1], (gone[0], gone[1]), tuple(edges.tolist()),
        (tuple(counts[0].tolist()), tuple(counts[1].tolist())),
    )  # fmt: skip

"""Everything about how good a model is, as one JSON object: what `page` draws and machines read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus import __version__
from realbogus.alerts import Column
from realbogus.calibration import estimated_prior
from realbogus.errors import LabelError
from realbogus.model import Model
from realbogus.training import curves, evaluate, studies
from realbogus.training.baselines import BASELINES, baselines
from realbogus.training.card import made_of
from realbogus.training.evaluate import Real, auc, brier, ece, mdr_at, rounded, with_intervals
from realbogus.training.examples import Examples
from realbogus.training.fit import out_of_fold, weights
from realbogus.training.held_out import HeldOut
from realbogus.training.noise import noise_curve, noise_report
from realbogus.training.splits import SPLITS, UNTESTED, can_split, folds

Tell = Callable[[str], None]

FORMAT = 1  # of the object
CUT_FPR = 0.05  # at which slices and classes are told
FPRS = (0.001, 0.01, 0.05, 0.10)
WORST = 12  # alerts pictured of each sort
BASE_RATES = (1, 10, 100)  # bogus for each real alert, for which purity is told
CURVE_FOLDS = 5  # of learning and noise curves
OTHER_SPLITS = tuple(name for name in SPLITS if name not in ("exposures", "random"))


def steps(judged: HeldOut, quick: bool) -> int:
    """How many times `report` tells of work done, at most."""
    again = judged.recipe.folds * (1 + len(OTHER_SPLITS)) + len(BASELINES) + len(studies.SHARES) + 5
    return 12 + (again if judged.refitted and not quick else 0)


def report(
    model: Model,
    judged: HeldOut,
    *,
    rivals: Mapping[str, Column] | None = None,
    quick: bool = False,
    tell: Tell = lambda _: None,
    threads: int = 1,
) -> dict[str, Any]:
    """The evaluation of a model. rivals are scores (N,) of other models on the same rows, held out likewise.

    quick leaves out whatever needs further fits. Raises LabelError where a class is missing.
    """
    examples, score, seed = judged.examples, judged.score, judged.recipe.seed
    is_real = examples.is_real
    if not (is_real.any() and (~is_real).any()):
        raise LabelError("both real and bogus rows are needed to judge a model")
    others = {**examples.references, **(rivals or {})}
    found: dict[str, Any] = {
        "format": FORMAT,
        "realbogus": __version__,
        "model": _model(model),
        "data": data(examples),
        "judged": {"how": judged.how, "warnings": list(judged.warnings), "refitted": judged.refitted},
        "claims_at_1_percent": bool(examples.simulated().all()),
        "figures": with_intervals(lambda i: figures(score[i], judged.p_real[i], is_real[i]), examples.group, seed),
        "roc": {"ours": curves.roc(score, is_real), **{n: _roc(c, is_real) for n, c in others.items() if _known(c)}},
        "thresholds": thresholds(examples, score, seed),
        "slices": curves.slices(examples, score, judged.p_real, CUT_FPR, seed),
        "classes": curves.classes(examples, score, CUT_FPR),
        "subsets": evaluate.subsets(examples, score, seed),
        "calibration": calibration(examples, judged.p_real, model.calibration.prior),
        "paired": evaluate.paired(examples, score, others, seed),
        "importance": studies.importance(judged, seed, tell),
        "strongest": studies.strongest(judged),
        "disagreement": studies.disagreement(judged),
        "label_noise": noise_report(examples, judged.p_real),
        "worst": worst(judged),
    }
    if model.novelty is not None:
        found["novelty"] = novelty(model, judged)
    if judged.refitted and not quick:
        found |= _with_fits(judged, tell, threads)
    found["acceptance"] = acceptance(found)
    return found


def figures(score: Column, p_real: Column, is_real: Real) -> dict[str, float]:
    """The figures of merit of a report."""
    missed = {f"mdr_at_fpr_{100 * fpr:g}": mdr_at(fpr, score, is_real) for fpr in FPRS}
    fpr = fpr_at_mdr(0.01, score, is_real)
    return {
        "auc": auc(score, is_real),
        **missed,
        "fpr_at_mdr_1": fpr,
        "brier": brier(p_real, is_real),
        "ece": ece(p_real, is_real),
    }


def fpr_at_mdr(mdr: float, score: Column, is_real: Real) -> float:
    """Share of bogus passed by the highest cut that misses at most this share of real alerts."""
    real, bogus = np.sort(score[is_real]), score[~is_real]
    if not (len(real) and len(bogus)):
        return float("nan")
    return float((bogus >= real[int(np.floor(mdr * len(real) + 1e-9))]).mean())


def data(examples: Examples) -> dict[str, Any]:
    """What the rows are."""
    is_real = examples.is_real
    return {
        "rows": len(examples),
        "real": int(is_real.sum()),
        "bogus": int((~is_real).sum()),
        "groups": len(np.unique(examples.group)),
        "nights": len(np.unique(examples.night)),
        "surveys": np.unique(examples.survey).tolist(),
        "sources": {source: int((examples.source == source).sum()) for source in np.unique(examples.source).tolist()},
        "first_mjd": rounded(examples.mjd.min()),
        "last_mjd": rounded(examples.mjd.max()),
        "label_rules": list(examples.rules),
        "sha256": examples.sha256(),
    }


def thresholds(examples: Examples, score: Column, seed: int) -> list[dict[str, Any]]:
    """The table of cuts, with the purity of what they pass at several base rates."""
    table = evaluate.threshold_table(examples, score, seed)
    for entry in table:
        kept, passed = 1 - entry["mdr"]["value"], entry["fpr"]
        entry["purity"] = {f"1:{rate}": rounded(kept / max(kept + rate * passed, 1e-12)) for rate in BASE_RATES}
    return table


def calibration(examples: Examples, p_real: Column, prior: float) -> dict[str, Any]:
    """The reliability diagram, overall and by filter and S/N, and the prior that p_real itself gives away."""
    by = {}
    for axis, parts in curves.conditions(examples).items():
        told = []
        for name, inside in parts:
            if inside.sum() >= 2 * evaluate.LEAST:
                p, real = p_real[inside], examples.is_real[inside]
                bins = min(curves.BINS, len(p) // evaluate.LEAST)
                told.append(
                    {
                        "name": name,
                        "rows": len(p),
                        "mean_p_real": rounded(p.mean()),
                        "share_real": rounded(real.mean()),
                        "ece": rounded(ece(p, real, bins)),
                    }
                )
        by[axis] = told
    return {
        "bins": curves.reliability(p_real, examples.is_real),
        "by": by,
        "training_prior": rounded(prior),
        "estimated_prior": rounded(estimated_prior(p_real, prior)),
        "share_real": rounded(examples.is_real.mean()),
    }


def worst(judged: HeldOut, count: int = WORST) -> dict[str, list[dict[str, Any]]]:
    """The real alerts with the lowest scores, and the bogus ones with the highest."""
    order, is_real = np.argsort(judged.score, kind="stable"), judged.examples.is_real
    return {
        "misses": [_alert(judged, row) for row in order[is_real[order]][:count].tolist()],
        "false_alarms": [_alert(judged, row) for row in order[~is_real[order]][::-1][:count].tolist()],
    }


def novelty(model: Model, judged: HeldOut, count: int = 6) -> dict[str, Any]:
    """How novelty is spread over real and bogus, and the most novel alerts of all."""
    if model.novelty is None:
        raise LabelError(f"{model.id.name}/{model.id.version} has no novelty")
    told, is_real = model.novelty(judged.examples.X), judged.examples.is_real
    most = np.argsort(-told, kind="stable")[:count].tolist()
    sides = {"real": told[is_real], "bogus": told[~is_real]}
    return {
        "quantiles": {
            side: {f"{share:g}": rounded(np.quantile(values, share)) for share in (0.1, 0.5, 0.9, 0.99)}
            for side, values in sides.items()
        },
        "rank_correlation_with_score": rounded(_rank_correlation(told, judged.score)),
        "most": [{**_alert(judged, row), "novelty": rounded(told[row])} for row in most],
    }


def acceptance(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tests that a report answers, each with what was found and whether it passes."""
    rows = []
    snr = found["slices"].get("S/N", [])
    if sum("mdr" in row for row in snr) > 1:
        told = ", ".join(f"{row['name']}: {100 * (1 - row['mdr']['value']):.1f} %" for row in snr if "mdr" in row)
        rows.append(_row("recall does not fall with S/N, within errors", told, curves.monotonic_in_snr(snr)))
    kinds = [row for row in found["classes"] if not row["real"]]
    rows.append(
        _row("every class of bogus is told", f"{len(kinds)} classes of {found['data']['bogus']} alerts",
             sum(row["rows"] for row in kinds) == found["data"]["bogus"])
    )  # fmt: skip
    ece_found = found["figures"]["ece"]
    rows.append(
        _row("calibrated: ECE at most 0.03, or not significantly above", _interval(ece_found), ece_found["low"] <= 0.03)
    )
    if "leakage" in found:
        gap = found["leakage"]["random_minus_grouped"]["auc"]
        title = f"leakage: random minus grouped AUC not above {studies.LEAK_ALARM:g}"
        rows.append(_row(title, _interval(gap), not found["leakage"]["alarm"]))
    if "noise_curve" in found:
        at = {entry["share"]: entry["mdr_at_fpr_5"] for entry in found["noise_curve"]}
        lost = at[0.1] - at[0.0]
        rows.append(_row("10 % wrong labels cost at most 0.05 of MDR at 5 % FPR", f"{lost:+.3f}", lost <= 0.05))
    return rows


def _with_fits(judged: HeldOut, tell: Tell, threads: int) -> dict[str, Any]:
    """What needs forests of the same recipe fitted on other parts of the rows."""
    examples, recipe, seed = judged.fitted_on(), judged.recipe, judged.recipe.seed
    splits = {"exposures": _split(judged.examples, judged.score, seed)}
    for split in [name for name in OTHER_SPLITS if can_split(examples, name)]:
        fold = folds(examples, split, recipe.folds, seed)
        score, tested = out_of_fold(examples, fold, recipe, tell, threads), fold != UNTESTED
        splits[split] = _split(examples.rows(tested), score[tested], seed)
    leak = studies.leakage(examples, judged.score, recipe, tell, threads)
    simpler = baselines(judged.examples, weights(judged.examples, recipe), judged.fold, seed, tell)
    few = folds(examples, "exposures", CURVE_FOLDS, seed)
    return {
        "splits": splits,
        "leakage": leak,
        "baselines": evaluate.paired(judged.examples, judged.score, simpler.scores, seed),
        "best_single_feature": simpler.single,
        "learning_curve": studies.learning_curve(examples, few, recipe, tell, threads),
        "noise_curve": noise_curve(examples, few, recipe, tell, threads),
    }


def _split(examples: Examples, score: Column, seed: int) -> dict[str, Any]:
    told = with_intervals(lambda i: studies.figures_of(score[i], examples.is_real[i]), examples.group, seed)
    return {"rows": len(examples), "real": int(examples.is_real.sum()), "bogus": int((~examples.is_real).sum()), **told}


def _model(model: Model) -> dict[str, Any]:
    return {
        "name": model.id.name,
        "version": model.id.version,
        "sha256": model.id.sha256,
        "made_of": made_of(model.manifest),
        "features": len(model.feature_names),
        "feature_set": model.manifest["features"]["set"],
        "surveys": list(model.surveys),
        "threshold": model.id.threshold,
        "trained_on": dict(model.manifest["training"].get("counts", {})),
    }


def _alert(judged: HeldOut, row: int) -> dict[str, Any]:
    examples = judged.examples
    return {
        "candid": int(examples.candid[row]),
        "real": bool(examples.is_real[row]),
        "kind": str(examples.kind[row]),
        "band": str(examples.band[row]),
        "snr": rounded(examples.snr[row]),
        "score": rounded(judged.score[row]),
        "p_real": rounded(judged.p_real[row]),
        "others": {name: rounded(column[row]) for name, column in examples.references.items()},
    }


def _roc(theirs: Column, is_real: Real) -> list[list[float]]:
    known = np.isfinite(theirs)
    return curves.roc(theirs[known], is_real[known])


def _known(column: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(column).sum() >= 2 * evaluate.LEAST)


def _rank_correlation(a: Column, b: Column) -> float:
    first, second = (np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def _row(test: str, found: str, passed: bool) -> dict[str, Any]:
    return {"test": test, "found": found, "passed": bool(passed)}


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"

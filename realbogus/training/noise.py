"""Labels that may be wrong: which ones, how many, and what wrong ones cost. It reports and never removes.

After confident learning (Northcutt et al. 2021): a label is in doubt where the probability of the other class, held
out, is at least what is usual for true members of that class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Column
from realbogus.training.evaluate import Real, auc, mdr_at, rounded
from realbogus.training.examples import Examples
from realbogus.training.fit import Recipe, fit
from realbogus.training.splits import Folds

Tell = Callable[[str], None]

MOST = 0.05  # of all labels that are listed as suspect
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3)  # of labels turned wrong in the noise curve
OF_THEM_REAL = 0.8  # share of the wrong labels that call real alerts bogus: the usual mistake, by far


def suspects(p_real: Column, is_real: Real) -> NDArray[np.int64]:
    """Rows whose label is in doubt, the worst first; at most MOST of all. p_real (N,) must be held out."""
    if not (is_real.any() and (~is_real).any()):
        return np.array([], dtype=np.int64)
    usual_real, usual_bogus = p_real[is_real].mean(), (1 - p_real[~is_real]).mean()
    doubtful = np.where(is_real, 1 - p_real >= usual_bogus, p_real >= usual_real)
    against = np.where(is_real, 1 - p_real, p_real)
    order = np.argsort(-against, kind="stable")
    return np.asarray(order[doubtful[order]][: int(MOST * len(is_real))])


def noise_report(examples: Examples, p_real: Column) -> dict[str, Any]:
    """How many labels of each class are in doubt, and which: the manifest of a second look by a person."""
    rows = suspects(p_real, examples.is_real)
    real = examples.is_real[rows]
    return {
        "labels": len(examples),
        "called_real_look_bogus": int(real.sum()),
        "called_bogus_look_real": int((~real).sum()),
        "share": rounded(len(rows) / max(len(examples), 1)),
        "capped": len(rows) == int(MOST * len(examples)),
        "suspects": [
            {
                "candid": int(examples.candid[row]),
                "label": "real" if examples.is_real[row] else "bogus",
                "kind": str(examples.kind[row]),
                "p_real": rounded(p_real[row]),
            }
            for row in rows.tolist()
        ],
    }


def with_wrong_labels(examples: Examples, share: float, seed: int) -> Examples:
    """The same rows with this share of all labels turned round, OF_THEM_REAL of them real ones called bogus.

    Those of simulated rows beside packets stay: their truth is known.
    """
    random, counted = np.random.default_rng([seed, round(1000 * share)]), ~examples.helping()
    wrong = np.zeros(len(examples), dtype=np.bool_)
    for real, part in ((True, OF_THEM_REAL), (False, 1 - OF_THEM_REAL)):
        rows = np.flatnonzero(counted & (examples.is_real == real))
        count = min(round(share * part * counted.sum()), len(rows))
        wrong[random.choice(rows, count, replace=False)] = True
    return replace(examples, is_real=examples.is_real ^ wrong)


def noise_curve(
    examples: Examples, fold: Folds, recipe: Recipe, tell: Tell = lambda _: None, threads: int = 1
) -> list[dict[str, Any]]:
    """AUC and MDR on the labels as they are, of forests fitted on labels of which a share was turned wrong."""
    found = []
    for share in SHARES:
        score = np.full(len(examples), np.nan)
        for number in range(int(fold.max()) + 1):
            tested = fold == number
            table = with_wrong_labels(examples.rows(~tested), share, recipe.seed + number)
            score[tested] = fit(table, recipe, threads).score(examples.X[tested])
        tested = np.isfinite(score)
        figures = {"auc": auc(score[tested], examples.is_real[tested])}
        figures |= {f"mdr_at_fpr_{100 * f:g}": mdr_at(f, score[tested], examples.is_real[tested]) for f in (0.05, 0.1)}
        found.append({"share": share, **{name: rounded(value) for name, value in figures.items()}})
        tell(f"with {100 * share:g} % wrong labels")
    return found

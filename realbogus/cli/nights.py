"""What scored nights hold: their share of real alerts, and the cut for a budget, a purity or a false positive rate.

How it is called: `realbogus.cli.calls.nights`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from realbogus import tables
from realbogus.budget import Cut, ScoredNights, for_budget, for_fpr, for_purity
from realbogus.cli.examples import find_model
from realbogus.errors import ConfigError, LabelError
from realbogus.registry import Registry
from realbogus.resources import shipped

NOON = {"ztf": 0.5, "rubin": 0.0}  # d; from JD to a number that turns by day where the telescope stands


def run(options: argparse.Namespace) -> int:
    """Read, estimate, solve, tell."""
    _check(options)
    table = pa.concat_tables([tables.read(path) for path in options.scores])
    rows, survey, spec = _scored(table, options.survey)
    model = find_model(Registry(options.models or shipped("models")), options.model or spec)
    nights = _nights(table, rows, survey, model.calibration.prior)
    for line in describe(nights):
        print(json.dumps(line))
    if (cut := _cut(nights, options)) is not None:
        print(json.dumps({"survey": survey, "model": spec, "nights": nights.nights, **asdict(cut)}))
        _advise(cut)
    if options.out:
        tables.write([_restated(table, rows, nights)], _columns(table), options.out, kind=options.out.suffix)
    return 0


def describe(nights: ScoredNights) -> list[dict[str, Any]]:
    """Each night: alerts, exposures, its prior and how many real alerts that means."""
    prior, told = nights.priors(), []
    for night in np.unique(nights.night):
        inside = nights.night == night
        share = float(prior[inside][0])
        told.append(
            {
                "night_jd": int(night),
                "alerts": int(inside.sum()),
                "exposures": len(np.unique(nights.exposure[inside])),
                "prior": round(share, 6),
                "expected_real": round(share * int(inside.sum()), 1),
            }
        )
    return told


def _check(options: argparse.Namespace) -> None:
    problems = [f"{path}: no such file" for path in options.scores if not path.is_file()]
    if options.budget is not None and not options.budget >= 1:
        problems.append(f"--budget is {options.budget:g}; expected at least one alert a night")
    problems += [
        f"--{name} is {getattr(options, name):g}; expected 0 to 1"
        for name in ("purity", "fpr")
        if getattr(options, name) is not None and not 0 < getattr(options, name) < 1
    ]
    if problems:
        raise ConfigError(problems)
    for path in [*options.scores, *([options.out] if options.out else [])]:
        tables.require_format(path)


def _scored(table: pa.Table, survey: str | None) -> tuple[NDArray[np.int64], str, str]:
    """Rows that were scored, of one survey and one model."""
    scored = [score is not None and p is not None for score, p in zip(*_lists(table, "score", "p_real"), strict=True)]
    surveys, models = (np.array(values, dtype=object) for values in _lists(table, "survey", "model"))
    found = sorted(set(surveys[scored]))
    if not found:
        raise LabelError("the table holds no alert that was scored")
    if survey is None and len(found) > 1:
        raise LabelError(f"the table holds alerts of {', '.join(found)}: choose one by --survey")
    if survey not in (None, *found):
        raise LabelError(f"the table holds no scored alert of {survey}, but of {', '.join(found)}")
    rows = np.flatnonzero(np.array(scored, dtype=bool) & (surveys == (survey or found[0])))
    names = sorted(set(models[rows]))
    if len(names) != 1:
        raise LabelError(f"expected the scores of one model, found {', '.join(names)}")
    return rows, survey or found[0], names[0]


def _nights(table: pa.Table, rows: NDArray[np.int64], survey: str, trained_at: float) -> ScoredNights:
    score, p_real, jd = (np.array(values, dtype=object)[rows].astype(float) for values in _lists(table, *_NUMBERS))
    return ScoredNights(
        score=score,
        p_real=p_real,
        trained_at=trained_at,
        night=np.floor(jd - NOON.get(survey, 0.5)).astype(np.int64),
        exposure=np.unique(np.round(jd * 86400), return_inverse=True)[1],
    )


_NUMBERS = ("score", "p_real", "jd")


def _cut(nights: ScoredNights, options: argparse.Namespace) -> Cut | None:
    if options.budget is not None:
        return for_budget(nights, options.budget)
    if options.purity is not None:
        return for_purity(nights, options.purity)
    return for_fpr(nights, options.fpr) if options.fpr is not None else None


def _advise(cut: Cut) -> None:
    told = (
        f"[policy]\nthreshold = {cut.threshold:.6f}\n"
        f"# {cut.per_night.value:.1f} alerts a night ({cut.per_night.low:.0f} to {cut.per_night.high:.0f}), "
        f"purity {_percent(cut.purity)}, completeness {_percent(cut.completeness)}"
    )
    print(told, file=sys.stderr)


def _percent(found: Any) -> str:
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _restated(table: pa.Table, rows: NDArray[np.int64], nights: ScoredNights) -> pa.Table:
    """The table with two columns more, null where a row was not scored."""
    for name, values in (("prior_night", nights.priors()), ("p_real_night", nights.p_real_night())):
        column = np.full(len(table), np.nan)
        column[rows] = np.round(values, 6)
        table = table.append_column(pa.field(name, pa.float64()), pa.array(column, from_pandas=True))
    return table


def _columns(table: pa.Table) -> pa.Schema:
    more = [pa.field(name, pa.float64()) for name in ("prior_night", "p_real_night")]
    return pa.schema([*table.schema.remove_metadata(), *more])


def _lists(table: pa.Table, *names: str) -> list[list[Any]]:
    if missing := [name for name in names if name not in table.column_names]:
        raise LabelError(f"this is no table of scores: it has no column {', '.join(missing)}")
    return [table[name].to_pylist() for name in names]

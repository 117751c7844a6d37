"""List the feature catalogue: what each number means, its unit, range, rule for NaN and source.

How it is called: `realbogus.cli.calls.features`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence

from realbogus.features import CATALOGUE, FEATURE_SETS, Feature
from realbogus.features.table import page


def run(options: argparse.Namespace) -> int:
    """Print the features asked for."""
    names = FEATURE_SETS[options.set] if options.set else tuple(CATALOGUE)
    chosen = [CATALOGUE[name] for name in names if options.family in (None, CATALOGUE[name].family)]
    if options.markdown:
        print(page(chosen), end="")
    elif options.json:
        for feature in chosen:
            print(json.dumps(as_json(feature)))
    else:
        _print_table(chosen)
    return 0


def as_json(feature: Feature) -> dict[str, object]:
    """A feature as plain values; open ends of the range are null."""
    return {
        "name": feature.name,
        "family": feature.family,
        "definition": feature.definition,
        "unit": feature.unit,
        "range": [bound if math.isfinite(bound) else None for bound in (feature.low, feature.high)],
        "nan": feature.nan.split(),
        "stamps": list(feature.stamps),
        "columns": list(feature.columns),
        "surveys": list(feature.surveys),
        "source": feature.source,
        "caution": feature.caution,
        "version": feature.version,
        "sets": [name for name, members in FEATURE_SETS.items() if feature.name in members],
    }


def _print_table(features: Sequence[Feature]) -> None:
    for feature in features:
        span = f"{feature.low:g} to {feature.high:g} {feature.unit}".strip()
        print(f"{feature.family}  {feature.name:18s} {span:20s} {feature.nan:6s} {feature.definition}")
    print(f"{len(features)} features", file=sys.stderr)

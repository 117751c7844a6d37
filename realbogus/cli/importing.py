"""`realbogus models import`: a forest fitted elsewhere becomes a model of ours, judged on labelled packets.

How it is called: `realbogus.cli.calls.importing`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from realbogus import npz
from realbogus.cli.examples import data_problems, progress_bar, read_examples
from realbogus.errors import ConfigError, ModelError
from realbogus.features import FEATURE_SETS
from realbogus.forest import DTYPES, Forest
from realbogus.model import model_from
from realbogus.registry import Registry
from realbogus.training.imported import imported
from realbogus.training.package import package

LARGEST = 2**30  # bytes of arrays
PATIENCE_S = 600  # for the process that unpickles


def run(registry: Registry, options: argparse.Namespace) -> int:
    """Convert, judge, write."""
    problems = data_problems(options)
    if not options.i_trust_this_pickle:
        problems.append(f"reading {options.file} would run whatever it holds: say --i-trust-this-pickle if you do")
    if not options.file.is_file():
        problems.append(f"{options.file}: no such file")
    if problems:
        raise ConfigError(problems)
    spec = f"{options.name}/{options.version}"
    registry.check_new(spec)
    forest, told = read_forest(options.file)
    names = FEATURE_SETS[options.feature_set]
    if told["features"] != len(names) or told["names"] not in (None, list(names)):
        raise ModelError(
            f"{options.file} was fitted on {told['features']} features"
            f"{' of other names' if told['features'] == len(names) else ''}; {options.feature_set} has {len(names)}"
        )
    with progress_bar(Console(stderr=True)) as progress:
        table = read_examples(options, names, progress)
    files = package(
        options.name, options.version, options.feature_set, table, imported(forest, told, table, options.fpr)
    )
    model = model_from(files)
    folder = registry.add(spec, files)
    print(json.dumps({"model": spec, "folder": str(folder), "sha256": model.id.sha256, "real": told["real"]}))
    return 0


def read_forest(path: Path) -> tuple[Forest, dict[str, Any]]:
    """The forest of a pickle, by way of a process that is given nothing and believed nothing."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "arrays.npz")
        call = [sys.executable, "-m", "realbogus.training.foreign", str(path.resolve()), str(out)]
        done = subprocess.run(call, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode or not out.is_file():
            raise ModelError(f"{path} could not be read: {done.stderr.strip()[-500:] or 'its process ended'}")
        if out.stat().st_size > LARGEST:
            raise ModelError(f"{path}: more than {LARGEST} bytes of arrays")
        arrays = npz.from_bytes(out.read_bytes(), DTYPES)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        return Forest.from_arrays(arrays, int(told["features"])), dict(told)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise error if isinstance(error, ModelError) else ModelError(f"{path}: {error!r}") from error

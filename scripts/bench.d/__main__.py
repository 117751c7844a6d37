"""Measure realbogus beside its baselines, all in one run.

    scripts/bench                       everything but the soak, about ten minutes
    scripts/bench --short               under three minutes; exit code 1 below two thirds of the stated ratios
    scripts/bench --json bench.json     write the numbers, too
    scripts/bench --soak 1000000        afterwards scripts/soak with a million alerts, the memory curve as out/soak.png

Only ratios within one run can be trusted; other work on the machine disturbs wall time more than CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import corpus as corpora
import latency
import live
import numpy as np
import throughput
from baselines import Competent, Naive
from broker import running
from measure import Timed, interleaved
from report import Found, show
from rescoring import rescored
from rich.console import Console
from rich.progress import Progress
from stages import Inflate, Ours
from starts import starts

from realbogus.model import load_model
from realbogus.registry import Registry
from realbogus.resources import shipped

SOAK = Path(__file__).resolve().parents[1] / "soak.d"
WIDTH = 118  # columns of the tables, also where there is no terminal


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that broker and workers are ended, too
    console, talk = Console(), Console(stderr=True)
    console.width = max(console.width, WIDTH)
    say = partial(talk.print, highlight=False, style="dim")
    registry = Registry(shipped("models"))
    folder = options.model or registry.path(registry.current())
    say("loading the model and the alerts")
    model = load_model(folder)
    corpus = corpora.load(model)
    name = f"{model.id.name}/{model.id.version}"
    found = Found(
        corpus.source, corpus.mean_bytes, name, model.forest.trees, model.forest.nodes, model.forest.n_features
    )
    ours = Ours(corpus, model)
    in_memory(found, corpus, ours, options, say)
    if not options.memory_only:
        through_broker(found, corpus, folder, options, say)
    show(found, console)
    if options.json:
        options.json.write_text(json.dumps(found.json(), indent=1) + "\n")
    shortfalls = found.shortfalls() if options.short else []
    for shortfall in shortfalls:
        talk.print(shortfall, style="red", highlight=False)
    soaked = subprocess.call([sys.executable, str(SOAK), "--n", str(options.soak)]) if options.soak else 0
    return 1 if shortfalls else soaked


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as JSON")
    parser.add_argument(
        "--short", action="store_true", help="under three minutes; fail below two thirds of what is stated"
    )
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="afterwards N alerts by scripts/soak")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="folder of a model (default: the promoted one)")
    parser.add_argument("--memory-only", action="store_true", help="leave out everything that needs a broker")
    return parser.parse_args()


def in_memory(found: Found, corpus: corpora.Corpus, ours: Ours, options: argparse.Namespace, say: Callable) -> None:
    """Baselines, our path and its stages by turns, and whether they come to the same scores."""
    naive, competent = Naive(corpus, ours.model), Competent(corpus, ours.model)
    batched = Competent(corpus, ours.model, together=64)
    some, few = range(64 if options.short else 128), range(4 if options.short else 8)
    rounds = 5 if options.short else 11
    paths = {
        "naive": Timed(partial(naive.score, few), len(few)),
        "competent": Timed(partial(competent.score, some[::4]), len(some[::4])),
        "competent, features in batches of 64": Timed(partial(batched.score, some), len(some)),
        "realbogus, in memory": Timed(ours.whole, len(corpus)),
    }
    stages = ours.stages() | {"floor: libdeflate": Timed(Inflate(corpus).whole, len(corpus))}
    theirs = {f"competent: {name}": stage for name, stage in batched.stages().items()}
    say("in memory: baselines, our path and its stages by turns")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("in memory", total=rounds * len(paths | stages | theirs))
        times = interleaved(paths | stages | theirs, rounds, lambda: progress.advance(task))
    found.paths_us = {name: times[name] for name in paths}
    found.stages_us = {name: times[name] for name in stages}
    found.competent_us = {name: times[f"competent: {name}"] for name in batched.stages()}
    scores = ours.score()
    found.differences = {
        "naive": float(np.abs(naive.score(few) - scores[few]).max()),
        "competent": float(np.abs(competent.score(few) - scores[few]).max()),
        "competent, features in batches of 64": float(np.abs(batched.score(some) - scores[some]).max()),
    }


def through_broker(
    found: Found, corpus: corpora.Corpus, folder: Path, options: argparse.Namespace, say: Callable
) -> None:
    """The worker, the floor, latency, bursts and starts. The worker has the first core, all else the others."""
    cores = sorted(os.sched_getaffinity(0))
    first, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    os.sched_setaffinity(0, others)  # feeding and reading, too, keeps off the worker's core
    with tempfile.TemporaryDirectory(prefix="realbogus-bench-") as scratch, running(others) as broker:
        found.broker = broker.name
        bench = live.Bench(broker, corpus, found.model, folder.parent.parent, Path(scratch), first, others, say)
        found.throughput = throughput.throughput(bench, *((6_000, 1) if options.short else (16_000, 3)))
        found.latency = latency.latency(bench, 10 if options.short else 60)
        found.starts_s = starts(folder, corpus.messages[0], Path(scratch))
        if not options.short:
            found.pair = throughput.two_workers(bench, 24_000)
            found.burst = 10_000
            found.burst_s = latency.burst(bench, found.burst)
            say("rescore")
            found.rescored = rescored(corpus, folder, Path(scratch), 8_192, set(cores))


if __name__ == "__main__":
    sys.exit(main())

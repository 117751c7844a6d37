"""A night: pointings one after the other, and a stream of packets with truth.

Pointings are independent, so they can be made by several processes; they come out in order, with the same bytes.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import count, islice

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from realbogus.simulation.detector import draw_detector
from realbogus.simulation.exposure import make_reference
from realbogus.simulation.pointing import CADENCE_D, NID_ZERO_JD, Pointing, Simulated, observe
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.rubin import RubinPackets
from realbogus.simulation.scene import draw_scene
from realbogus.simulation.ztf import ZtfPackets

PER_NIGHT = 160  # pointings until the night is over and the next one begins
FIRST_NIGHT = 3300  # nid
AHEAD = 2  # pointings in work a process
PACKETS: Mapping[str, type[ZtfPackets] | type[RubinPackets]] = {"ztf": ZtfPackets, "rubin": RubinPackets}

__all__ = ["Simulated", "night", "plan", "run"]


def night(
    seed: int, *, alerts: int | None = None, pointings: int | None = None, recipe: Recipe | None = None, jobs: int = 1
) -> Iterator[Simulated]:
    """Alerts with truth, in order of time; the same seed gives the same bytes whatever the number of jobs.

    alerts stops after so many, pointings after so many pointings; with neither one night is made. With jobs > 1 the
    calling script needs the usual ``if __name__ == "__main__"``.
    """
    recipe = recipe or Recipe()
    if alerts is None and pointings is None:
        pointings = PER_NIGHT
    planned = islice((plan(seed, serial, recipe) for serial in count()), pointings)
    return islice(_in_order(planned, recipe, jobs), alerts)


def run(pointing: Pointing, recipe: Recipe) -> list[Simulated]:
    """All alerts of a pointing, in order of time."""
    with threadpool_limits(1):  # small matrices gain nothing from threads, and sums must not depend on their number
        return list(_exposures(pointing, recipe))


def _exposures(pointing: Pointing, recipe: Recipe) -> Iterator[Simulated]:
    scene = draw_scene(pointing.rng(0), recipe, pointing.jd)
    reference = make_reference(pointing.rng(1), scene, recipe, pointing.jd, pointing.band)
    detector = draw_detector(pointing.rng(2, pointing.detector), recipe)
    packets = PACKETS[recipe.survey](pointing, recipe, scene, reference)
    for number in range(recipe.visits):
        rng = pointing.rng(4, number)
        seen = observe(rng, pointing, recipe, scene, reference, detector, number)
        if seen is not None:
            yield from packets.of(rng, seen)


def plan(seed: int, serial: int, recipe: Recipe) -> Pointing:
    """Where the serial-th pointing of a run looks, and when. Seeing changes slowly over a night."""
    in_night = serial % PER_NIGHT
    of_night = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2**20 + serial // PER_NIGHT,)))
    start = FIRST_NIGHT + seed % 400 + serial // PER_NIGHT + 0.10 + 0.03 * float(of_night.random())
    seeing = recipe.seeing_px * float(np.exp(of_night.normal(0.0, recipe.seeing_spread / 2)))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(serial, 2**20)))
    return Pointing(
        seed=seed,
        serial=serial,
        jd=NID_ZERO_JD + start + in_night * recipe.visits * CADENCE_D,
        field=int(rng.integers(200, 880)),
        detector=int(rng.integers(0, 64)),
        tile=(int(rng.integers(0, 3)), int(rng.integers(0, 3))),
        band=int(rng.choice([1, 2, 3], p=[0.45, 0.5, 0.05])),
        seeing_px=seeing * float(np.exp(rng.normal(0.0, recipe.seeing_spread))),
        ra=float(rng.uniform(0.0, 360.0)),
        dec=float(np.degrees(np.arcsin(rng.uniform(-0.4, 0.95)))),
    )


def _in_order(planned: Iterator[Pointing], recipe: Recipe, jobs: int) -> Iterator[Simulated]:
    """The alerts of all pointings, one pointing after the other."""
    if jobs <= 1:
        for pointing in planned:
            yield from run(pointing, recipe)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from _drain(planned, lambda pointing: pool.submit(run, pointing, recipe), AHEAD * jobs)
        pool.shutdown(cancel_futures=True)


def _drain(
    planned: Iterator[Pointing], submit: Callable[[Pointing], Future[list[Simulated]]], ahead: int
) -> Iterator[Simulated]:
    """Keep some pointings in work and give out the oldest."""
    waiting = deque(submit(pointing) for pointing in islice(planned, ahead))
    try:
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(submit(pointing) for pointing in islice(planned, 1))
            yield from done
    finally:
        for future in waiting:
            future.cancel()

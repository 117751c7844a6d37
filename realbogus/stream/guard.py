"""Score a batch whatever happens: a fault of our own on one alert costs that alert, not its batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from realbogus.alerts import Outcomes, Rejected
from realbogus.errors import Reason, StreamError

log = logging.getLogger(__name__)

Score = Callable[[Sequence[bytes]], Outcomes]


def outcomes_of(score: Score, values: Sequence[bytes]) -> Outcomes:
    """What score says of these messages. Where it fails, the culprits are found one by one and rejected as INTERNAL.

    StreamError where the rest still fails together: then the fault is not with single alerts, and going on would
    drain the night into the dead letters. A StreamError of the scorer's own (no schema registry) is passed on.
    """
    try:
        return score(values)
    except StreamError:
        raise
    except Exception:
        log.exception("scoring a batch of %d failed; trying its alerts one by one", len(values))
    culprits = _culprits(score, values)
    innocent = [at for at in range(len(values)) if at not in culprits]
    try:
        rest = score([values[at] for at in innocent])
    except Exception as fault:
        raise StreamError(f"scoring fails on a batch and on none of its alerts alone: {fault!r}") from fault
    return _together(rest, np.array(innocent, np.int64), culprits)


def _culprits(score: Score, values: Sequence[bytes]) -> dict[int, Rejected]:
    found = {}
    for at, value in enumerate(values):
        try:
            score([value])
        except StreamError:
            raise
        except Exception as fault:
            found[at] = Rejected(at, Reason.INTERNAL, f"realbogus failed on it, please report: {fault!r}")
    if len(found) == len(values):
        raise StreamError(f"scoring fails on every alert of a batch of {len(values)}: {found[0].detail}")
    return found


def _together(rest: Outcomes, place: NDArray[np.int64], culprits: dict[int, Rejected]) -> Outcomes:
    """The outcomes of the innocent, at their place in the whole batch, with the culprits beside them."""
    scored = [replace(one, alerts=replace(one.alerts, index=place[one.alerts.index])) for one in rest]
    rejected = [replace(one, index=int(place[one.index])) for one in rest.rejected] + list(culprits.values())
    return Outcomes(rest.messages + len(culprits), scored, sorted(rejected, key=lambda one: one.index))

"""Family F: how unequally and how far out the light of the candidate is spread.

The Gini coefficient and M20 of the positive part, the negative part and the absolute value of d over K. Those of the
positive part and the absolute value are given less the same statistic of P, so that a point source scores 0 whatever
the seeing. Both follow S/N: read them beside mf_snr.
"""

from __future__ import annotations

import numpy as np

from realbogus.alerts import Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.view import View, Window, WindowMask, total

F = Family("F")
LOTZ = "ours, in the spirit of Lotz+2004"
BRIGHTEST = 0.2  # share of the light that M20 looks at
ALIKE = 1 - 1e-9  # pixels at the same distance are alike in P, whatever their last bits


def gini(image: Window, mask: WindowMask) -> Column:
    """Gini coefficient of a non-negative image over a mask: 0 evenly spread, 1 all in one pixel; NaN where dark."""
    count = mask.sum(axis=1)
    ordered = np.sort(np.where(mask, image, np.inf), axis=1)
    rank = np.arange(1, image.shape[1] + 1)
    inside = rank <= count[:, None]
    weighted = total((2 * rank - count[:, None] - 1) * np.where(inside, ordered, 0.0))
    light = total(image, mask)
    return np.where(light > 0, weighted / (light * np.maximum(count - 1, 1)), np.nan)


def m20(image: Window, mask: WindowMask) -> Column:
    """log10 of the share of the second moment that lies in the brightest pixels holding 20 % of the light.

    Moments are about the centroid of the image; the pixel at which 20 % is reached counts in. At least -6.
    """
    f = np.where(mask, image, 0.0)
    light = total(f)
    x, y = total(f * geo.X) / light, total(f * geo.Y) / light
    moment = f * ((geo.X - x[:, None]) ** 2 + (geo.Y - y[:, None]) ** 2)
    descending = -np.sort(-f, axis=1)
    reached = np.cumsum(descending, axis=1) >= BRIGHTEST * light[:, None]
    threshold = descending[np.arange(len(f)), reached.argmax(axis=1)]
    share = total(moment, (f >= ALIKE * threshold[:, None]) & mask) / total(moment)
    return np.where(light > 0, np.log10(np.maximum(share, 1e-6)), np.nan)


def _positive(view: View) -> Window:
    return np.maximum(view.difference.window, 0.0)


def _negative(view: View) -> Window:
    return np.maximum(-view.difference.window, 0.0)


def _of_model(view: View, statistic: str) -> Column:
    function = gini if statistic == "gini" else m20
    return view.kept(f"{statistic}_of_model", lambda v: function(v.model, v.seen))


@F.feature(-1, 1, "N1 N3", LOTZ, stamps="D")
def gini_pos(view: View) -> Column:
    """Gini coefficient of the positive part of d over K, less that of P."""
    return np.where(view.seen_enough, gini(_positive(view), view.seen) - _of_model(view, "gini"), np.nan)


@F.feature(0, 1, "N1 N3", LOTZ, stamps="D")
def gini_neg(view: View) -> Column:
    """Gini coefficient of the negative part of d over K."""
    return np.where(view.seen_enough, gini(_negative(view), view.seen), np.nan)


@F.feature(-1, 1, "N1 N3", LOTZ, stamps="D")
def gini_abs(view: View) -> Column:
    """Gini coefficient of |d| over K, less that of P."""
    return np.where(view.seen_enough, gini(np.abs(view.difference.window), view.seen) - _of_model(view, "gini"), np.nan)


@F.feature(-6, 6, "N1 N3", LOTZ, stamps="D")
def m20_pos(view: View) -> Column:
    """M20 of the positive part of d over K, less that of P."""
    return np.where(view.seen_enough, m20(_positive(view), view.seen) - _of_model(view, "m20"), np.nan)


@F.feature(-6, 0, "N1 N3", LOTZ, stamps="D")
def m20_neg(view: View) -> Column:
    """M20 of the negative part of d over K."""
    return np.where(view.seen_enough, m20(_negative(view), view.seen), np.nan)


@F.feature(-6, 6, "N1 N3", LOTZ, stamps="D")
def m20_abs(view: View) -> Column:
    """M20 of |d| over K, less that of P."""
    return np.where(view.seen_enough, m20(np.abs(view.difference.window), view.seen) - _of_model(view, "m20"), np.nan)


@F.feature(-1, 1, "N1 N3", "ours", stamps="D")
def conc_core(view: View) -> Column:
    """Share of the positive light of K within 0.75 W, less that of P."""
    near = view.seen & (0.75 * view.psf[:, None] >= geo.R)
    light = total(_positive(view), view.seen)
    share = total(_positive(view), near) / light - total(view.model, near) / total(view.model, view.seen)
    return np.where(view.seen_enough & (light > 0), share, np.nan)

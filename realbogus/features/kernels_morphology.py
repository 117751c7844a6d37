# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `morphology`: Gini and M20."""

from __future__ import annotations

import numpy as np

from realbogus.features import geometry as geo
from realbogus.features.kernels_window import SIZE, STRIDE, inlined, padded
from realbogus.features.morphology import ALIKE, BRIGHTEST

MORPHOLOGY = ("gini_pos", "gini_neg", "gini_abs", "m20_pos", "m20_neg", "m20_abs")

_X, _Y = padded(geo.X), padded(geo.Y)
_NEAREST = np.argsort(geo.R2, kind="stable")
_BY_RADIUS = (_NEAREST // geo.SIDE) * STRIDE + _NEAREST % geo.SIDE


@inlined
def morphology(d, seen, p, ordered, n, usable, out):
    """Gini and M20 of the positive, negative and absolute part of d over K; ordered is d over K, ascending (n)."""
    out[:] = np.nan
    if not usable:
        return
    model_gini, model_m20 = _model_statistics(p, seen, n)
    positive = negative = g_pos = g_neg = g_abs = 0.0
    for i in range(n):  # rank i + 1 among the positive parts; the negative parts have the opposite order
        value = ordered[i]
        if value > 0:
            positive += value
            g_pos += (2 * i + 1 - n) * value
        else:
            negative -= value
            g_neg -= (n - 1 - 2 * i) * value
    low, high = 0, n - 1
    for i in range(n - 1, -1, -1):  # the largest absolute values stand at the two ends
        if -ordered[low] > ordered[high]:
            value = -ordered[low]
            low += 1
        else:
            value = abs(ordered[high])
            high -= 1
        g_abs += (2 * i + 1 - n) * value
    if positive > 0:
        out[0] = g_pos / (positive * (n - 1)) - model_gini
        out[3] = _m20(d, seen, 1.0, 0.0, positive, _level(ordered, n, positive, 1)) - model_m20
    if negative > 0:
        out[1] = g_neg / (negative * (n - 1))
        out[4] = _m20(d, seen, 0.0, 1.0, negative, _level(ordered, n, negative, -1))
    if positive + negative > 0:
        out[2] = g_abs / ((positive + negative) * (n - 1)) - model_gini
        out[5] = _m20(d, seen, 1.0, 1.0, positive + negative, _level(ordered, n, positive + negative, 0)) - model_m20


@inlined
def _level(ordered, n, light, side):
    """Value of the pixel at which the brightest ones hold 20 % of the light; side 1 positive, -1 negative, 0 both."""
    low, high, held, value = 0, n - 1, 0.0, 0.0
    while low <= high:
        if side < 0 or (side == 0 and -ordered[low] > ordered[high]):
            value = max(-ordered[low], 0.0)
            low += 1
        else:
            value = max(ordered[high], 0.0) if side > 0 else abs(ordered[high])
            high -= 1
        held += value
        if held >= BRIGHTEST * light:
            break
    return value


@inlined
def _m20(d, seen, up, down, light, level):
    """M20 of up * positive part + down * negative part of d."""
    x = y = 0.0
    for i in range(SIZE):
        f = seen[i] * (up * max(d[i], 0.0) + down * max(-d[i], 0.0))
        x += f * _X[i]
        y += f * _Y[i]
    x, y, all_, top = x / light, y / light, 0.0, 0.0
    for i in range(SIZE):
        f = seen[i] * (up * max(d[i], 0.0) + down * max(-d[i], 0.0))
        moment = f * ((_X[i] - x) ** 2 + (_Y[i] - y) ** 2)
        all_ += moment
        top += moment if f >= ALIKE * level else 0.0
    return np.log10(max(top / all_, 1e-6))


@inlined
def _model_statistics(p, seen, n):
    """Gini and M20 of P over the valid pixels of K."""
    light, gini, held, level, rank = 0.0, 0.0, 0.0, 0.0, n
    for k in range(len(_BY_RADIUS)):  # P falls with the radius
        i = _BY_RADIUS[k]
        if seen[i] > 0:
            gini += (2 * rank - n - 1) * p[i]
            light += p[i]
            rank -= 1
    for k in range(len(_BY_RADIUS)):
        i = _BY_RADIUS[k]
        held += p[i] * seen[i]
        if held >= BRIGHTEST * light:
            level = p[i]
            break
    return gini / (light * (n - 1)), _m20(p, seen, 1.0, 0.0, light, level)

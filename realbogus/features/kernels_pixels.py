# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `noise`, and of what adds up pixels of K: concentration, growth, quadrants, half turn."""

from __future__ import annotations

import numpy as np

from realbogus.features import geometry as geo
from realbogus.features.kernels_window import SIZE, STRIDE, enough, inlined, padded, slog

COUNTS = (
    "n2sig3", "n3sig3", "n2sig5", "n3sig5", "n2sig3shift", "n3sig3shift", "n2sig5shift", "n3sig5shift",
    "numneg", "diffsum", "sumrat",
)  # fmt: skip
SUMS = ("negative_share", "depth_ratio", "growth", "conc_core", "n_bright", "quad_range", "asym180")

_R2 = padded(geo.R2, 1e18)
_QUADRANTS = np.array([padded(q) for q in geo.QUADRANTS])


@inlined
def counts(d, ok_d, noise_d, t, ok_t, noise_t, raw_box, out):
    """Family A: counts of low and high pixels in the central boxes, their sum, and sumrat of the raw 5 x 5 box."""
    seen5 = seen7 = seen5_t = seen7_t = 0.0
    low2 = low3 = low2_5 = low3_5 = high2 = high3 = high2_5 = high3_5 = 0.0
    t2 = t3 = t2_5 = t3_5 = negative = sum5 = 0.0
    for y in range(7, 14):
        for x in range(7, 14):
            i = y * STRIDE + x
            box5 = 1.0 if 8 <= y <= 12 and 8 <= x <= 12 else 0.0
            z, zt, o, ot = d[i] / noise_d, t[i] / noise_t, ok_d[i], ok_t[i]
            seen7 += o
            seen5 += o * box5
            seen7_t += ot
            seen5_t += ot * box5
            negative += o * (d[i] < 0)
            sum5 += o * box5 * z
            low2 += o * (z <= -2)
            low3 += o * (z <= -3)
            low2_5 += o * box5 * (z <= -2)
            low3_5 += o * box5 * (z <= -3)
            high2 += o * (z >= 2)
            high3 += o * (z >= 3)
            high2_5 += o * box5 * (z >= 2)
            high3_5 += o * box5 * (z >= 3)
            t2 += ot * (zt >= 2)
            t3 += ot * (zt >= 3)
            t2_5 += ot * box5 * (zt >= 2)
            t3_5 += ot * box5 * (zt >= 3)
    defined, defined_t = not np.isnan(noise_d), not np.isnan(noise_t)
    f5 = 25 / max(seen5, 1.0) if enough(seen5, 25) and defined else np.nan
    f7 = 49 / max(seen7, 1.0) if enough(seen7, 49) and defined else np.nan
    f5_t = 25 / max(seen5_t, 1.0) if enough(seen5_t, 25) and defined_t else np.nan
    f7_t = 49 / max(seen7_t, 1.0) if enough(seen7_t, 49) and defined_t else np.nan
    out[0], out[1], out[2], out[3] = f5 * low2_5, f5 * low3_5, f7 * low2, f7 * low3
    out[4], out[5] = f5 * high2_5 - f5_t * t2_5, f5 * high3_5 - f5_t * t3_5
    out[6], out[7] = f7 * high2 - f7_t * t2, f7 * high3 - f7_t * t3
    out[8] = f7 * negative
    out[9] = slog(25 * (sum5 / max(seen5, 1.0))) if enough(seen5, 25) else np.nan
    out[10] = _sumrat(raw_box) if enough(seen5, 25) else np.nan


@inlined
def _sumrat(box):
    """Sum over absolute sum of the 3 x 3 medians of a 5 x 5 box, edges repeated, NaN left out."""
    near, net, gross = np.empty(9), 0.0, 0.0
    for y in range(5):
        for x in range(5):
            n = 0
            for j in range(-1, 2):
                for i in range(-1, 2):
                    value = box[min(max(y + j, 0), 4), min(max(x + i, 0), 4)]
                    if not np.isnan(value):
                        at = n
                        while at > 0 and near[at - 1] > value:
                            near[at] = near[at - 1]
                            at -= 1
                        near[at] = value
                        n += 1
            if n > 0:
                middle = (near[(n - 1) // 2] + near[n // 2]) / 2
                net += middle
                gross += abs(middle)
    return net / gross if gross > 0 else np.nan


@inlined
def sums(d, seen, n_seen, n_disk, p, w, noise, usable, out):
    """Sums over K and its parts: negative share and depth, concentration, quadrants, half-turn asymmetry."""
    out[:] = np.nan
    if not usable:
        return
    near2, wide2, level = (0.75 * w) ** 2, (1.5 * w) ** 2, 5.0 * noise
    positive = negative = core = core_p = light_p = 0.0
    d_near = d_wide = p_near = p_wide = bright = 0.0
    top, bottom = -np.inf, -np.inf
    for i in range(SIZE):
        s = seen[i]
        value, model = d[i] * s, p[i] * s
        up = max(value, 0.0)
        positive += up
        negative += up - value
        light_p += model
        bright += s * (value > level)
        near, wide = _R2[i] <= near2, _R2[i] <= wide2
        core += up * near
        d_near += value * near
        p_near += model * near
        d_wide += value * wide
        p_wide += model * wide
        if s > 0:
            top, bottom = max(top, value), max(bottom, -value)
    core_p = p_near
    gross = positive + negative
    if gross > 0:
        out[0] = negative / gross
        out[5] = _quadrants(d, seen) / gross
    if top > 0:
        out[1] = min(max(bottom / top, -1.0), 5.0)
    if d_wide > 0:
        out[2] = min(max(d_near / d_wide - p_near / p_wide, -3.0), 3.0)
    if positive > 0:
        out[3] = core / positive - core_p / light_p
    if not np.isnan(noise):
        out[4] = bright * (n_disk / max(n_seen, 1.0))
    out[6] = _half_turn(d, seen)


@inlined
def _quadrants(d, seen):
    low, high = np.inf, -np.inf
    for q in range(4):
        value = 0.0
        for i in range(SIZE):
            value += _QUADRANTS[q, i] * seen[i] * d[i]
        low, high = min(low, value), max(high, value)
    return high - low


@inlined
def _half_turn(d, seen):
    gross, change = 0.0, 0.0
    last = 20 * STRIDE + 20
    for i in range(last + 1):
        both = seen[i] * seen[last - i]
        gross += both * abs(d[i])
        change += both * abs(d[i] - d[last - i])
    return change / (2 * gross) if gross > 0 else np.nan

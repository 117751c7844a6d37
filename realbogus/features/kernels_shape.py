# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `noise`, `moments`, `symmetry`, `morphology` and of `growth`: the pixels near the centre."""

from __future__ import annotations

import numpy as np

from realbogus.features import geometry as geo
from realbogus.features.kernels_window import (
    SIZE,
    STRIDE,
    dot,
    enough,
    gaussian_taps,
    inlined,
    outer,
    padded,
    sigma_of,
    slog,
)
from realbogus.features.morphology import ALIKE, BRIGHTEST
from realbogus.features.symmetry import _radial

COUNTS = (
    "n2sig3", "n3sig3", "n2sig5", "n3sig5", "n2sig3shift", "n3sig3shift", "n2sig5shift", "n3sig5shift",
    "numneg", "diffsum", "sumrat",
)  # fmt: skip
SUMS = ("negative_share", "depth_ratio", "growth", "conc_core", "n_bright", "quad_range", "asym180")
MOMENTS = ("size_ratio", "pixel_ellipticity", "centroid_offset")
RINGS = ("ring_h1", "ring_h2", "ring_var", "neg_ring_depth")
ZERNIKE = ("zern_20", "zern_dist")
MORPHOLOGY = ("gini_pos", "gini_neg", "gini_abs", "m20_pos", "m20_neg", "m20_abs")


def _ring_order() -> tuple[np.ndarray, np.ndarray]:
    """Pixels of rings 1 to 10 in the layout of the kernels, ring by ring, and where each ring starts."""
    order = np.argsort(geo.RING, kind="stable")
    order = order[geo.RING[order] <= geo.HALF]
    starts = np.searchsorted(geo.RING[order], np.arange(geo.HALF + 2))
    return (order // geo.SIDE) * STRIDE + order % geo.SIDE, starts


_BY_RING, _RING_STARTS = _ring_order()
_COS1, _SIN1, _COS2, _SIN2 = (padded(t) for t in (geo.COS1, geo.SIN1, geo.COS2, geo.SIN2))
_X, _Y, _R2 = padded(geo.X), padded(geo.Y), padded(geo.R2, 1e18)
_QUADRANTS = np.array([padded(q) for q in geo.QUADRANTS])
_NEAREST = np.argsort(geo.R2, kind="stable")
_BY_RADIUS = (_NEAREST // geo.SIDE) * STRIDE + _NEAREST % geo.SIDE


def _zernike_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x - iy)^m r^2k over the window, real and imaginary parts, and for each mode the coefficients of its k."""
    spiral = geo.X - 1j * geo.Y
    tables: list[np.ndarray] = []
    place = {}
    for m in range(9):
        for k in range((8 - m) // 2 + 1):
            place[m, k] = len(tables)
            tables.append(spiral**m * geo.R2**k)
    modes = np.zeros((len(geo.ZERNIKE_MODES), 5, 3))  # place, power of 1/radius, coefficient
    for row, (n, m) in enumerate(geo.ZERNIKE_MODES):
        for column, (power, coefficient) in enumerate(_radial(n, m)):
            modes[row, column] = place[m, (power - m) // 2], power, coefficient * (n + 1) / np.pi
    return np.array([padded(t.real) for t in tables]), np.array([padded(t.imag) for t in tables]), modes


_ZERNIKE_RE, _ZERNIKE_IM, _MODES = _zernike_tables()
_HIGHEST = int(_MODES[:, :, 1].max())
_MODE_20 = geo.ZERNIKE_MODES.index((2, 0))
_ROUND = np.array([m == 0 for _, m in geo.ZERNIKE_MODES])
_FOURFOLD = np.array([m % 4 == 0 for m in range(9) for _ in range((8 - m) // 2 + 1)])  # all a full round P can have


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


@inlined
def moments(d, seen, p, w, usable, out):
    """Windowed second moments of the positive part of d, and those of P."""
    out[:] = np.nan
    if not usable:
        return
    taps, weight = np.empty(21), np.zeros(SIZE)
    gaussian_taps(taps, sigma_of(1.5 * w), 0.0)
    outer(weight, taps, taps, 1.0)
    n = xx = yy = xy = cx = cy = model = model_r2 = 0.0
    for i in range(SIZE):
        s = weight[i] * seen[i]
        f, x, y = s * max(d[i], 0.0), _X[i], _Y[i]
        n += f
        xx += f * x * x
        yy += f * y * y
        xy += f * x * y
        cx += f * x
        cy += f * y
        model += s * p[i]
        model_r2 += s * p[i] * (x * x + y * y)
    xx, yy, xy, cx, cy = xx / n, yy / n, xy / n, cx / n, cy / n
    out[0] = np.sqrt((xx + yy) / (model_r2 / model))
    half, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    if half + root > 0:
        out[1] = 1 - np.sqrt(max(half - root, 0.0) / (half + root))
    out[2] = np.hypot(cx, cy) / w


@inlined
def rings(d, seen, noise, usable, out):
    """Harmonics, variance and depth of the rings of K."""
    out[:] = np.nan
    if not usable:
        return
    h1 = h2 = variance = 0.0
    gross, n_rings, depth = abs(d[10 * STRIDE + 10] * seen[10 * STRIDE + 10]), 0, np.inf
    for ring in range(1, 11):
        n = sum_d = c1 = s1 = c2 = s2 = 0.0
        for k in range(_RING_STARTS[ring], _RING_STARTS[ring + 1]):
            i = _BY_RING[k]
            value = d[i] * seen[i]
            n += seen[i]
            sum_d += value
            gross += abs(value)
            c1 += value * _COS1[i]
            s1 += value * _SIN1[i]
            c2 += value * _COS2[i]
            s2 += value * _SIN2[i]
        h1 += np.sqrt(c1 * c1 + s1 * s1)
        h2 += np.sqrt(c2 * c2 + s2 * s2)
        if n > 0:
            mean, spread = sum_d / n, 0.0
            for k in range(_RING_STARTS[ring], _RING_STARTS[ring + 1]):
                i = _BY_RING[k]
                spread += (d[i] - mean) ** 2 * seen[i]
            n_rings += 1
            variance += spread / n
            depth = min(depth, mean * np.sqrt(n))
    if gross > 0:
        out[0], out[1] = h1 / gross, h2 / gross
    out[2] = np.log1p(variance / n_rings / (noise * noise))
    out[3] = depth / noise


@inlined
def zernike(d, seen, full_disk, p, radius, usable, out):
    """Zernike norms of d and their distance from those of P."""
    out[:] = np.nan
    if not usable:
        return
    image, model = np.empty(SIZE), np.empty(SIZE)
    for i in range(SIZE):
        image[i], model[i] = d[i] * seen[i], p[i] * seen[i]
    n_tables = len(_ZERNIKE_RE)
    re, im, model_re, model_im = np.empty(n_tables), np.empty(n_tables), np.zeros(n_tables), np.zeros(n_tables)
    for k in range(n_tables):
        re[k], im[k] = dot(image, _ZERNIKE_RE[k]), dot(image, _ZERNIKE_IM[k])
        if not full_disk:
            model_re[k], model_im[k] = dot(model, _ZERNIKE_RE[k]), dot(model, _ZERNIKE_IM[k])
        elif _FOURFOLD[k]:
            model_re[k] = dot(model, _ZERNIKE_RE[k])
    scale, model_scale = np.sqrt(dot(image, image)) * radius**2, np.sqrt(dot(model, model)) * radius**2
    distance, shrink = 0.0, np.ones(_HIGHEST + 1)
    for power in range(_HIGHEST):
        shrink[power + 1] = shrink[power] / radius
    for mode in range(len(_MODES)):
        norm = _mode_norm(mode, re, im, shrink) / scale
        distance += (norm - _mode_norm(mode, model_re, model_im, shrink) / model_scale) ** 2
        if mode == _MODE_20:
            out[0] = norm
    out[1] = np.sqrt(distance)


@inlined
def _mode_norm(mode, re, im, shrink):
    a, b = 0.0, 0.0
    for k in range(5):
        place = int(_MODES[mode, k, 0])
        weight = _MODES[mode, k, 2] * shrink[int(_MODES[mode, k, 1])]
        a += weight * re[place]
        b += weight * im[place]
    return np.hypot(a, b)


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

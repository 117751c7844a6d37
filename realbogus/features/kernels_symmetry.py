# mypy: allow-untyped-defs, allow-untyped-calls
"""Compiled twins of `moments` and `symmetry`: moments, rings, Zernike norms."""

from __future__ import annotations

import numpy as np

from realbogus.features import geometry as geo
from realbogus.features.kernels_window import SIZE, STRIDE, dot, gaussian_taps, inlined, outer, padded, sigma_of
from realbogus.features.symmetry import _radial

MOMENTS = ("size_ratio", "pixel_ellipticity", "centroid_offset")
RINGS = ("ring_h1", "ring_h2", "ring_var", "neg_ring_depth")
ZERNIKE = ("zern_20", "zern_dist")


def _ring_order() -> tuple[np.ndarray, np.ndarray]:
    """Pixels of rings 1 to 10 in the layout of the kernels, ring by ring, and where each ring starts."""
    order = np.argsort(geo.RING, kind="stable")
    order = order[geo.RING[order] <= geo.HALF]
    starts = np.searchsorted(geo.RING[order], np.arange(geo.HALF + 2))
    return (order // geo.SIDE) * STRIDE + order % geo.SIDE, starts


_BY_RING, _RING_STARTS = _ring_order()
_COS1, _SIN1, _COS2, _SIN2 = (padded(t) for t in (geo.COS1, geo.SIN1, geo.COS2, geo.SIN2))
_X, _Y = padded(geo.X), padded(geo.Y)


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

# mypy: allow-untyped-defs, allow-untyped-calls
"""The compiled way from triplets to stamp features: one pass over each alert, group by group as wanted.

Three steps for a handful of alerts at a time: `prepare` masks the stamps, numpy sorts them (its vectorised sort beats
any selection written by hand; a sorted stamp gives median and MAD), `measure` does all else. `measure` and `prepare`
are the only functions that are cached on disk. They are closures over a hash of all kernel sources, since numba looks
only at the file of the function itself to tell whether a cached one is stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numba import boolean, float32, float64, int64, njit, types
from numpy.typing import NDArray

from realbogus.alerts import CENTRE, STAMP_SIDE, Column, Triplets
from realbogus.features import geometry as geo
from realbogus.features import kernels_defects as defects
from realbogus.features import kernels_fits as fits
from realbogus.features import kernels_morphology as morphology
from realbogus.features import kernels_pixels as pixels
from realbogus.features import kernels_relations as relations
from realbogus.features import kernels_stars as stars
from realbogus.features import kernels_symmetry as symmetry
from realbogus.features.kernels_window import (
    FAR,
    OPTIONS,
    PIXELS,
    SIZE,
    START,
    STRIDE,
    clean,
    enough,
    gaussian_taps,
    levels,
    norm_of,
    outer,
    padded,
    sigma_of,
    total,
    turn,
    window,
)

TOGETHER = 16  # alerts prepared and sorted together: 0.8 MB of stamps, which stays in the cache; 64 cost 8 % more
FRACTIONS = ("nan_frac_d", "nan_frac_s", "nan_frac_t")
GROUPS = (
    FRACTIONS, pixels.COUNTS, fits.POINT, fits.GAUSS, fits.TESTS, pixels.SUMS, symmetry.MOMENTS, symmetry.RINGS,
    symmetry.ZERNIKE, morphology.MORPHOLOGY, relations.PHOTOMETRY, relations.RELATIONS, relations.REGISTRATION,
    relations.GRADIENT, defects.PEAKS, defects.LINES, defects.SURROUNDINGS, defects.FINE, defects.OTHERS,
    stars.STARS, stars.SPOTS, stars.TRAILS, stars.LEVELS,
)  # fmt: skip
NAMES = tuple(name for group in GROUPS for name in group)  # in the order of the columns of `measure`
_AT = tuple(int(n) for n in np.cumsum([0] + [len(group) for group in GROUPS]))
N_CENTRAL = 2 * (2 * geo.LINE_OFFSET_PX + 1)  # rows and columns of a stamp
_RADII = padded(geo.R, FAR)


def _salt() -> int:
    """A hash of the sources that the compiled code is made of: all modules of this room."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    text = b"".join(path.read_bytes() for path in sources)
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


Kernel = Callable[..., None]


@cache
def kernels() -> tuple[Kernel, Kernel]:
    """`prepare` and `measure`, loaded from numba's cache on disk or compiled."""
    return _prepare(_salt()), _measure(_salt())


def _readonly(dtype: types.Type, ndim: int) -> types.Array:
    return types.Array(dtype, ndim, "C", readonly=True)


def _prepare(salt: int) -> Kernel:
    signature = types.void(
        _readonly(float32, 3), _readonly(float64, 1), float32[:, :, ::1], int64[:, ::1], float32[:, :, ::1],
        float32[:, :, ::1],
    )  # fmt: skip

    @njit(signature, cache=True, **OPTIONS)
    def prepare(raw, radius, stamps, counts, parts, lines):
        """What is to be sorted: stamps with NaN for invalid pixels, and how many are valid; of the difference the
        pixels of the window inside and outside K, others NaN, and its central rows and columns."""
        if salt < 0:
            return
        nothing = np.float32(np.nan)
        for row in range(len(raw)):
            for k in range(3):
                counts[row, k] = clean(raw[row, k], stamps[row, k])
            d = stamps[row, 2]
            for y in range(21):
                for x in range(21):
                    value = d[(START + y) * STAMP_SIDE + START + x]
                    inside = _RADII[y * STRIDE + x] <= radius[row]
                    parts[row, 0, y * 21 + x] = value if inside else nothing
                    parts[row, 1, y * 21 + x] = nothing if inside else value
            for i in range(N_CENTRAL // 2):
                line = CENTRE - geo.LINE_OFFSET_PX + i
                for k in range(STAMP_SIDE):
                    lines[row, 2 * i, k] = d[line * STAMP_SIDE + k]
                    lines[row, 2 * i + 1, k] = d[k * STAMP_SIDE + line]

    kernel: Kernel = prepare
    return kernel


def _measure(salt: int) -> Kernel:
    signature = types.void(
        _readonly(float32, 3), _readonly(float32, 3), _readonly(int64, 2), _readonly(float32, 3),
        _readonly(float32, 3), _readonly(float64, 1), _readonly(float64, 1), _readonly(float64, 1),
        _readonly(boolean, 1), float64[:, ::1],
    )  # fmt: skip

    @njit(signature, cache=True, **OPTIONS)
    def measure(stamps, ordered, counts, parts, central, width, radius, sign, wanted, out):
        """All wanted groups of features for each alert; the order of the columns is NAMES."""
        if salt < 0:
            return
        s, t, d = np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE)
        ok_s, ok_t, ok_d = np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE)
        p, disk, core, seen, core_seen = np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE)
        turned, turned_ok = np.zeros(SIZE), np.zeros(SIZE)
        taps, noises, box, light = np.empty(21), np.empty(3), np.empty((5, 5)), np.empty(441)
        for row in range(len(stamps)):
            w, answer = width[row], out[row]
            b_s, noises[0] = levels(ordered[row, 0], counts[row, 0])
            b_t, noises[1] = levels(ordered[row, 1], counts[row, 1])
            b_d, noises[2] = levels(ordered[row, 2], counts[row, 2])
            noise = noises[2]
            window(stamps[row, 0], b_s, s, ok_s)
            window(stamps[row, 1], b_t, t, ok_t)
            n_ok = window(stamps[row, 2], b_d, d, ok_d)
            n_st = 0.0
            reach = max(1.5 * w, 3.0)
            for i in range(SIZE):
                disk[i] = 1.0 if _RADII[i] <= radius[row] else 0.0
                core[i] = 1.0 if _RADII[i] <= reach else 0.0
                seen[i] = disk[i] * ok_d[i]
                core_seen[i] = core[i] * ok_d[i]
                n_st += ok_s[i] * ok_t[i]
            n_disk, n_seen, n_core, n_core_seen = total(disk), total(seen), total(core), total(core_seen)
            usable, full_disk = enough(n_seen, n_disk), n_seen == n_disk
            sigma = sigma_of(w)
            gaussian_taps(taps, sigma, 0.0)
            outer(p, taps, taps, norm_of(sigma))
            turn(d, turned)
            flux = fits.point_source(
                d, core_seen, n_core, n_core_seen, seen, n_seen, usable, p, taps, turned, _RADII, w, noise,
                answer[_AT[2] : _AT[3]],
            )  # fmt: skip
            if wanted[0]:
                for k in range(3):
                    answer[_AT[0] + k] = 1 - counts[row, (k + 2) % 3] / PIXELS
            if wanted[1]:
                for y in range(5):
                    for x in range(5):
                        box[y, x] = np.float64(stamps[row, 2, (START + 8 + y) * STAMP_SIDE + START + 8 + x])
                pixels.counts(d, ok_d, noise, t, ok_t, noises[1], box, answer[_AT[1] : _AT[2]])
            if wanted[3]:
                turn(ok_d, turned_ok)
                fits.gaussian_fit(
                    d, ok_d, turned, turned_ok, n_ok == 441, seen, usable, enough(n_ok, 441.0), n_ok, w,
                    answer[_AT[3] : _AT[4]],
                )  # fmt: skip
            if wanted[4]:
                fits.hypotheses(d, seen, full_disk, p, w, noise, usable, answer[_AT[4] : _AT[5]])
            if wanted[5]:
                pixels.sums(d, seen, n_seen, n_disk, p, w, noise, usable, answer[_AT[5] : _AT[6]])
            if wanted[6]:
                symmetry.moments(d, seen, p, w, usable, answer[_AT[6] : _AT[7]])
            if wanted[7]:
                symmetry.rings(d, seen, noise, usable, answer[_AT[7] : _AT[8]])
            if wanted[8]:
                symmetry.zernike(d, seen, full_disk, p, radius[row], usable, answer[_AT[8] : _AT[9]])
            if wanted[9]:
                n = int(n_seen)
                for k in range(n):
                    light[k] = np.float64(parts[row, 0, k]) - b_d
                morphology.morphology(d, seen, p, light, n, usable, answer[_AT[9] : _AT[10]])
            scale = np.nan
            if wanted[10] or wanted[11] or wanted[19] or wanted[22]:
                low, high = np.float64(ordered[row, 2, 0]), np.float64(ordered[row, 2, max(counts[row, 2] - 1, 0)])
                scale, offset = relations.whole_stamp(
                    stamps[row, 0], stamps[row, 1], stamps[row, 2], b_s, b_t, b_d, max(b_d - low, high - b_d),
                    counts[row].sum() == 3 * PIXELS, sign[row], answer[_AT[10] : _AT[10] + 1],
                )  # fmt: skip
                relations.photometry(d, ok_d, t, ok_t, scale, flux, usable, answer[_AT[10] : _AT[11]])
                relations.relations(
                    s, t, d, ok_s, ok_t, ok_d, disk, n_disk, core, n_core, p, noises, sign[row], scale, offset,
                    answer[_AT[11] : _AT[12]],
                )  # fmt: skip
            if wanted[12]:
                relations.registration(s, ok_s, stamps[row, 1], b_t, n_st, w, answer[_AT[12] : _AT[13]])
            if wanted[13]:
                relations.gradient(d, ok_d, t, ok_t, disk, n_disk, answer[_AT[13] : _AT[14]])
            if wanted[14]:
                defects.peaks(d, ok_d, s, ok_s, t, ok_t, _RADII, disk, n_disk, w, answer[_AT[14] : _AT[15]])
            if wanted[15]:
                defects.lines(
                    stamps[row, 2], counts[row, 2], central[row], b_d, noise, usable, answer[_AT[15] : _AT[16]]
                )  # fmt: skip
            if wanted[16]:
                defects.surroundings(d, ok_d, disk, n_disk, parts[row, 1], noise, answer[_AT[16] : _AT[17]])
            if wanted[17]:
                defects.fine_structure(d, ok_d, noise, answer[_AT[17] : _AT[18]])
            if wanted[18]:
                defects.others(stamps[row, 2], b_d, noise, w, radius[row], usable, answer[_AT[18] : _AT[19]])
            if wanted[19]:
                on_stars = answer[_AT[19] : _AT[20]]
                ratio, slope = stars.stars(
                    stamps[row, 2], stamps[row, 1], b_d, b_t, noise, noises[1], radius[row], on_stars
                )  # fmt: skip
                stars.excess(d, ok_d, t, ok_t, core, n_core, scale, ratio, slope, on_stars)
            if wanted[20]:
                stars.spots(stamps[row, 2], b_d, noise, radius[row], answer[_AT[20] : _AT[21]])
            if wanted[21]:
                stars.trails(
                    stamps[row, 2], counts[row, 2], b_d, noise, radius[row], usable, answer[_AT[21] : _AT[22]]
                )  # fmt: skip
            if wanted[22]:
                stars.image_levels(noises, scale, answer[_AT[22] : _AT[23]])

    kernel: Kernel = measure
    return kernel


def stamp_features(
    triplets: Triplets, width: Column, radius: Column, sign: Column, names: frozenset[str]
) -> NDArray[np.float64]:
    """Measure (N, len(NAMES)); columns of groups that hold none of the names are left as NaN.

    width is W and radius that of K in pixels, sign +1 or -1 as the candidate is brighter or fainter.
    """
    prepare, measure = kernels()
    out = np.full((len(triplets), len(NAMES)), np.nan)
    wanted = np.array([not names.isdisjoint(group) for group in GROUPS])
    raw = np.ascontiguousarray(triplets).reshape(len(triplets), 3, PIXELS)
    stamps = np.empty((min(TOGETHER, len(raw)), 3, PIXELS), np.float32)
    counts, parts = np.empty((len(stamps), 3), np.int64), np.empty((len(stamps), 2, geo.PIXELS), np.float32)
    central = np.empty((len(stamps), N_CENTRAL, STAMP_SIDE), np.float32)
    for start in range(0, len(raw), TOGETHER):
        rows = slice(start, min(start + TOGETHER, len(raw)))
        n = rows.stop - start
        prepare(raw[rows], radius[rows], stamps[:n], counts[:n], parts[:n], central[:n])
        ordered = np.sort(stamps[:n], axis=-1)
        parts[:n].sort(axis=-1)
        central[:n].sort(axis=-1)
        measure(
            stamps[:n], ordered, counts[:n], parts[:n], central[:n], width[rows], radius[rows], sign[rows], wanted,
            out[rows],
        )  # fmt: skip
    return out

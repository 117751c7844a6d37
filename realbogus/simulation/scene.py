"""The sky of one field: stars, galaxies and what varies among them. Science and template frames share it.

Positions are pixels of the reference frame, magnitudes AB in the band observed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from realbogus.simulation.optics import Image, Singles
from realbogus.simulation.recipe import Recipe

Floats = NDArray[np.float64]
TRANSIENT, VARIABLE, ASTEROID = "transient", "variable", "asteroid"
FAINTEST_STAR, FAINTEST_GALAXY = 23.5, 22.5
MARGIN = 40  # pixels around the frame that are populated too


@dataclass(frozen=True)
class Stars:
    """N stars. moved is their proper motion since the template, pixels."""

    x: Floats
    y: Floats
    mag: Floats
    moved_x: Floats
    moved_y: Floats
    colour: Floats  # sigmas redder than most


@dataclass(frozen=True)
class Galaxies:
    """N Sersic galaxies: half-light radius in px, index n, axis ratio q, position angle in rad."""

    x: Floats
    y: Floats
    mag: Floats
    radius: Floats
    index: Floats
    ratio: Floats
    angle: Floats


@dataclass(frozen=True)
class Event:
    """One thing that is really not the same in two exposures."""

    serial: int  # within its scene
    kind: str  # transient, variable or asteroid
    x: float
    y: float
    mag: float  # transients and asteroids at their best; variables at their mean
    amplitude: float = 0.0  # variables: half the range, mag
    period_d: float = 1.0  # variables: period; transients: rise time
    phase: float = 0.0  # variables: in [0, 1); transients: JD of the peak; asteroids: JD at which they pass x, y
    fall_d: float = 1.0  # transients: e-folding time of the decline
    rate_x: float = 0.0  # asteroids: px per day
    rate_y: float = 0.0
    host: int = -1  # row of its galaxy, -1 = none
    number: int = 0  # asteroids: their number in the catalogue of known ones, 0 = unknown

    def delta_mag(self, jd: Any) -> Any:
        """Magnitudes fainter than `mag` at a time, or at several; inf = not there."""
        if self.kind == VARIABLE:
            return self.amplitude * _wave(jd / self.period_d + self.phase)
        if self.kind == ASTEROID:
            return 0.0 if abs(jd - self.phase) < 0.5 else np.inf
        since = jd - self.phase
        return 1.086 * np.maximum(since, 0.0) / self.fall_d + 2.0 * (np.minimum(since, 0.0) / self.period_d) ** 2

    def flux(self, jd: Any, zero_point: Any) -> Any:
        """DN at a time, or at several."""
        return 10.0 ** (-0.4 * (self.mag + self.delta_mag(jd) - zero_point))

    def reference_flux(self, epochs: Floats, zero_point: float) -> float:
        """Mean DN over the epochs of the reference frames; asteroids are clipped away there."""
        if self.kind == ASTEROID:
            return 0.0
        return float(np.mean(self.flux(epochs, zero_point)))

    def place(self, jd: float) -> tuple[float, float]:
        """Where it is at this time."""
        passed = jd - self.phase if self.kind == ASTEROID else 0.0
        return self.x + self.rate_x * passed, self.y + self.rate_y * passed


@dataclass(frozen=True)
class Scene:
    """Everything on the sky of one frame."""

    stars: Stars  # without those that vary
    galaxies: Galaxies
    events: tuple[Event, ...]
    side: int


def draw_scene(rng: np.random.Generator, recipe: Recipe, jd: float) -> Scene:
    """A new field to be observed around this date."""
    crowding = float(min(np.exp(rng.normal(0.0, recipe.stars_spread)), 8.0))
    stars = _draw_stars(rng, recipe, crowding)
    galaxies = _draw_galaxies(rng, recipe)
    makers = (
        (_variables, recipe.variables * min(crowding, 3.0) ** 0.5),
        (_transients, recipe.transients),
        (_asteroids, recipe.asteroids),
    )
    events: list[Event] = []
    for make, rate in makers:
        events += make(rng, int(rng.poisson(rate)), recipe, stars, galaxies, jd, len(events))
    return Scene(stars, galaxies, tuple(events), recipe.side)


def paint_galaxies(galaxies: Galaxies, flux: Floats, shape: tuple[int, int], offset: float) -> Image:
    """Galaxy light before the PSF, integrated over pixels; offset is added to all positions."""
    image = np.zeros(shape)
    columns = (galaxies.x + offset, galaxies.y + offset, flux, galaxies.radius, galaxies.index, galaxies.ratio)
    _paint_sersic(image, *columns, galaxies.angle, SERSIC)
    return image


def _draw_stars(rng: np.random.Generator, recipe: Recipe, crowding: float) -> Stars:
    """Stars with counts rising as 10 ** (slope mag), some of them fast."""
    count = int(rng.poisson(recipe.stars * crowding))
    mag = FAINTEST_STAR + np.log10(1.0 - rng.random(count)) / recipe.star_slope
    mag = np.maximum(mag, 10.0)
    x, y = rng.uniform(-MARGIN, recipe.side + MARGIN, (2, count))
    moved = np.zeros((2, count))
    chosen = np.flatnonzero((mag > 12.0) & (mag < 19.0))
    chosen = rng.permutation(chosen)[: int(rng.poisson(recipe.fast_stars))]
    size, angle = np.exp(rng.normal(-0.3, 0.6, chosen.size)), rng.uniform(0, 2 * np.pi, chosen.size)
    moved[:, chosen] = np.clip(size, 0.2, 2.5) * np.array([np.cos(angle), np.sin(angle)])
    return Stars(x, y, mag, moved[0], moved[1], rng.normal(0.0, 1.0, count))


def _draw_galaxies(rng: np.random.Generator, recipe: Recipe) -> Galaxies:
    """Galaxies with counts rising as 10 ** (0.45 mag), brighter ones larger, disks and bulges."""
    count = int(rng.poisson(recipe.galaxies))
    mag = np.maximum(FAINTEST_GALAXY + np.log10(1.0 - rng.random(count)) / 0.45, 14.0)
    radius = np.clip(10.0 ** (0.15 * (20.0 - mag) + rng.normal(0.15, 0.2, count)), 0.3, 14.0)
    bulge = rng.random(count) < 0.3
    index = np.where(bulge, rng.uniform(2.5, 4.0, count), rng.uniform(0.8, 1.5, count))
    ratio = np.where(bulge, rng.uniform(0.6, 1.0, count), rng.uniform(0.25, 1.0, count))
    x, y = rng.uniform(-MARGIN, recipe.side + MARGIN, (2, count))
    return Galaxies(x, y, mag, radius, index, ratio, rng.uniform(0, np.pi, count))


def _variables(
    rng: np.random.Generator, count: int, recipe: Recipe, stars: Stars, galaxies: Galaxies, jd: float, first: int
) -> list[Event]:
    """Variable stars, and one in six a galaxy's nucleus; the brighter, the smaller the amplitude that matters."""
    events = []
    for serial in range(first, first + count):
        mag = float(np.clip(rng.normal(recipe.variable_mag, recipe.variable_mag_spread), 12.5, 21.0))
        x, y = rng.uniform(0, recipe.side, 2)
        swing = recipe.variable_swing * np.exp(rng.normal(0.0, 0.85))
        amplitude = float(np.clip(swing * 10 ** (0.12 * (mag - 17.5)), 0.03, 2.0))
        period, host = float(10.0 ** rng.uniform(-1, 2.5)), -1
        if rng.random() < 1 / 6 and galaxies.x.size:
            host = int(rng.choice(galaxies.x.size, p=_weights(galaxies.mag, 19.0)))
            x, y, period = galaxies.x[host], galaxies.y[host], float(10.0 ** rng.uniform(1.5, 3))
            mag = float(galaxies.mag[host] + rng.uniform(0.3, 2.0))
        events.append(
            Event(serial, VARIABLE, float(x), float(y), mag, amplitude, period, float(rng.random()), host=host)
        )
    return events


def _transients(
    rng: np.random.Generator, count: int, recipe: Recipe, stars: Stars, galaxies: Galaxies, jd: float, first: int
) -> list[Event]:
    """Supernova-like transients, nine in ten placed by the light of a host; the rest without a visible one."""
    events = []
    for serial in range(first, first + count):
        x, y = rng.uniform(0, recipe.side, 2)
        host = -1
        if rng.random() < 0.9 and galaxies.x.size:
            host = int(rng.choice(galaxies.x.size, p=_weights(galaxies.mag, 19.5)))
            x, y = _by_light(rng, galaxies, host)
        mag = float(np.clip(20.6 + np.log10(1.0 - rng.random()) / 0.4, 14.5, 20.6))
        rise, fall = float(np.exp(rng.normal(2.5, 0.6))), float(np.exp(rng.normal(3.4, 0.7)))
        peak = jd - rng.uniform(-0.8 * rise, 1.2 * fall)
        if rng.random() < 0.15:  # it was there when the reference was made and has faded: a true negative
            peak, fall = jd - 800.0 + rng.uniform(-30, 90), 200.0
        events.append(Event(serial, TRANSIENT, float(x), float(y), mag, 0.0, rise, float(peak), fall, host=host))
    return events


def _asteroids(
    rng: np.random.Generator, count: int, recipe: Recipe, stars: Stars, galaxies: Galaxies, jd: float, first: int
) -> list[Event]:
    """Main-belt movers at 0.2 to 1 arcsec a minute, a few faster; most are in the catalogue of known ones."""
    events = []
    for serial in range(first, first + count):
        x, y = rng.uniform(0, recipe.side, 2)
        mag = float(np.clip(20.8 + np.log10(1.0 - rng.random()) / 0.4, 14.0, 20.8))
        rate, angle = np.exp(rng.normal(-0.5, 0.5)) * 1440.0 / recipe.pixel_arcsec, rng.uniform(0, 2 * np.pi)
        motion = float(rate * np.cos(angle)), float(rate * np.sin(angle))
        number = int(rng.integers(1000, 600_000)) if rng.random() < 0.85 else 0
        events.append(
            Event(
                serial,
                ASTEROID,
                float(x),
                float(y),
                mag,
                0.0,
                phase=jd,
                rate_x=motion[0],
                rate_y=motion[1],
                number=number,
            )
        )
    return events


def _weights(mag: Floats, faint: float) -> Floats:
    """Chance to be a host: by light, but not beyond the depth of the survey."""
    weight = 10.0 ** (-0.4 * 0.6 * (mag - faint)) / (1.0 + 10.0 ** (0.8 * (mag - 21.0)))
    return np.asarray(weight / weight.sum())


def _by_light(rng: np.random.Generator, galaxies: Galaxies, row: int) -> tuple[float, float]:
    """A place drawn from a galaxy's light (an exponential disk of its half-light radius)."""
    r = rng.gamma(2.0, galaxies.radius[row] / 1.678)
    angle, turn = rng.uniform(0, 2 * np.pi), galaxies.angle[row]
    a, b = r * np.cos(angle), r * np.sin(angle) * galaxies.ratio[row]
    x = galaxies.x[row] + a * np.cos(turn) - b * np.sin(turn)
    return float(x), float(galaxies.y[row] + a * np.sin(turn) + b * np.cos(turn))


def _wave(turns: Any) -> Any:
    """A light curve of range [-1, 1]: a sharp rise and a slow fall, as pulsating stars have."""
    t = 2.0 * math.pi * (turns % 1.0)
    return np.cos(t) * 0.8 + 0.2 * np.cos(2.0 * t + 0.9)


def _sersic_tables() -> Singles:
    """exp(-b (r ** (1 / n) - 1)) of n = 0.5, 0.55 ... 4.5 as a function of sqrt(r), r in half-light radii to 9."""
    n = 0.5 + SERSIC_STEP * np.arange(81)[:, None]
    b = 2.0 * n - 1.0 / 3.0 + 0.009876 / n
    root = np.linspace(0.0, 3.0, SERSIC_ROOTS + 1)[None, :]
    light = np.exp(-b * (np.maximum(root, 0.1) ** (2.0 / n) - 1.0))  # a core of 1 % of the radius
    return np.asarray(light, np.float32)


def _core_places() -> Singles:
    """Where a galaxy's core is evaluated: 25 places in each of 3 x 3 pixels, then 9 in each around them; (2, 585)."""
    places = []
    for pixels, n in ((CORE[:9], 5), (CORE[9:], 3)):
        steps = (np.arange(n) - n // 2) / n
        within = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        places.append((pixels[:, None, :] + within).reshape(-1, 2))
    return np.ascontiguousarray(np.concatenate(places).T, np.float32)


SERSIC_STEP, SERSIC_ROOTS = 0.05, 1536
SERSIC = _sersic_tables()
FARTHEST = 60.0  # pixels that light of a galaxy reaches
CORE = np.array(sorted(np.ndindex(7, 7), key=lambda at: max(abs(at[0] - 3), abs(at[1] - 3)) > 1)) - 3  # x, y of pixels
PLACES = _core_places()


@njit(cache=True)
def _paint_sersic(
    image: Image, x: Floats, y: Floats, flux: Floats, radius: Floats, index: Floats, ratio: Floats, angle: Floats,
    tables: Singles,
) -> None:  # fmt: skip
    """Add Sersic profiles, 5 x 5 places a pixel at the centre and 3 x 3 around it, each scaled to its flux."""
    rows, columns = image.shape
    room = PLACES.shape[1] + int(2 * FARTHEST + 2) ** 2
    dx, dy, light = np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32)
    for k in range(x.size):
        n, re = index[k], radius[k]
        table = tables[min(max(round((n - 0.5) / SERSIC_STEP), 0), tables.shape[0] - 1)]
        reach = min(max(re * (4.0 if n < 2.0 else 6.0), 4.0), FARTHEST)
        j0, j1 = max(int(y[k] - reach), 0), min(int(y[k] + reach) + 1, rows - 1)
        i0, i1 = max(int(x[k] - reach), 0), min(int(x[k] + reach) + 1, columns - 1)
        if j0 > j1 or i0 > i1:
            continue
        i, j, count = math.floor(x[k] + 0.5), math.floor(y[k] + 0.5), PLACES.shape[1]
        left, low = np.float32(i - x[k]), np.float32(j - y[k])
        for m in range(count):
            dx[m], dy[m] = PLACES[0, m] + left, PLACES[1, m] + low
        for v in range(j0, j1 + 1):
            across = np.float32(v - y[k])
            left = np.float32(i0 - x[k])
            for u in range(i1 - i0 + 1):
                dx[count + u], dy[count + u] = left + np.float32(u), across
            count += i1 - i0 + 1
        c, s = np.cos(angle[k]) / re, np.sin(angle[k]) / re
        form = np.float32(c), np.float32(s), np.float32(c / ratio[k]), np.float32(s / ratio[k])
        _sersic(light[:count], dx[:count], dy[:count], form, table)
        patch = light[PLACES.shape[1] : count].reshape(j1 - j0 + 1, i1 - i0 + 1)
        for m in range(len(CORE)):
            u, v = i + CORE[m, 0], j + CORE[m, 1]
            if i0 <= u <= i1 and j0 <= v <= j1:
                first, share = (25 * m, 25) if m < 9 else (9 * m + 144, 9)
                total = 0.0
                for place in range(first, first + share):
                    total += light[place]
                patch[v - j0, u - i0] = total / share
        whole = patch.sum()
        if whole > 0.0:
            # galaxies cut by the frame's edge are a little too bright there; the margin keeps them out of sight
            image[j0 : j1 + 1, i0 : i1 + 1] += patch * (flux[k] / whole)


@njit(cache=True, error_model="numpy")
def _sersic(out: Singles, dx: Singles, dy: Singles, form: tuple[np.float32, ...], table: Singles) -> None:
    """A profile at these places; in single precision and without branches, as optics._profile."""
    scale = np.float32(SERSIC_ROOTS / 3.0)
    for k in range(out.size):
        major, minor = form[0] * dx[k] + form[1] * dy[k], form[2] * dy[k] - form[3] * dx[k]
        out[k] = np.sqrt(np.sqrt(major * major + minor * minor)) * scale
    for k in range(out.size):
        n = np.uint32(min(np.int32(out[k]), np.int32(SERSIC_ROOTS - 1)))
        part = min(out[k] - np.float32(n), np.float32(1.0))
        out[k] = table[n] + part * (table[n + np.uint32(1)] - table[n])

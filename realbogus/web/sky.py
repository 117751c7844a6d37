"""The sky as SVG: Hammer's equal-area projection, ICRS, right ascension growing to the left as one looks up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

from markupsafe import Markup, escape

CENTRE_RA_DEG = 180.0
WIDTH, HEIGHT = 400, 208  # of the drawing; the ellipse is 392 x 196
_SCALE = 196 / (2 * math.sqrt(2))
_NGP_RA, _NGP_DEC, _NCP_L = 192.85948, 27.12825, 122.93192  # deg; the galactic pole in ICRS (Hipparcos, 1997)
_OBLIQUITY = 23.4393  # deg


def sky(places: Sequence[tuple[float, float, str, str]]) -> Markup:
    """The whole sky with (ra_deg, dec_deg, label, link) marked; with a link "" a mark leads nowhere."""
    marks = []
    for ra, dec, label, link in places:
        x, y = project(ra, dec)
        circle = f'<circle class="place" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(label)}</title></circle>'
        marks.append(f'<a href="{escape(link)}" tabindex="-1">{circle}</a>' if link else circle)
    words = f"Sky map: {len(places)} positions" if len(places) != 1 else f"Sky map: {places[0][2]}"
    return Markup(
        f'<svg class="sky" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">'
        f"{_background()}{''.join(marks)}</svg>"
    )


def project(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Where a direction lies in the drawing."""
    along = (ra_deg - CENTRE_RA_DEG + 180) % 360 - 180
    if ra_deg - CENTRE_RA_DEG == 180:
        along = 180.0
    half, up = math.radians(along) / 2, math.radians(dec_deg)
    root = math.sqrt(1 + math.cos(up) * math.cos(half))
    x, y = 2 * math.sqrt(2) * math.cos(up) * math.sin(half) / root, math.sqrt(2) * math.sin(up) / root
    return WIDTH / 2 - _SCALE * x, HEIGHT / 2 - _SCALE * y


def galactic_to_icrs(l_deg: float, b_deg: float) -> tuple[float, float]:
    """ICRS (ra, dec) in deg of galactic (l, b) in deg, to some arcsec."""
    b, turn, pole = math.radians(b_deg), math.radians(_NCP_L - l_deg), math.radians(_NGP_DEC)
    dec = math.asin(math.sin(pole) * math.sin(b) + math.cos(pole) * math.cos(b) * math.cos(turn))
    y = math.cos(b) * math.sin(turn)
    x = math.cos(pole) * math.sin(b) - math.sin(pole) * math.cos(b) * math.cos(turn)
    return (_NGP_RA + math.degrees(math.atan2(y, x))) % 360, math.degrees(dec)


@cache
def _background() -> str:
    """Outline, graticule, the planes of Galaxy and ecliptic, names of hours."""
    pieces = [f'<ellipse class="heaven" cx="{WIDTH / 2}" cy="{HEIGHT / 2}" rx="196" ry="98"/>']
    for dec in (-60, -30, 0, 30, 60):
        pieces.append(_path("grid", [(ra, float(dec)) for ra in _edge_to_edge()]))
    for ra in range(60, 360, 60):
        pieces.append(_path("grid", [(float(ra), float(dec)) for dec in range(-90, 91, 3)]))
    pieces.append(_path("galaxy", [galactic_to_icrs(float(along), 0.0) for along in range(0, 363, 2)]))
    pieces.append(_path("ecliptic", [_ecliptic(float(along)) for along in range(0, 363, 2)]))
    for hour in (4, 8, 12, 16, 20):
        x, y = project(hour * 15.0, 0.0)
        pieces.append(f'<text class="tick" x="{x + 2:.1f}" y="{y - 3:.1f}">{hour}h</text>')
    return "".join(pieces)


def _edge_to_edge() -> Iterator[float]:
    """Right ascensions from the left edge to the right one."""
    return (CENTRE_RA_DEG + 179.999 - step * 359.998 / 120 for step in range(121))


def _ecliptic(longitude_deg: float) -> tuple[float, float]:
    along, tilt = math.radians(longitude_deg), math.radians(_OBLIQUITY)
    ra = math.atan2(math.sin(along) * math.cos(tilt), math.cos(along))
    return math.degrees(ra) % 360, math.degrees(math.asin(math.sin(along) * math.sin(tilt)))


def _path(kind: str, directions: Sequence[tuple[float, float]]) -> str:
    """A line, interrupted where it leaves the map at one edge and comes in at the other."""
    steps, last = [], None
    for ra, dec in directions:
        x, y = project(ra, dec)
        pen = "L" if last is not None and abs(x - last) < WIDTH / 3 else "M"
        steps.append(f"{pen}{x:.1f} {y:.1f}")
        last = x
    return f'<path class="{kind}" d="{"".join(steps)}"/>'

"""Light curves as SVG: magnitudes over days, brighter up, a shape and a colour a band, upper limits as open triangles.

Colours are classes of the style sheet, so that they follow light and dark. Nothing that came with a packet gets into
the drawing but finite numbers and the names of known bands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup

from realbogus.surveys.history import Point
from realbogus.surveys.survey import BANDS
from realbogus.web.scales import plain, ticks

_SHAPES = {  # band -> path of a marker about the origin, some 8 px wide
    "u": "M0-5L5 4H-5Z",
    "g": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "r": "M-3.7-3.7h7.4v7.4h-7.4Z",
    "i": "M0-5L5 0L0 5L-5 0Z",
    "z": "M-5-4H5L0 5Z",
    "y": "M-4.5-1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3Z",
}
_OTHER = "M-4-4L4 4M-4 4L4-4"
_LIMIT = "M-4-3H4L0 4Z"
_LEAST_RANGE = 0.6  # mag


def light_curve(
    points: Sequence[Point], now_mjd: float, *, width: int = 600, height: int = 320, since: str = "this detection"
) -> Markup:
    """The light curve with axes; x is days before now_mjd, whose detection is ringed. "" where there is no point.

    since says what happened at now_mjd, for the title of the axis.
    """
    return _drawn(points, now_mjd, width, height, (58, 14, 14, 50), since)


def sparkline(points: Sequence[Point], now_mjd: float, *, width: int = 340, height: int = 72) -> Markup:
    """The same, small and without axes."""
    return _drawn(points, now_mjd, width, height, (8, 8, 8, 8), "")


def _drawn(
    points: Sequence[Point], now: float, width: int, height: int, margins: tuple[int, int, int, int], since: str
) -> Markup:
    """With axes where since says from what its days are counted."""
    if not points:
        return Markup("")
    left, right, top, bottom = margins
    (early, late), (bright, faint) = _days(points, now), _magnitudes(points)

    def x(mjd: float) -> float:
        return left + (mjd - now - early) / (late - early) * (width - left - right)

    def y(magnitude: float) -> float:
        return top + (magnitude - bright) / (faint - bright) * (height - top - bottom)

    pieces = (
        list(_axes(early, late, bright, faint, now, x, y, (left, right, top, bottom), width, height, since))
        if since
        else []
    )
    pieces += [_point(point, x, y, ringed=abs(point.mjd - now) < 1e-3) for point in points]
    kind = "lightcurve" if since else "sparkline"
    return Markup(  # made of numbers and of constants
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{_words(points, now)}">'
        f"{''.join(pieces)}</svg>"
    )


def _days(points: Sequence[Point], now: float) -> tuple[float, float]:
    """First and last day shown, relative to now, with some room."""
    early, late = min(p.mjd for p in points) - now, max(max(p.mjd for p in points) - now, 0.0)
    room = max(0.04 * (late - early), 0.5)
    return early - room, late + room


def _magnitudes(points: Sequence[Point]) -> tuple[float, float]:
    """Brightest and faintest magnitude shown."""
    errors = [0.0 if math.isnan(p.mag_err) else min(p.mag_err, 1.0) for p in points]
    bright = min(p.mag - error for p, error in zip(points, errors, strict=True))
    faint = max(p.mag + error for p, error in zip(points, errors, strict=True))
    room = max(0.08 * (faint - bright), (_LEAST_RANGE - (faint - bright)) / 2, 0.05)
    return bright - room, faint + room


def _axes(
    early: float, late: float, bright: float, faint: float, now: float,
    x: Callable[[float], float], y: Callable[[float], float],
    margins: tuple[int, int, int, int], width: int, height: int, since: str,
) -> Iterator[str]:  # fmt: skip
    left, right, _, bottom = margins
    for magnitude in ticks(bright, faint, 5):
        at = y(magnitude)
        yield f'<path class="grid" d="M{left} {at:.1f}H{width - right}"/>'
        yield f'<text class="tick" x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{plain(magnitude)}</text>'
    for day in ticks(early, late, 7):
        at = x(now + day)
        yield f'<path class="grid" d="M{at:.1f} {height - bottom}v5"/>'
        yield f'<text class="tick" x="{at:.1f}" y="{height - bottom + 21}" text-anchor="middle">{plain(day)}</text>'
    middle = (left + width - right) / 2
    yield f'<text class="tick" x="{middle:.0f}" y="{height - 7}" text-anchor="middle">days from {since}</text>'
    yield f'<text class="tick" x="14" y="{(height - bottom) / 2:.0f}" text-anchor="middle" transform="rotate(-90 14 {(height - bottom) / 2:.0f})">AB magnitude</text>'  # noqa: E501
    yield f'<path class="axis" d="M{left} {height - bottom}H{width - right}"/>'


def _point(point: Point, x: Callable[[float], float], y: Callable[[float], float], *, ringed: bool) -> str:
    across, up = x(point.mjd), y(point.mag)
    name = band_class(point.band)
    if point.sign == 0:
        return f'<path class="limit {name}" d="{_LIMIT}" transform="translate({across:.1f} {up:.1f})"/>'
    pieces = []
    if point.mag_err > 0:  # NaN is not
        error = min(point.mag_err, 1.0)
        pieces.append(
            f'<path class="error {name}" d="M{across:.1f} {y(point.mag - error):.1f}V{y(point.mag + error):.1f}"/>'
        )
    shape = _SHAPES.get(point.band, _OTHER)
    fainter = " fainter" if point.sign < 0 else ""
    pieces.append(f'<path class="point {name}{fainter}" d="{shape}" transform="translate({across:.1f} {up:.1f})"/>')
    if ringed:
        pieces.append(f'<circle class="now" cx="{across:.1f}" cy="{up:.1f}" r="9"/>')
    return "".join(pieces)


def band_class(band: str) -> str:
    """The class of a band in the style sheet."""
    return f"band-{band}" if band in BANDS else "band-other"


def legend(points: Sequence[Point]) -> Markup:
    """What the marks mean: the bands that occur, limits and fainter detections where there are any."""
    bands = sorted({p.band for p in points}, key=lambda band: ("ugrizy".find(band), band))
    rows = [
        (_SHAPES.get(band, _OTHER), f"point {band_class(band)}", band if band in BANDS else "other") for band in bands
    ]
    if any(p.sign < 0 for p in points):
        rows.append((_SHAPES["g"], "point fainter band-other", "fainter than the template"))
    if any(p.sign == 0 for p in points):
        rows.append((_LIMIT, "limit band-other", "upper limit, 5 sigma"))
    start = '<li><svg class="mark" viewBox="-7 -7 14 14" aria-hidden="true">'
    items = [f'{start}<path class="{kind}" d="{shape}"/></svg>{name}</li>' for shape, kind, name in rows]
    return Markup(f'<ul class="legend">{"".join(items)}</ul>')  # made of constants


def _words(points: Sequence[Point], now: float) -> str:
    """The drawing for those who do not see it."""
    seen = [p for p in points if p.sign]
    if not seen:
        return f"Light curve: {len(points)} upper limits, no detection"
    days = now - min(p.mjd for p in seen)
    brightest = min(p.mag for p in seen)
    limits = len(points) - len(seen)
    told = f"{len(seen)} detections over {max(days, 0):.1f} days, brightest {brightest:.2f} mag, {limits} upper limits"
    return f"Light curve: {told}"

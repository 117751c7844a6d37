"""Family D: sizes and elongations, from the packet's columns and from windowed moments of the difference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from realbogus.alerts import Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.noise import AUTOSCAN
from realbogus.features.view import View, Window, gaussian, total

D = Family("D")


class Moments(NamedTuple):
    """Windowed second moments about the candidate's pixel and the windowed centroid, pixels."""

    xx: Column
    yy: Column
    xy: Column
    x: Column
    y: Column


def windowed(view: View, image: Window) -> Moments:
    """Moments of the positive part of an image over K under a Gaussian of FWHM 1.5 W."""
    weight = np.where(view.seen, gaussian(1.5 * view.psf) * np.maximum(image, 0.0), 0.0)
    norm = total(weight)
    parts = (geo.X * geo.X, geo.Y * geo.Y, geo.X * geo.Y, geo.X, geo.Y)
    return Moments(*(total(weight * part) / norm for part in parts))


def _moments(view: View) -> Moments:
    return view.kept("moments", lambda v: windowed(v, v.difference.window))


@D.feature(0, 1, "N2 N3", AUTOSCAN, columns="major_axis_px minor_axis_px")
def ellipticity(view: View) -> Column:
    """1 - minor over major axis of the candidate."""
    major, minor = view.column("major_axis_px"), view.column("minor_axis_px")
    return np.where((major > 0) & (minor >= 0), 1 - minor / major, np.nan)


@D.feature(0, 5, "N2", AUTOSCAN + ", scaling ours", columns="minor_axis_px psf_fwhm_px", unit="W")
def b_ratio(view: View) -> Column:
    """Minor axis of the candidate as FWHM over the PSF's, clipped to 5."""
    return np.clip(2.354820045030949 * view.column("minor_axis_px") / view.psf, 0.0, 5.0)


@D.feature(0.1, 10, "N2 N3", "ZTF schema", columns="fwhm_over_psf")
def fwhm_ratio(view: View) -> Column:
    """Width of the candidate over that of the PSF, clipped to 0.1 and 10."""
    return np.clip(view.column("fwhm_over_psf"), 0.1, 10.0)


@D.feature(0, 4, "N1 N3", "ours", stamps="D", unit="W")
def size_ratio(view: View) -> Column:
    """Root of the summed windowed moments of d over that of P."""
    moments = _moments(view)
    model = windowed(view, view.model)
    return np.where(view.seen_enough, np.sqrt((moments.xx + moments.yy) / (model.xx + model.yy)), np.nan)


@D.feature(0, 1, "N1 N3", "ours", stamps="D")
def pixel_ellipticity(view: View) -> Column:
    """1 - minor over major axis of the windowed moments of d."""
    m = _moments(view)
    half, root = (m.xx + m.yy) / 2, np.hypot((m.xx - m.yy) / 2, m.xy)
    minor = np.maximum(half - root, 0.0)
    return np.where(view.seen_enough & (half + root > 0), 1 - np.sqrt(minor / (half + root)), np.nan)


@D.feature(0, 2, "N1 N3", "ours", stamps="D", unit="W")
def centroid_offset(view: View) -> Column:
    """Distance of the windowed centroid of d from the candidate's pixel."""
    m = _moments(view)
    return np.where(view.seen_enough, np.hypot(m.x, m.y) / view.psf, np.nan)

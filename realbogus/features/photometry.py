"""Family C: aperture photometry on the stamps, and how the candidate compares with what lies beneath it."""

from __future__ import annotations

import numpy as np

from realbogus.alerts import Column
from realbogus.features import geometry as geo
from realbogus.features.feature import Family
from realbogus.features.fits import psf_flux
from realbogus.features.noise import AUTOSCAN
from realbogus.features.relations import closure
from realbogus.features.view import Layer, View, slog, total

C = Family("C")
IN_APERTURE = geo.APERTURE > 0


def aperture_sum(view: View, layer: Layer) -> Column:
    """Background-subtracted sum within 5 px of the candidate, exact overlap; NaN under 80 % valid pixels.

    Invalid pixels are made up for by the mean of the valid ones.
    """
    weight = np.where(layer.ok, geo.APERTURE, 0.0)
    flux = total(weight * layer.window) * (geo.APERTURE.sum() / total(weight))
    return np.where(view.enough(IN_APERTURE, layer.ok), flux, np.nan)


@C.feature(-15, 15, "N1 N3", AUTOSCAN + ", host flux and logarithm ours", stamps="DST")
def r_aper_psf(view: View) -> Column:
    """slog of (template flux in 5 px + F) / F on the flux scale of the difference."""
    flux = psf_flux(view)
    host = closure(view).scale * aperture_sum(view, view.template)
    return np.where(view.seen_enough & (flux != 0), slog((host + flux) / flux), np.nan)


@C.feature(-25, 25, "N1 N3", AUTOSCAN + ", flux scale ours", stamps="DST")
def flux_ratio(view: View) -> Column:
    """slog of (difference flux - template flux) / |template flux| in 5 px on the flux scale of the difference."""
    host = closure(view).scale * aperture_sum(view, view.template)
    return np.where(host != 0, slog((aperture_sum(view, view.difference) - host) / np.abs(host)), np.nan)


@C.feature(-20, 20, "N2", AUTOSCAN, columns="host_absent host_mag mag_limit mag_psf", unit="mag")
def host_mag_diff(view: View) -> Column:
    """Host magnitude less candidate magnitude; the limiting magnitude stands for the host where there is none."""
    absent, limit = view.column("host_absent"), view.column("mag_limit")
    host = np.where(absent == 1, limit, view.column("host_mag"))
    return np.where(np.isnan(absent), np.nan, host - view.column("mag_psf"))


@C.feature(0, 1, "N2", AUTOSCAN + " (MAGLIM)", columns="host_absent")
def host_absent(view: View) -> Column:
    """1 where there is no reference source within 5 arcsec."""
    return view.column("host_absent")


@C.feature(-10, 15, "N2", AUTOSCAN, columns="mag_limit mag_psf", unit="mag")
def mag_from_limit(view: View) -> Column:
    """Limiting magnitude less candidate magnitude."""
    return view.column("mag_limit") - view.column("mag_psf")


@C.feature(-10, 10, "N2", "ZTF schema", columns="mag_aperture mag_psf", unit="mag")
def magdiff_ap(view: View) -> Column:
    """Aperture magnitude less PSF magnitude of the candidate; apertures differ by survey."""
    return view.column("mag_aperture") - view.column("mag_psf")


@C.feature(-3, 3, "N1 N3", "ours, growth curve", stamps="D")
def growth(view: View) -> Column:
    """Flux of d within 0.75 W over flux within 1.5 W, less the same of P, clipped to 3."""
    d, near = view.difference.window, view.seen & (0.75 * view.psf[:, None] >= geo.R)
    wide = view.seen & (1.5 * view.psf[:, None] >= geo.R)
    flux = total(d, wide)
    value = total(d, near) / flux - total(view.model, near) / total(view.model, wide)
    return np.where(view.seen_enough & (flux > 0), np.clip(value, -3.0, 3.0), np.nan)

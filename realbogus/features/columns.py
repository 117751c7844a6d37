"""Families J and K: what the survey measured of the candidate, of its host and of the stars around it."""

from __future__ import annotations

import numpy as np

from realbogus.alerts import Column
from realbogus.features.feature import Family
from realbogus.features.noise import AUTOSCAN
from realbogus.features.view import View, slog

J, K = Family("J"), Family("K")
LN10 = 2.302585092994046
ZTF, RUBIN = ("ztf",), ("rubin",)
# A column that old packets lack is NaN in them, which would tell a model the night instead of the sky.
YOUNG = "absent from ZTF packets before schema 3: its NaN would tell the night"


def _log10(values: Column) -> Column:
    logarithm: Column = np.log10(np.where(values > 0, values, np.nan))
    return logarithm


@J.feature(-1, 5, "N2 N3", AUTOSCAN, columns="snr_psf", unit="dex")
def snr(view: View) -> Column:
    """log10 of the S/N of the PSF fit."""
    return _log10(view.column("snr_psf"))


@J.feature(-1, 5, "N2", "ZTF schema", columns="snr_peak", unit="dex", surveys=ZTF)
def scorr(view: View) -> Column:
    """log10 of the peak S/N in the matched-filter detection image."""
    return _log10(view.column("snr_peak"))


@J.feature(-10, 10, "N2", "ZTF schema, reading ours", columns="sharpness_snr", surveys=ZTF, caution=YOUNG)
def dsdiff(view: View) -> Column:
    """slog of the S/N on the difference less that on its PSF-convolved form; high = sharper than the PSF."""
    return slog(view.column("sharpness_snr"))


@J.feature(0, 1, "N2", "ZTF and Rubin schemas", columns="stellarity")
def stellarity(view: View) -> Column:
    """The survey's star/galaxy morphology of the candidate, 1 = point-like."""
    return view.column("stellarity")


@J.feature(0, 50, "N2", AUTOSCAN + " (FLAGS)", columns="flag_count")
def flag_count(view: View) -> Column:
    """Bad pixels in the central 5 x 5 (ZTF) or pixel flags set (Rubin).

    ZTF publishes no alert with bad pixels there, so that it is 0 in all real packets of ZTF seen.
    """
    return view.column("flag_count")


@J.feature(0, 1, "N2", "ZTF schema", columns="zero_point_rms", unit="mag", surveys=ZTF, caution=YOUNG)
def zp_rms(view: View) -> Column:
    """Scatter of the photometric solution: catches bad images."""
    return view.column("zero_point_rms")


@J.feature(0, 20, "N2", "ZTF and Rubin schemas", columns="chi2_psf_catalogue")
def chi2_cat(view: View) -> Column:
    """ln(1 + reduced chi square of the survey's PSF fit)."""
    chi2 = view.column("chi2_psf_catalogue")
    logarithm: Column = np.log1p(np.where(chi2 >= 0, chi2, np.nan))
    return logarithm


@J.feature(-10, 10, "N2 N3", "Rubin schema, combination ours", columns="dipole_chi2_ratio", surveys=RUBIN)
def dipole_chi2_ratio(view: View) -> Column:
    """ln of the reduced chi square of the survey's dipole fit over that of its PSF fit."""
    return LN10 * _log10(view.column("dipole_chi2_ratio"))


@J.feature(-10, 10, "N2 N3", "Rubin schema, combination ours", columns="trail_chi2_ratio", surveys=RUBIN)
def trail_chi2_ratio(view: View) -> Column:
    """ln of the reduced chi square of the survey's trail fit over that of its PSF fit."""
    return LN10 * _log10(view.column("trail_chi2_ratio"))


@J.feature(0, 200, "N2", "Rubin schema", columns="bounding_box_px psf_fwhm_px", unit="W", surveys=RUBIN)
def bbox_ratio(view: View) -> Column:
    """Side of the detection's bounding box over W."""
    return view.column("bounding_box_px") / view.psf


@K.feature(0, 60, "N2", AUTOSCAN, columns="host_distance_arcsec", unit="arcsec", surveys=ZTF)
def host_dist(view: View) -> Column:
    """Distance to the nearest source of the reference image."""
    return view.column("host_distance_arcsec")


@K.feature(0, 40, "N2", AUTOSCAN, columns="host_mag", unit="mag")
def host_mag(view: View) -> Column:
    """Magnitude of the nearest reference source."""
    return view.column("host_mag")


@K.feature(0, 10, "N2 N3", AUTOSCAN, columns="host_mag_err", unit="mag")
def host_mag_err(view: View) -> Column:
    """Error of that magnitude."""
    return view.column("host_mag_err")


@K.feature(-50, 50, "N2", "ZTF schema", columns="host_sharpness", surveys=ZTF)
def host_sharp(view: View) -> Column:
    """DAOPhot sharpness of the nearest reference source, 0 = star-like."""
    return view.column("host_sharpness")


@K.feature(0, 120, "N2", "ZTF schema", columns="ps1_distance_arcsec", unit="arcsec", surveys=ZTF)
def ps1_dist1(view: View) -> Column:
    """Distance to the nearest PS1 source within 30 arcsec."""
    return view.column("ps1_distance_arcsec")


@K.feature(0, 1, "N2", "ZTF schema", columns="ps1_star_score", surveys=ZTF)
def ps1_sg1(view: View) -> Column:
    """Star/galaxy score of that source, 1 = star."""
    return view.column("ps1_star_score")


@K.feature(0, 2000, "N2", "ZTF schema", columns="ps1_neighbours", surveys=ZTF)
def ps1_n30(view: View) -> Column:
    """PS1 sources within 30 arcsec."""
    return view.column("ps1_neighbours")


@K.feature(0, 300, "N2", "ZTF schema", columns="gaia_distance_arcsec", unit="arcsec", surveys=ZTF, caution=YOUNG)
def gaia_dist(view: View) -> Column:
    """Distance to the nearest Gaia source within 90 arcsec."""
    return view.column("gaia_distance_arcsec")


@K.feature(0, 25, "N2", "ZTF schema", columns="gaia_mag", unit="mag", surveys=ZTF, caution=YOUNG)
def gaia_mag(view: View) -> Column:
    """G magnitude of that source."""
    return view.column("gaia_mag")


@K.feature(
    -6, 3, "N2", "ours, from ZTF columns", columns="gaia_bright_distance_arcsec gaia_bright_mag", unit="dex",
    surveys=ZTF, caution=YOUNG,
)  # fmt: skip
def bright_halo(view: View) -> Column:
    """log10 distance to the nearest star of G < 14 + 0.2 (G - 14), distance at least 0.1 arcsec; +3 where none."""
    distance, mag = view.column("gaia_bright_distance_arcsec"), view.column("gaia_bright_mag")
    scaled = np.log10(np.maximum(distance, 0.1)) + 0.2 * (mag - 14)
    return np.where(np.isinf(distance), 3.0, np.minimum(scaled, 3.0))

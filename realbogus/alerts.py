"""The values that flow: AlertBatch, ScoredBatch, Rejected, Outcomes. No I/O, no survey's field names.

Alerts travel as columns. One bad alert leaves its batch as `Rejected`; the others go on, so that always
``len(messages) == scored + rejected``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realbogus.errors import Reason

SCIENCE, TEMPLATE, DIFFERENCE = 0, 1, 2  # axis 1 of triplets
STAMP_SIDE = 63  # pixels; ZTF, 1.01 arcsec each. Other surveys are laid into the same frame, centred
CENTRE = STAMP_SIDE // 2  # the candidate's pixel, both axes

Triplets = NDArray[np.float32]  # (N, 3, 63, 63): science, template, difference; NaN = no pixel
Column = NDArray[np.float64]  # (N,), NaN = undefined
Matrix = NDArray[np.float32]  # (N, F), NaN = undefined


@dataclass(frozen=True)
class ColumnMeaning:
    """What a column of an AlertBatch means, the same for all surveys."""

    unit: str
    meaning: str
    denied: str = ""  # why features may not read it; "" = they may


COLUMNS: Mapping[str, ColumnMeaning] = {
    # what features may read
    "psf_fwhm_px": ColumnMeaning("px", "FWHM of the PSF in the difference image, pixels of the stamp"),
    "mag_psf": ColumnMeaning("mag", "PSF-fit magnitude of the difference flux, AB"),
    "mag_psf_err": ColumnMeaning("mag", "its 1 sigma error"),
    "mag_aperture": ColumnMeaning("mag", "aperture magnitude of the difference flux; apertures differ by survey"),
    "mag_limit": ColumnMeaning("mag", "5 sigma limiting magnitude of the difference image"),
    "snr_psf": ColumnMeaning("", "signal to noise of the PSF fit, >= 0"),
    "snr_peak": ColumnMeaning("", "peak signal to noise in the matched-filter detection image (ZTF scorr)"),
    "sharpness_snr": ColumnMeaning("", "S/N on the difference minus S/N on its PSF-convolved form (ZTF dsdiff)"),
    "stellarity": ColumnMeaning("", "the survey's star/galaxy morphology of the candidate, 1 = point-like"),
    "flag_count": ColumnMeaning("", "bad pixels in the 5x5 box (ZTF nbad) or number of pixel flags set (Rubin)"),
    "zero_point_rms": ColumnMeaning("mag", "scatter of the photometric solution of the image"),
    "chi2_psf_catalogue": ColumnMeaning("", "reduced chi square of the survey's PSF fit"),
    "fwhm_over_psf": ColumnMeaning("", "width of the candidate over that of the PSF"),
    "major_axis_px": ColumnMeaning("px", "1 sigma major axis of the candidate's windowed profile"),
    "minor_axis_px": ColumnMeaning("px", "1 sigma minor axis"),
    "host_absent": ColumnMeaning("0/1", "1 = no reference source within 5 arcsec (Rubin: template flux below 3 sigma)"),
    "host_distance_arcsec": ColumnMeaning("arcsec", "distance to the nearest source of the reference image"),
    "host_mag": ColumnMeaning("mag", "its magnitude"),
    "host_mag_err": ColumnMeaning("mag", "its 1 sigma error"),
    "host_sharpness": ColumnMeaning("", "its DAOPhot sharpness, 0 = star-like"),
    "ps1_distance_arcsec": ColumnMeaning("arcsec", "distance to the nearest PS1 source, searched within 30 arcsec"),
    "ps1_star_score": ColumnMeaning("", "its star/galaxy score, 1 = star"),
    "ps1_neighbours": ColumnMeaning("", "number of PS1 sources within 30 arcsec"),
    "gaia_distance_arcsec": ColumnMeaning("arcsec", "distance to the nearest Gaia source within 90 arcsec"),
    "gaia_mag": ColumnMeaning("mag", "its G magnitude"),
    "gaia_bright_distance_arcsec": ColumnMeaning(
        "arcsec", "distance to the nearest Gaia source with G < 14; inf = searched, none within 90 arcsec"
    ),
    "gaia_bright_mag": ColumnMeaning("mag", "its G magnitude"),
    "dipole_chi2_ratio": ColumnMeaning(
        "", "reduced chi square of the survey's dipole fit over that of its PSF fit (Rubin)"
    ),
    "trail_chi2_ratio": ColumnMeaning("", "the same for its trail fit (Rubin)"),
    "bounding_box_px": ColumnMeaning("px", "side of the detection's bounding box (Rubin)"),
    "diff_sign": ColumnMeaning(
        "+1/-1",
        "+1 brighter than the template, -1 fainter. Stamps are already turned so that the candidate is positive",
    ),
    # what they may not
    "ra_deg": ColumnMeaning("deg", "right ascension ICRS, [0, 360)", "position memorises bad detectors and fields"),
    "dec_deg": ColumnMeaning("deg", "declination ICRS, [-90, 90]", "position memorises bad detectors and fields"),
    "mjd": ColumnMeaning("d", "UTC modified Julian date at mid-exposure", "time leaks the campaign"),
    "exposure_s": ColumnMeaning("s", "exposure time", "survey-epoch proxy"),
    "chip_x_px": ColumnMeaning(
        "px", "x on the detector, as the survey counts", "position memorises bad detectors and fields"
    ),
    "chip_y_px": ColumnMeaning(
        "px", "y on the detector, as the survey counts", "position memorises bad detectors and fields"
    ),
    "detector": ColumnMeaning(
        "", "number of the detector: ZTF readout channel, 0 to 63, Rubin detector", "position memorises bad detectors"
    ),
    "position_error_arcsec": ColumnMeaning("arcsec", "1 sigma error of the position", "survey constant"),
    "survey_rb": ColumnMeaning("", "the survey's own forest score (ZTF rb)", "another classifier's score"),
    "survey_drb": ColumnMeaning(
        "", "the survey's own network score (ZTF drb, Rubin reliability)", "another classifier's score"
    ),
}


@dataclass(frozen=True)
class AlertBatch:
    """N readable alerts of one survey, as columns. Arrays are not to be written to."""

    survey: str  # "ztf", "rubin"
    index: NDArray[np.int64]  # (N,) position of each alert among the messages it came from
    candid: NDArray[np.int64]  # (N,) one detection; Rubin diaSourceId. Beyond 2**53: never through a float
    object_id: Sequence[str]  # (N,) ZTF objectId, Rubin diaObjectId, as text
    band: Sequence[str]  # (N,) "g", "r", "i", ...; "" = unknown
    schema: Sequence[str]  # (N,) name of the packet's own schema, "ztf/4.02"
    columns: Mapping[str, Column]  # every name of COLUMNS; all-NaN where the survey has no such thing
    triplets: Triplets  # (N, 3, 63, 63), difference turned so that the candidate is positive

    def __len__(self) -> int:
        return len(self.candid)


@dataclass(frozen=True)
class Rejected:
    """An alert that could not be scored, and why."""

    index: int  # position among the messages
    reason: Reason
    detail: str  # one sentence that a person understands
    survey: str = ""  # "" = not recognised
    candid: int | None = None  # None = not readable
    object_id: str = ""


@dataclass(frozen=True)
class ModelId:
    """Who judged: everything an annotation or event must name about the model."""

    name: str
    version: str
    sha256: str  # of the model's content, 64 hex digits
    feature_set: str  # id of the ordered feature list, with a digest of the definitions
    threshold: float  # score from which an alert counts as real, six decimals
    calibrated: bool  # whether p_real is a calibrated probability
    threshold_p_real: float | None = None  # the threshold in force on the scale of p_real; None = not calibrated
    training_set: str = ""  # digest of the labelled alerts it was trained on; "" = it does not tell


@dataclass(frozen=True)
class Held:
    """Why a promising alert is not handed on, and what must be released for it to be."""

    by: str  # the exposure, "ztf/61000.25123"
    why: str  # one sentence


@dataclass(frozen=True)
class ScoredBatch:
    """What a model said of an AlertBatch."""

    alerts: AlertBatch
    model: ModelId
    features: Matrix  # (N, F), the very values that were scored
    feature_names: Sequence[str]  # (F,)
    score: Column  # (N,) 0 bogus to 1 real, rounded to six decimals: what is printed is what was decided on
    p_real: Column  # (N,) calibrated probability, NaN where the model is not calibrated
    forward: NDArray[np.bool_]  # (N,) whether the policy forwards it
    contributions: Mapping[int, NDArray[np.float64]] = field(
        default_factory=dict
    )  # row -> (F,) share of each feature in score - base
    held: Mapping[int, Held] = field(default_factory=dict)  # rows that the policy forwards and something holds

    def __len__(self) -> int:
        return len(self.alerts)


@dataclass(frozen=True)
class Outcomes:
    """What became of a batch of messages: each ends exactly once."""

    messages: int
    scored: Sequence[ScoredBatch]  # one a survey, in order of the survey's name
    rejected: Sequence[Rejected]  # by rising index

    def __iter__(self) -> Iterator[ScoredBatch]:
        return iter(self.scored)

    def counts(self) -> dict[str, int]:
        """messages, scored, rejected and forwarded; scored + rejected == messages."""
        scored = sum(len(batch) for batch in self.scored)
        forwarded = sum(int(batch.forward.sum()) for batch in self.scored)
        return {"messages": self.messages, "scored": scored, "rejected": len(self.rejected), "forwarded": forwarded}

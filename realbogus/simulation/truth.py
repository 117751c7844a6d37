"""What each detection really is: matched against the scene and against the maps of defects.

A detection is real if something that truly changed lies under it, has its sign, and makes up a good part of its flux.
All others are bogus, and get the kind of whatever spoilt the frame there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from realbogus.simulation.defects import Defect
from realbogus.simulation.detection import Candidates
from realbogus.simulation.scene import Event

Floats = NDArray[np.float64]
REAL_KINDS = ("transient", "variable", "asteroid")
BOGUS_KINDS = (
    "cosmic_ray", "hot_pixel", "bad_column", "trail", "glint", "crosstalk", "amplifier", "saturation", "spike", "ghost",
    "bad_flat", "template_defect", "dipole", "flux_scale", "residual", "noise",
)  # fmt: skip
_BY_BIT = (  # in order of precedence
    (Defect.TEMPLATE, "template_defect"),
    (Defect.COSMIC_RAY, "cosmic_ray"),
    (Defect.HOT_PIXEL, "hot_pixel"),
    (Defect.BAD_COLUMN, "bad_column"),
    (Defect.TRAIL, "trail"),
    (Defect.GLINT, "glint"),
    (Defect.CROSSTALK, "crosstalk"),
    (Defect.AMPLIFIER, "amplifier"),
    (Defect.SATURATION, "saturation"),
    (Defect.SPIKE, "spike"),
    (Defect.GHOST, "ghost"),
    (Defect.BAD_FLAT, "bad_flat"),
)
LEAST_SHARE = 0.5  # of the measured flux that a true change must account for
DIPOLE_PX = 0.2  # displacement from which a residual is called a dipole


@dataclass(frozen=True)
class Truth:
    """What one packet really shows, and what to group it by in honest splits."""

    candid: int
    object_id: str
    real: bool
    kind: str  # one of REAL_KINDS or BOGUS_KINDS
    snr: float  # of the peak in the detection image
    magpsf: float  # as measured
    true_mag: float  # of the change, NaN for bogus
    share: float  # of the measured flux that a true change of its sign within reach makes up; 0 = there is none
    sign: int  # +1 brighter than the template, -1 fainter
    exposure: int  # pid: same for all detections of one exposure and detector
    night: int  # nid
    field: int
    detector: int  # rcid
    band: str
    seeing_px: float
    source: str  # what in the scene it belongs to, "" = nothing: same for all detections of one thing
    host: str  # the galaxy it lies in or the star it comes from, "" = none
    recipe: str

    @classmethod
    def header(cls) -> list[str]:
        """Names of the columns of a truth table."""
        return [field.name for field in fields(cls)]

    def row(self) -> list[str]:
        """Its values as text, real as 0 or 1."""
        values = [getattr(self, name) for name in self.header()]
        return [str(int(v)) if isinstance(v, bool) else f"{v:.5g}" if isinstance(v, float) else str(v) for v in values]


@dataclass(frozen=True)
class Change:
    """A true change in one exposure: where it falls on the frame, and DN of science minus template."""

    event: Event
    x: float
    y: float
    flux: float


@dataclass(frozen=True)
class Verdict:
    """What a candidate is."""

    kind: str
    change: Change | None = None
    source: str = ""
    share: float = 0.0  # see Truth

    @property
    def real(self) -> bool:
        """Whether something truly changed."""
        return self.change is not None


@dataclass(frozen=True)
class Surroundings:
    """What could be under a detection, on the grid of the science frame."""

    changes: Sequence[Change]
    science_bits: NDArray[np.uint16]
    template_bits: NDArray[np.uint16]  # on the science grid too
    masked: NDArray[np.bool_]
    sources: Floats  # (N, 3) x, y and flux in DN of all stars and galaxies
    displaced: Floats  # (N,) pixels between a source in the science frame and in the registered template
    fwhm_px: float


def judge(found: Candidates, around: Surroundings) -> list[Verdict]:
    """One verdict a candidate, in order."""
    tree = cKDTree(around.sources[:, :2])
    changes = cKDTree(np.array([[c.x, c.y] for c in around.changes])) if around.changes else None
    return [_judge_one(found, row, around, tree, changes) for row in range(len(found))]


def _judge_one(found: Candidates, row: int, around: Surroundings, tree: cKDTree, changes: cKDTree | None) -> Verdict:
    x, y, sign = float(found["x"][row]), float(found["y"][row]), float(found["sign"][row])
    flux, error = float(found["flux"][row]), float(found["flux_error"][row])
    change = _change_under(x, y, sign, around, changes)
    share = abs(change.flux) / max(flux, error) if change else 0.0
    if change is not None and abs(change.flux) > max(LEAST_SHARE * flux, 2.0 * error):
        return Verdict(change.event.kind, change, f"event{change.event.serial}", share)
    kind = _defect_under(x, y, around)
    source, displaced = _source_under(x, y, around, tree)
    name = f"source{source}" if source >= 0 else ""
    if kind:
        return Verdict(kind, None, name if kind in ("saturation", "spike") else "", share)
    if source < 0:
        return Verdict("noise", share=share)
    if displaced > DIPOLE_PX:
        return Verdict("dipole", None, name, share)
    return Verdict("flux_scale" if _marked(x, y, around, Defect.FLUX_SCALE) else "residual", None, name, share)


def _change_under(x: float, y: float, sign: float, around: Surroundings, tree: cKDTree | None) -> Change | None:
    """The strongest true change of this sign within reach, if any."""
    if tree is None:
        return None
    near = tree.query_ball_point((x, y), 1.0 + 0.4 * around.fwhm_px)
    fitting = [around.changes[k] for k in near if around.changes[k].flux * sign > 0.0]
    return max(fitting, key=lambda c: abs(c.flux), default=None)


def _defect_under(x: float, y: float, around: Surroundings) -> str:
    """The kind of defect within two pixels, "" = none. Beside a masked core everything counts as saturation."""
    j, i = round(y), round(x)
    box = np.s_[max(j - 2, 0) : j + 3, max(i - 2, 0) : i + 3]
    bits = int(np.bitwise_or.reduce(around.science_bits[box], axis=None))
    if int(np.bitwise_or.reduce(around.template_bits[box], axis=None)) & int(Defect.TEMPLATE):
        bits |= int(Defect.TEMPLATE)
    for bit, kind in _BY_BIT:
        if bits & int(bit):
            return kind
    wide = np.s_[max(j - 5, 0) : j + 6, max(i - 5, 0) : i + 6]
    return "saturation" if around.masked[wide].any() else ""


def _marked(x: float, y: float, around: Surroundings, defect: Defect) -> bool:
    rows, columns = around.science_bits.shape
    j, i = min(max(round(y), 0), rows - 1), min(max(round(x), 0), columns - 1)
    return bool(around.science_bits[j, i] & int(defect))


def _source_under(x: float, y: float, around: Surroundings, tree: cKDTree) -> tuple[int, float]:
    """The source whose light reaches a place most, and its displacement; -1 where none does."""
    near = tree.query_ball_point((x, y), 14.0)
    if not near:
        return -1, 0.0
    distance = np.hypot(around.sources[near, 0] - x, around.sources[near, 1] - y)
    reach = around.fwhm_px * (0.7 + 0.25 * np.log10(np.maximum(around.sources[near, 2], 1.0)))
    slack = distance / reach
    best = int(np.argmin(slack))
    if slack[best] > 1.3 or around.sources[near[best], 2] < 60.0:
        return -1, 0.0
    return int(near[best]), float(around.displaced[near[best]])

"""Whose word a label can rest on: the rule, what it looked at, and which word counts more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from realbogus.features import CATALOGUE

PANEL_RULE = (
    "Label P: two independent, blind visual classifications of the triplet by a vision-language model, from the "
    "pictures alone; real or bogus where both agree, else left out. Not human. No score of another classifier is in it."
)
SIMULATED_RULE = (
    "Truth of the simulator: a detection is real if something that truly changed lies under it, has its sign and "
    "makes up a good part of its flux; all others are bogus."
)


@dataclass(frozen=True)
class Source:
    """One kind of word. Sources come in the order in which they count."""

    rule: str  # sentences for the card
    confidence: float  # that a label by this rule is right, where the claim itself does not tell
    made_from: tuple[str, ...] = ()  # columns of an AlertBatch that the rule looked at: no feature may read them


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "simulated": Source(SIMULATED_RULE, 1.0),
        "spectrum": Source(
            "Spectral class of the Transient Name Server: real where a classified transient lies within 2 arcsec, from "
            "30 days before to 100 days after its discovery, and the alert is brighter than the template.",
            0.98,
            ("diff_sign",),
        ),
        "asteroid": Source(
            "Known asteroid: real where one is predicted within 2 arcsec, within 1 mag of the alert's.",
            0.98,
            ("mag_psf",),
        ),
        "asteroid-position": Source(
            "Known asteroid: real where one is predicted within 2 arcsec, whatever its brightness.", 0.9
        ),
        "tns": Source(
            "Report to the Transient Name Server without a class: real by the same rule as for spectral classes.",
            0.85,
            ("diff_sign",),
        ),
        "panel": Source(PANEL_RULE, 0.9),
        "vetting": Source("Vetting: a person looked at the triplet.", 0.9),
    }
)


def banned(sources: Sequence[str], features: Sequence[str]) -> dict[str, str]:
    """Which of these features read what made labels of these sources: feature -> the column."""
    made_from = {column for source in sources for column in SOURCES[source].made_from}
    found = {}
    for name in features:
        if tainted := sorted(made_from & set(CATALOGUE[name].columns)):
            found[name] = tainted[0]
    return found

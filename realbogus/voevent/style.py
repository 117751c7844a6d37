"""EventStyle: what an operator decides about the VOEvents that leave in their name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from string import Formatter
from typing import Literal, get_args

from realbogus.errors import ConfigError

Role = Literal["observation", "test"]

# One letter more would be refused or misread by some receiver; see docs/voevent.md. Compared without regard to case.
_AUTHORITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?@!$&'()*+,;=%{}-]+(#[A-Za-z0-9._~:/?@!$&'()*+,;=%{}-]*)?")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
_PATH_LIMIT = 96  # characters


@dataclass(frozen=True, kw_only=True)
class EventStyle:
    """Who publishes, under which name, in which role, and where the links lead. Section [voevent] of a configuration.

    URL templates hold placeholders in braces; the values put in are percent-encoded. "" = no such link.
    Raises ConfigError with every problem at once.
    """

    authority: str  # IVOA naming authority that the operator owns, "org.example.survey"; required, there is no default
    stream: str = "realbogus"  # resource path after the authority: ivo://authority/stream#...
    role: Role = "test"  # "observation" only for live data scored by the promoted model
    author_title: str = "realbogus: classified candidates of an alert stream"
    author_short_name: str = "realbogus"
    contact_name: str = ""  # a person or desk who answers
    contact_email: str = ""
    object_url: str = ""  # page of the object: {survey} {object_id} {candid}
    cutout_url: str = ""  # picture of a stamp: {survey} {object_id} {candid} {stamp}; stamp is science, template, ...
    model_card_url: str = ""  # card of the model: {name} {version}
    position_error_arcsec: float = 1.0  # arcsec, 1 sigma; told where the survey states no error of the position
    explained: int = 5  # features named in the explanation, those with the largest contributions; 0 = none

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems)

    @property
    def prefix(self) -> str:
        """The IVORN up to the local part: "ivo://org.example.survey/realbogus#"."""
        return f"ivo://{self.authority}/{self.stream}#"

    def _problems(self) -> Iterator[str]:
        if not _AUTHORITY.fullmatch(self.authority):
            yield (
                f"voevent.authority is {self.authority!r}; it must be an IVOA naming authority that you own, "
                "3 to 64 of the characters A-Z a-z 0-9 . _ -, such as 'org.example.survey'"
            )
        if not _PATH.fullmatch(self.stream) or len(self.stream) > _PATH_LIMIT:
            yield f"voevent.stream is {self.stream!r}; expected words of A-Z a-z 0-9 . _ - with '/' between them"
        if self.role not in get_args(Role):
            yield f"voevent.role is {self.role!r}; expected one of {', '.join(get_args(Role))}"
        for name in ("author_title", "author_short_name"):
            if not getattr(self, name).strip():
                yield f"voevent.{name} is empty"
        if self.contact_email and not _EMAIL.fullmatch(self.contact_email):
            yield f"voevent.contact_email is {self.contact_email!r}, not an e-mail address"
        if not 1e-3 <= self.position_error_arcsec <= 3600.0:
            yield f"voevent.position_error_arcsec is {self.position_error_arcsec}; expected 0.001 to 3600"
        if not 0 <= self.explained <= 20:
            yield f"voevent.explained is {self.explained}; expected 0 to 20"
        for name, known in _PLACEHOLDERS.items():
            yield from _url_problems(f"voevent.{name}", getattr(self, name), known)


_PLACEHOLDERS = {
    "object_url": {"survey", "object_id", "candid"},
    "cutout_url": {"survey", "object_id", "candid", "stamp"},
    "model_card_url": {"name", "version"},
}


def _url_problems(where: str, template: str, known: set[str]) -> Iterator[str]:
    """What is wrong with a template of a URL; "" is no template and fine."""
    if not template:
        return
    if not _URL.fullmatch(template) or len(template) > 512:
        yield f"{where} is {template!r}; expected a URL that begins with http:// or https://"
        return
    try:
        names = {name for _, name, spec, conversion in Formatter().parse(template) if name is not None}
        plain = not any(spec or conversion for _, _, spec, conversion in Formatter().parse(template))
    except ValueError as error:
        yield f"{where} is {template!r}: {error}"
        return
    if unknown := sorted(names - known) or not plain:
        told = ", ".join(f"{{{name}}}" for name in sorted(known))
        yield f"{where} is {template!r}; its placeholders may be {told}" + (f", not {unknown}" if plain else "")
    elif where.endswith("cutout_url") and not {"stamp", "candid"} <= names:
        yield f"{where} is {template!r}; it must hold {{candid}} and {{stamp}}, or all stamps share one address"

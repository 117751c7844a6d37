"""Claims about alerts in an append-only file, and what they come to where they disagree.

One JSON object a line. Nothing is ever rewritten: who changes their mind adds a later claim. The same order of claims
or another, and a claim told twice, come to the same labels.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from realbogus.errors import LabelError
from realbogus.labels.sources import SOURCES
from realbogus.training.examples import Label, LabelSet
from realbogus.training.splits import joined_groups

MAX_BYTES = 2**30  # of a journal
RANK = {name: rank for rank, name in enumerate(SOURCES)}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What somebody says that one alert is."""

    candid: int
    survey: str
    real: bool
    source: str  # of SOURCES
    confidence: float  # that it is right, above 0 to 1
    time: str  # when it was said, ISO 8601 with a zone
    labeler: str = ""  # who, where a source speaks with several voices
    kind: str = ""  # class of bogus or of real thing
    object_id: str = ""  # these keep alerts together that no split may part; "" = not told
    exposure: str = ""
    night: str = ""
    field: str = ""

    def __post_init__(self) -> None:
        problems = [
            (isinstance(self.candid, int) and not isinstance(self.candid, bool), "candid is no whole number"),
            (isinstance(self.real, bool), "real is neither true nor false"),
            (self.source in SOURCES, f"source {self.source!r} is none of {', '.join(SOURCES)}"),
            (isinstance(self.confidence, int | float) and 0 < self.confidence <= 1, "confidence is not in 0 to 1"),
            (_is_time(self.time), f"time {self.time!r} is no ISO 8601 time with a zone, as 2026-11-22T03:00:00Z"),
        ]
        problems += [(isinstance(getattr(self, one.name), str), f"{one.name} is no text") for one in fields(self)[6:]]
        for fulfilled, otherwise in problems:
            if not fulfilled:
                raise LabelError(f"claim about {self.candid}: {otherwise}")

    @property
    def voice(self) -> tuple[str, int, str, str]:
        """Claims with the same voice replace each other, the latest counts."""
        return self.survey, self.candid, self.source, self.labeler


@dataclass(frozen=True)
class Settled:
    """What the claims come to."""

    winners: Sequence[Claim]  # one an alert, by candid
    disputed: Sequence[int]  # candids on which voices of equal rank disagree as strongly: they get no label
    overruled: Counter[tuple[str, str]]  # (source that won, source that said the opposite) -> alerts


def append(path: Path, claims: Iterable[Claim]) -> int:
    """Add claims to a journal, which need not exist. Gives how many."""
    lines = [json.dumps(asdict(claim), ensure_ascii=False) + "\n" for claim in claims]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
    return len(lines)


def read(paths: Iterable[Path]) -> list[Claim]:
    """The claims of journals. Raises LabelError naming the line that is none."""
    found = []
    for path in paths:
        if path.stat().st_size > MAX_BYTES:
            raise LabelError(f"{path}: more than {MAX_BYTES} bytes")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise LabelError(f"{path} is no journal: {error}") from error
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                found.append(_claim(line, f"{path}, line {number}"))
    return found


def settle(claims: Iterable[Claim]) -> Settled:
    """One label an alert: the word of the highest source; among its voices, the side with more confidence in sum."""
    latest: dict[tuple[str, int, str, str], Claim] = {}
    for claim in claims:
        if claim.voice not in latest or _later(claim, latest[claim.voice]):
            latest[claim.voice] = claim
    by_alert: dict[tuple[str, int], list[Claim]] = defaultdict(list)
    for claim in sorted(latest.values(), key=lambda one: one.voice):
        by_alert[claim.survey, claim.candid].append(claim)
    winners, disputed, overruled = [], [], Counter[tuple[str, str]]()
    for (_, candid), said in sorted(by_alert.items()):
        winner = _winner(said)
        if winner is None:
            disputed.append(candid)
            continue
        winners.append(winner)
        overruled.update({(winner.source, one.source) for one in said if one.real != winner.real})
    return Settled(winners, disputed, overruled)


def read_claims(paths: Iterable[Path], survey: str = "ztf") -> LabelSet:
    """The labels of journals, for training. Raises LabelError where a claim does not say what no split may part."""
    winners = [claim for claim in settle(read(paths)).winners if claim.survey == survey]
    loose = [claim.candid for claim in winners if not (claim.object_id and claim.exposure)]
    if loose:
        raise LabelError(
            f"{len(loose)} labels, as that of {loose[0]}, tell no object and exposure, without which splits would "
            "leak: import them with --packets"
        )
    keys = [(f"object {claim.object_id}", f"exposure {claim.exposure}") for claim in winners]
    labels = {
        claim.candid: Label(
            is_real=claim.real,
            source=claim.source,
            group=group,
            night=claim.night or f"exposure {claim.exposure}",
            field=claim.field,
            kind=claim.kind,
            weight=claim.confidence,
        )
        for claim, group in zip(winners, joined_groups(keys), strict=True)
    }
    sources = sorted({claim.source for claim in winners}, key=RANK.__getitem__)
    made_from = sorted({column for source in sources for column in SOURCES[source].made_from})
    return LabelSet(labels, "\n\n".join(SOURCES[source].rule for source in sources), tuple(made_from))


def _claim(line: str, where: str) -> Claim:
    try:
        told: Any = json.loads(line)
        return Claim(**told)
    except LabelError as error:
        raise LabelError(f"{where}: {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise LabelError(f"{where} is no claim: {error}") from error


def _winner(said: Sequence[Claim]) -> Claim | None:
    highest = min(RANK[claim.source] for claim in said)
    voices = [claim for claim in said if RANK[claim.source] == highest]
    balance = sum(claim.confidence if claim.real else -claim.confidence for claim in voices)
    if abs(balance) < 1e-9:
        return None
    side = [claim for claim in voices if claim.real == (balance > 0)]
    return max(side, key=lambda one: (one.confidence, _instant(one.time), one.labeler))


def _later(one: Claim, other: Claim) -> bool:
    """Whether one replaces the other; of the same instant, an order that does not depend on that of reading."""
    return (_instant(one.time), json.dumps(asdict(one))) > (_instant(other.time), json.dumps(asdict(other)))


def _instant(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _is_time(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False

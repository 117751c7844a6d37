"""Packets and labels in, examples out: the same reading and measuring as when serving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from realbogus import packets
from realbogus.alerts import AlertBatch, Column, Triplets
from realbogus.errors import LabelError
from realbogus.features import extract
from realbogus.limits import Limits
from realbogus.packets.schemas import SchemaStore
from realbogus.surveys import SURVEYS, recognise
from realbogus.training.examples import Examples, LabelSet, check_closure, joined

BATCH = 256  # packets read together
CONTEXT = ("psf_fwhm_px", "mag_psf", "flag_count")  # conditions by which reports tell results apart


@dataclass
class Tally:
    """What became of the packets that were offered."""

    read: int = 0
    used: int = 0
    unlabelled: int = 0  # readable, but no label says what they are, or had before
    rejected: Counter[str] = field(default_factory=Counter)  # by reason

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.rejected.items()))
        return (
            f"{self.read} packets: {self.used} used, {self.unlabelled} without a label, rejected: {reasons or 'none'}"
        )


def examples(
    messages: Iterable[bytes],
    labels: LabelSet,
    names: Sequence[str],
    *,
    survey: str = "ztf",
    tell: Callable[[int], None] = lambda _: None,
    tally: Tally | None = None,
) -> Examples:
    """The labelled ones among these packets of one survey, measured.

    `tell` is called with the number of packets as they are read. A candid that comes twice counts once. Raises
    LabelError if a feature reads what made the labels, or if no packet has a label.
    """
    check_closure(names, labels.made_from)
    tally = Tally() if tally is None else tally
    seen: set[int] = set()
    parts = []
    for batch in batches(iter(messages), survey, tally, tell):
        candids = batch.candid.tolist()
        rows = [row for row, candid in enumerate(candids) if candid in labels.by_candid and not _met(candid, seen)]
        tally.unlabelled += len(batch) - len(rows)
        tally.used += len(rows)
        if rows:
            parts.append(_examples_of(batch, extract(batch, names), np.array(rows), labels, names))
    if not parts:
        raise LabelError(f"none of these packets has a label; {tally}")
    return joined(parts)


def triplets_of(messages: Iterable[bytes], candids: Iterable[int], *, survey: str = "ztf") -> dict[int, Triplets]:
    """The triplets (3, 63, 63) of these alerts by candid, as they were measured; those that are not met are absent."""
    wanted, found = set(candids), {}
    for batch in batches(iter(messages), survey, Tally(), lambda _: None):
        for row, candid in enumerate(batch.candid.tolist()):
            if candid in wanted and candid not in found:
                found[candid] = batch.triplets[row].copy()
        if len(found) == len(wanted):
            break
    return found


def _met(candid: int, seen: set[int]) -> bool:
    """Whether this alert came before; from now on it did."""
    if candid in seen:
        return True
    seen.add(candid)
    return False


def batches(messages: Iterator[bytes], survey: str, tally: Tally, tell: Callable[[int], None]) -> Iterator[AlertBatch]:
    """The readable alerts of one survey among these packets; tally counts the others."""
    store, limits = SchemaStore(), Limits()
    wanted = {name: one.fields for name, one in SURVEYS.items()}
    while chunk := list(islice(messages, BATCH)):
        decoded, rejected = packets.read(chunk, wanted=wanted, recognise=recognise, store=store, limits=limits)
        tally.read += len(chunk)
        for group in decoded:
            if group.survey != survey:
                tally.unlabelled += len(group.index)
                continue
            batch, refused = SURVEYS[survey].to_batch(group, limits)
            rejected = [*rejected, *refused]
            if len(batch):
                yield batch
        tally.rejected.update(str(one.reason) for one in rejected)
        tell(len(chunk))


def _examples_of(
    batch: AlertBatch, X: np.ndarray, rows: np.ndarray, labels: LabelSet, names: Sequence[str]
) -> Examples:
    found = [labels.by_candid[candid] for candid in batch.candid[rows].tolist()]
    references = sorted({name for label in found for name in label.references})
    slices = sorted({name for label in found for name in label.slices})
    return Examples(
        names=tuple(names),
        X=X[rows],
        candid=batch.candid[rows],
        is_real=np.array([label.is_real for label in found], dtype=bool),
        weight=np.array([label.weight for label in found]),
        snr=_first_finite(np.array([label.snr for label in found]), batch.columns["snr_peak"][rows]),
        mjd=batch.columns["mjd"][rows],
        survey=np.full(len(rows), batch.survey),
        band=np.array([batch.band[row] for row in rows]),
        source=np.array([label.source for label in found]),
        kind=np.array([label.kind for label in found]),
        group=np.array([label.group for label in found]),
        night=np.array([label.night for label in found]),
        field=np.array([label.field for label in found]),
        references={name: np.array([label.references.get(name, np.nan) for label in found]) for name in references},
        slices={name: np.array([name in label.slices for label in found]) for name in slices},
        rules=(labels.rule,),
        context={name: batch.columns[name][rows] for name in CONTEXT},
    )


def _first_finite(told: Column, measured: Column) -> Column:
    return np.where(np.isfinite(told), told, measured)

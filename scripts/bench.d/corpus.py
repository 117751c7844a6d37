"""The alerts that everything is measured on: real ZTF packets where they are at hand, else simulated ones."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realbogus import archives, packets
from realbogus.alerts import STAMP_SIDE, AlertBatch
from realbogus.features import extract
from realbogus.limits import Limits
from realbogus.model import Model
from realbogus.packets.fields import Decoded
from realbogus.packets.schemas import SchemaStore
from realbogus.packets.writing import encode_long
from realbogus.policy import DECIMALS
from realbogus.simulation import night
from realbogus.surveys import SURVEYS, recognise

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SIZE = 512  # alerts; 37 MB of packets, more than the caches hold, as in a stream
FORWARDED = 0.03  # share of the alerts that become VOEvents
SEED = 1  # of the simulated night
FULL = f"{STAMP_SIDE}x{STAMP_SIDE}"
WANTED = {name: survey.fields for name, survey in SURVEYS.items()}
LIMITS, STORE = Limits(), SchemaStore()


@dataclass(frozen=True)
class Corpus:
    """Scorable alerts in their original bytes, and what our own decoder reads in them."""

    source: str  # what the table says of it
    messages: Sequence[bytes]
    decoded: Decoded
    alerts: AlertBatch

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def mean_bytes(self) -> float:
        return float(np.mean([len(message) for message in self.messages]))

    def spans(self, row: int) -> list[tuple[int, int]]:
        """Offset and length of the three stamps of a message."""
        return [(int(offset), int(length)) for offset, length in self.decoded.blobs[row]]


def load(model: Model) -> Corpus:
    """The corpus: the same alerts, in the same order, on every machine that has the same packets and model."""
    source, messages = ("real ZTF packets, original bytes", real()) if SHARED.is_dir() else simulated()
    scorable = [message for message in messages if scores(message)]
    chosen = mixed(scorable, model)
    decoded, alerts = read(chosen)
    return Corpus(f"{len(chosen)} {source}", chosen, decoded, alerts)


def mixed(messages: Sequence[bytes], model: Model) -> list[bytes]:
    """SIZE messages, or as many as there are, of which 3 % reach the model's threshold, as in a night's stream.

    The packets at hand have far more: people keep what is interesting.
    """
    features = extract(read(messages)[1], model.feature_names)
    reaches = np.round(model.score(features), DECIMALS) >= model.id.threshold
    below, above = np.flatnonzero(~reaches), np.flatnonzero(reaches)
    size = min(SIZE, int(len(below) / (1 - FORWARDED)), int(len(above) / FORWARDED))
    forwarded = round(FORWARDED * size)
    rows = np.concatenate([above[:forwarded], below[: size - forwarded]])
    return sorted((messages[row] for row in rows.tolist()), key=hash_of)


def real() -> list[bytes]:
    """Real packets as ZTF sent them, spread over all schemas, with three stamps of full size.

    The 1 % with trimmed stamps are left out so that the baselines need no rule for their place; those with missing
    pixels are in.
    """
    with (SHARED / "manifest.csv").open(newline="") as file:
        wanted = {
            row["path"]
            for row in csv.DictReader(file)
            if (row["survey"], row["encoding"]) == ("ztf", "original")
            and {row["shape_sci"], row["shape_tmpl"], row["shape_diff"]} == {FULL}
        }
    return sorted((message for _, message in members(SHARED / "ztf.tar.xz", wanted)), key=hash_of)


def members(tar: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for path, message in archives.messages([tar]):
        name = path.partition(archives.INSIDE)[2]
        if name in wanted:
            yield name, message


def hash_of(message: bytes) -> bytes:
    """A fixed shuffle, so that nights and schemas mix as they do in no tar."""
    return hashlib.sha256(message).digest()


def simulated() -> tuple[str, list[bytes]]:
    """A night of our own simulator, for machines without the real packets."""
    alerts = night(SEED, alerts=2 * SIZE, jobs=len(os.sched_getaffinity(0)))
    full = [alert.packet for alert in alerts]
    return "simulated packets (the real ones are not beside the project)", full


def scores(message: bytes) -> bool:
    decoded, rejected = packets.read([message], wanted=WANTED, recognise=recognise, store=STORE, limits=LIMITS)
    if rejected or len(decoded) != 1 or decoded[0].survey != "ztf":
        return False
    alerts, refused = SURVEYS["ztf"].to_batch(decoded[0], LIMITS)
    return len(alerts) == 1 and not refused


def read(messages: Sequence[bytes]) -> tuple[Decoded, AlertBatch]:
    """What our own decoder and stamp reader make of messages of one survey."""
    decoded, rejected = packets.read(messages, wanted=WANTED, recognise=recognise, store=STORE, limits=LIMITS)
    alerts, refused = SURVEYS["ztf"].to_batch(decoded[0], LIMITS)
    if rejected or refused or len(alerts) != len(messages):
        raise RuntimeError("the corpus holds alerts that cannot be scored")
    return decoded[0], alerts


def renumbered(corpus: Corpus, count: int, skip: int = 0) -> Iterator[bytes]:
    """So many messages, the corpus over and over, each with a candid of its own and otherwise unchanged."""
    for number in range(skip, skip + count):
        cycle, row = divmod(number, len(corpus))
        message, candid = corpus.messages[row], int(corpus.alerts.candid[row])
        yield with_candid(message, candid, candid + cycle * 10**10) if cycle else message


def with_candid(message: bytes, old: int, new: int) -> bytes:
    """The message with another candid of the same encoded length, wherever it stands in the packet."""
    before, after = encode_long(old), encode_long(new)
    if len(before) != len(after):
        raise ValueError(f"candid {new} is encoded longer than {old}")
    return message.replace(before, after)

"""Reading dead letters again: what each says of itself, which ones are meant, how they go back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from realbogus.packets.naming import schema_named
from realbogus.stream.dead_letters import PREFIX, attempt_of
from realbogus.stream.log import night_of
from realbogus.stream.protocols import Message, Record

Row = tuple[str, str, str, str]  # night, input topic, reason, schema


@dataclass(frozen=True)
class Letter:
    """A dead or parked alert."""

    message: Message  # as it lies in its topic
    told: dict[str, str]  # the headers __rb.errors.*, without that prefix

    @property
    def place(self) -> str:
        """Where it lies: what `dlq show` takes."""
        return f"{self.message.topic}/{self.message.partition}/{self.message.offset}"

    @property
    def source(self) -> str:
        """Where the alert was read."""
        return "/".join(self.told.get(name, "?") for name in ("topic", "partition", "offset"))

    @property
    def schema(self) -> str:
        """What it says of its schema."""
        return self.told.get("schema") or schema_named(self.message.value)

    @property
    def night(self) -> str:
        """Of the alert's own timestamp."""
        return night_of(self.message.timestamp_ms)

    def as_dict(self) -> dict[str, Any]:
        """For tables and JSON."""
        return {"place": self.place, "night": self.night, "schema": self.schema, "source": self.source, **self.told}

    def not_to_replay(self) -> str:
        """Why it cannot go back; "" if it can."""
        if "length" in self.told:
            return "only the head of it was kept"
        return "it had no value" if "null_value" in self.told else ""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which letters are meant; what is empty or None takes all."""

    reasons: tuple[str, ...] = ()
    dispositions: tuple[str, ...] = ()
    schema: str = ""  # part of what the schema is called
    since_s: float | None = None  # Unix time, s, of the alert
    until_s: float | None = None
    attempts: int | None = None  # those that were dead so many times at most

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        told, time_s = letter.told, letter.message.timestamp_ms / 1000
        return (
            (not self.reasons or told.get("reason") in self.reasons)
            and (not self.dispositions or told.get("disposition") in self.dispositions)
            and (not self.schema or self.schema in letter.schema)
            and (self.since_s is None or time_s >= self.since_s)
            and (self.until_s is None or time_s < self.until_s)
            and (self.attempts is None or attempt_of(letter.message) <= self.attempts)
        )


def letters(messages: Iterable[Message], wanted: Filter | None = None) -> Iterator[Letter]:
    """The letters among these messages that are meant; what bears no reason is no letter of ours."""
    for message in messages:
        told = {
            name.removeprefix(PREFIX): value.decode("utf-8", "replace")
            for name, value in message.headers
            if name.startswith(PREFIX)
        }
        letter = Letter(message, told)
        if "reason" in told and (wanted is None or wanted.takes(letter)):
            yield letter


def counted(found: Iterable[Letter]) -> Counter[Row]:
    """How many there are by night, input topic, reason and schema."""
    return Counter((one.night, one.told.get("topic", ""), one.told["reason"], one.schema) for one in found)


def replayed(letter: Letter, topic: str = "") -> Record:
    """The alert as it came, for its input topic or another one; it keeps count of how often it was dead.

    Scored again it gets the annotation_id that it would have got at first, so that repeats do no harm.
    """
    message = letter.message
    own = tuple((name, value) for name, value in message.headers if not name.startswith(PREFIX))
    headers = (*own, (f"{PREFIX}attempt", str(attempt_of(message)).encode()))
    return Record(topic or letter.told["topic"], message.key, message.value, headers, message.timestamp_ms)

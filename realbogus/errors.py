"""Every exception that realbogus raises on purpose.

::

    RealbogusError
    ├── PacketError (ValueError)        a message cannot become an alert; carries the Reason it is rejected for
    │   └── StampError                  one of its stamps cannot become an image
    ├── DeniedColumn (LookupError)      a feature asked for a column that would leak the label
    ├── FeatureMismatch (ValueError)    a model was trained on other features than those at hand
    ├── ModelError (ValueError)         a model folder is damaged, unsafe, or does not reproduce its golden scores
    ├── LabelError (ValueError)         labels or training data cannot be used
    ├── ConfigError (ValueError)        the configuration has problems; carries all of them
    ├── VOEventError (ValueError)       a packet may not leave: it breaks our rules or the schema
    ├── TransportError (ValueError)     a VOEvent broker or subscriber sent what is no message of their protocol
    └── StreamError (RuntimeError)      the stream cannot go on; carries the exit code
        └── Unavailable                 something that an alert needs does not answer now; the alert must come again

Bad input raises in the core; scoring turns it into a `Rejected` for that alert alone. Bugs are not caught.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Why an alert was rejected: the closed, documented list. The value is what dead letters and tables show."""

    MALFORMED = "malformed"  # the bytes are not the Avro they claim to be, or are cut short
    OVERSIZE = "oversize"  # message, block or stamp larger than the configured limit, before or after inflating
    UNKNOWN_SCHEMA = "unknown_schema"  # no schema for these bytes: unknown id, or bare bytes without a given schema
    UNKNOWN_SURVEY = "unknown_survey"  # a readable packet of a survey that realbogus has no reader for
    NO_MODEL = "no_model"  # a known survey for which no model is configured
    MISSING_STAMP = "missing_stamp"  # science, template or difference stamp absent
    BAD_STAMP = "bad_stamp"  # a stamp that cannot become an image
    BAD_VALUE = "bad_value"  # a field without which nothing can be said is missing or nonsense: candid, position, time
    INTERNAL = "internal"  # our own fault on this alert; please report


class RealbogusError(Exception):
    """Root of all errors raised on purpose."""


class PacketError(RealbogusError, ValueError):
    """A message cannot become an alert. `reason` is its entry in the closed list."""

    def __init__(self, problem: str, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(problem)
        self.reason = reason

    def alone(self) -> PacketError:
        """The same without the way to it: kept with that, it would hold on to a whole batch of stamps."""
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self


class StampError(PacketError):
    """A stamp cannot become an image."""

    def __init__(self, problem: str, reason: Reason = Reason.BAD_STAMP) -> None:
        super().__init__(problem, reason)


class DeniedColumn(RealbogusError, LookupError):
    """A feature asked for a column that would leak the label, the survey's own score, or who and when."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(f"column {column!r} is denied to features: {why}")
        self.column, self.why = column, why


class FeatureMismatch(RealbogusError, ValueError):
    """A model names other features than those at hand; lists what differs."""

    def __init__(self, missing: Iterable[str] = (), changed: Iterable[str] = ()) -> None:
        self.missing, self.changed = tuple(missing), tuple(changed)
        parts = [
            f"{what}: {', '.join(names)}"
            for what, names in (("not known here", self.missing), ("defined differently", self.changed))
            if names
        ]
        super().__init__("the model was trained on other features; " + "; ".join(parts))


class ModelError(RealbogusError, ValueError):
    """A model folder is damaged, unsafe, or does not reproduce its golden scores."""


class LabelError(RealbogusError, ValueError):
    """Labels or training data cannot be used."""


class ConfigError(RealbogusError, ValueError):
    """The configuration has problems; `problems` lists all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class VOEventError(RealbogusError, ValueError):
    """A VOEvent may not leave: it breaks our rules or the schema."""


class TransportError(RealbogusError, ValueError):
    """A peer sent what is no message of the VOEvent Transport Protocol."""


class StreamError(RealbogusError, RuntimeError):
    """The stream cannot go on. `exit_code` is what the process should end with."""

    def __init__(self, problem: str, exit_code: int = 3) -> None:
        super().__init__(problem)
        self.exit_code = exit_code


class Unavailable(StreamError):
    """Something outside, which alerts need, does not answer: they are not to blame, and must come again later."""

"""Text and numbers as they may stand in an event: US-ASCII, no control characters, plain decimals."""

from __future__ import annotations

import hashlib
import re

from realbogus.errors import VOEventError

TEXT_LIMIT = 256  # characters of any text that came with an alert

# Everything that XML 1.0 forbids (NUL and other controls, lone surrogates, U+FFFE, U+FFFF) or a reader may trip over:
# C1 controls, line breaks, bidirectional overrides.
_UNFIT = re.compile("[^ -~\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
_SAFE_OBJECT = re.compile(r"(?!test$)[A-Za-z0-9][A-Za-z0-9.-]{0,47}")
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text without characters that XML forbids (each becomes U+FFFD), cut to limit characters."""
    return _UNFIT.sub("\ufffd", text[:limit])


def printed(object_id: str) -> str:
    """The name of an object as events give it."""
    return clean(object_id) or "unknown"


def escape(text: str) -> str:
    """Clean text as XML content or attribute value, all ASCII: markup escaped, the rest as character references."""
    return text.translate(_MARKUP).encode("ascii", "xmlcharrefreplace").decode("ascii")


def decimal(value: float, places: int) -> str:
    """A finite number with this many decimals and no exponent; what prints as -0 is printed as 0."""
    text = f"{value:.{places}f}"
    return text[1:] if text[0] == "-" and not text.strip("-0.") else text


def share(value: float, what: str) -> str:
    """A number of [0, 1] with six decimals. Float noise of at most 1e-6 beyond the ends is clamped."""
    if not -1e-6 <= value <= 1 + 1e-6:
        raise VOEventError(f"{what} is {value}; expected 0 to 1")
    return decimal(min(max(value, 0.0), 1.0), 6)


def id_part(object_id: str) -> str:
    """The object's name as part of an IVORN: itself if it is of A-Z a-z 0-9 . - only, as ZTF's and Rubin's are.

    Any other name is reduced to that alphabet with a digest of the true name behind two underscores, so that two
    names never meet in one part.
    """
    if _SAFE_OBJECT.fullmatch(object_id):
        return object_id
    digest = hashlib.sha256(object_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"x{_UNSAFE.sub('-', object_id[:24])}__{digest}"

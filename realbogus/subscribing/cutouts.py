"""The three stamps of an event, fetched from where it says they are, side by side in one picture."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from realbogus.voevent.reading import Told

STAMPS = ("science", "template", "difference")
PICTURE_BYTES = 1 << 20  # largest picture taken
PIXELS = 2048  # largest side
SIDE, GAP = 252, 6  # pixels of each stamp in the picture, and between them
PATIENCE_S = 10.0  # s

Fetch = Callable[[str], bytes]


def draw(told: Told, path: Path, fetch: Fetch | None = None) -> str:
    """Write the picture; why there is none, or "". What the addresses lead to is hostile until seen as a picture."""
    addresses = [told.text("cutouts", f"cutout_{stamp}_url") for stamp in STAMPS]
    if not all(addresses):
        return "the event names no cutouts"
    fetch = fetch or download
    picture = Image.new("RGB", (3 * SIDE + 2 * GAP, SIDE), "white")
    for number, address in enumerate(addresses):
        try:
            stamp = _stamp(fetch(address))
        except (OSError, ValueError, http.client.HTTPException, urllib.error.URLError) as problem:
            return f"{address}: {problem}"
        picture.paste(stamp, (number * (SIDE + GAP), 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "PNG")
    return ""


def download(address: str) -> bytes:
    """What lies at an address, if it is of the web and not too large."""
    if not address.startswith(("http://", "https://")):
        raise ValueError("not an address of the web")
    with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
        data: bytes = answer.read(PICTURE_BYTES + 1)
    if len(data) > PICTURE_BYTES:
        raise ValueError(f"more than {PICTURE_BYTES} bytes")
    return data


def _stamp(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a picture that grows beyond all bounds is only warned of
        try:
            with Image.open(BytesIO(data), formats=("PNG",)) as stamp:
                if max(stamp.size) > PIXELS:
                    raise ValueError(f"a picture of {stamp.size} pixels")
                return stamp.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
        except (SyntaxError, Warning) as problem:
            raise ValueError(str(problem)) from None

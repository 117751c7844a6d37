"""What the tests of rescoring work on: small ZTF packets and a small model, both made here."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from realbogus.calibration import Calibration
from realbogus.features import FEATURE_SETS
from realbogus.forest import Forest
from realbogus.model import STAMP_RULE, describe_features, model_files
from realbogus.packets.schemas import read_schema
from realbogus.packets.writing import write_container

FIRST = 2_900_000_000_000_000_001  # beyond 2**53
FEATURES = FEATURE_SETS["pixel-1"][:12]


def packets(count: int) -> list[bytes]:
    """Schema-complete ZTF packets, each with a candid and stamps of its own."""
    return [packet(FIRST + number) for number in range(count)]


@cache
def packet(candid: int) -> bytes:
    return write_container("ztf/4.02", record(candid))


def record(candid: int) -> dict[str, Any]:
    filled: dict[str, Any] = blank(json.loads(read_schema("ztf/4.02")), {})
    filled |= {"candid": candid, "objectId": f"ZTF26{candid % 10_000_000:07d}"}
    filled["candidate"] |= {
        "candid": candid,
        "jd": 2_461_000.5 + (candid % 1000) / 100,
        "fid": 1 + candid % 2,
        "ra": 10.0 + candid % 100,
        "dec": -5.0,
        "magpsf": 18.5,
        "sigmapsf": 0.1,
        "isdiffpos": "t" if candid % 3 else "f",
        "fwhm": 2.0,
        "seeratio": 1.0,
    }
    for number, name in enumerate(("Science", "Template", "Difference")):
        filled[f"cutout{name}"] = {"fileName": "", "stampData": stamp(candid * 3 + number)}
    return filled


def blank(kind: Any, named: dict[str, Any]) -> Any:
    """The emptiest value of an Avro type."""
    if isinstance(kind, list):
        return None if "null" in kind else blank(kind[0], named)
    if isinstance(kind, str):
        plain = {"null": None, "boolean": False, "string": "", "bytes": b"", "float": 0.0, "double": 0.0}
        return plain.get(kind, 0) if kind not in named else blank(named[kind], named)
    if kind["type"] == "record":
        named[kind["name"]] = kind
        return {field["name"]: blank(field["type"], named) for field in kind["fields"]}
    return [] if kind["type"] == "array" else blank(kind["type"], named)


def stamp(seed: int) -> bytes:
    """A gzipped FITS image: noise and a source in the middle, as bright as the seed says."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-31:32, -31:32]
    image = random.normal(100, 5, (63, 63)) + random.uniform(0, 500) * np.exp(-(x**2 + y**2) / 4)
    raw = io.BytesIO()
    fits.PrimaryHDU(image.astype(np.float32)).writeto(raw)
    return gzip.compress(raw.getvalue(), 1, mtime=0)


def night(file: Path, members: dict[str, bytes]) -> Path:
    """A tar of packets, compressed as its ending says."""
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file


def model(folder: Path, version: str = "1", seed: int = 1) -> Path:
    """A small forest over a few features, in a folder as training leaves it."""
    random = np.random.default_rng(seed)
    X: NDArray[np.float32] = random.normal(0, 3, (300, len(FEATURES))).astype(np.float32)
    y = (X[:, 0] + X[:, 1] + random.normal(0, 2, 300) > 0).astype(int)
    fitted = RandomForestClassifier(20, max_depth=5, random_state=seed, n_jobs=1).fit(X, y)
    knots = np.array([0.0, 1.0])
    manifest = {
        "kind": "forest",
        "name": "small",
        "version": version,
        "classes": ["bogus", "real"],
        "surveys": ["ztf"],
        "features": describe_features(FEATURES, "pixel-1"),
        "stamps": STAMP_RULE,
        "threshold": {"score": 0.5},
        "thresholds": [],
        "training": {},
        "metrics": {},
        "libraries": {},
        "limits": [],
    }
    where = folder / "small" / version
    where.mkdir(parents=True)
    files = model_files(
        Forest.from_sklearn(fitted), Calibration("logistic", 0.5, 300, knots, knots), manifest, X[:8], "# small\n"
    )
    for name, data in files.items():
        (where / name).write_bytes(data)
    (folder / "current").write_text(f"small/{version}\n")
    return where

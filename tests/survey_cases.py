"""Records of surveys: plain ones to change, as packets, and as columns by the slow way."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits

from realbogus.alerts import AlertBatch, Rejected
from realbogus.packets import Decoded, Limits, write_container
from realbogus.surveys import SURVEYS
from realbogus.surveys.rubin import PIXEL_FLAGS

LIMITS = Limits()


# records to columns by the slow way: the definition of what `packets.read` gives


def dig(record: Any, path: str) -> Any:
    for key in path.split("."):
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def decoded(survey: str, records: Sequence[Mapping[str, Any]]) -> Decoded:
    fields, messages = SURVEYS[survey].fields, [bytearray(b"head") for _ in records]

    def span(row: int, path: str) -> tuple[int, int]:
        value = dig(records[row], path)
        if value is None:
            return -1, 0
        raw = value.encode() if isinstance(value, str) else value
        messages[row] += raw
        return len(messages[row]) - len(raw), len(raw)

    def table(paths: Sequence[str], cell: Any, dtype: type, *depth: int) -> Any:
        cells = [[cell(row, path) for path in paths] for row in range(len(records))]
        return np.array(cells, dtype).reshape(len(records), len(paths), *depth)

    texts, blobs = table(fields.texts, span, np.int64, 2), table(fields.blobs, span, np.int64, 2)
    return Decoded(
        survey=survey,
        messages=[bytes(message) for message in messages],
        index=np.arange(len(records)) * 10,
        schemas=[f"{survey}/test"] * len(records),
        numbers=table(fields.numbers, lambda row, path: dig(records[row], path), float),
        integers=table(fields.integers, lambda row, path: dig(records[row], path) or 0, np.int64),
        present=table(fields.integers, lambda row, path: dig(records[row], path) is not None, bool),
        texts=texts,
        blobs=blobs,
    )


def batch_of(survey: str, *records: Mapping[str, Any]) -> tuple[AlertBatch, list[Rejected]]:
    return SURVEYS[survey].to_batch(decoded(survey, records), LIMITS)


def column(survey: str, name: str, record: Mapping[str, Any]) -> float:
    batch, rejected = batch_of(survey, record)
    assert not rejected, rejected
    return float(batch.columns[name][0])


def fits_of(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    fits.PrimaryHDU(image.astype(">f4")).writeto(out)
    return out.getvalue()


IMAGE = np.random.default_rng(1).normal(5, 1, (63, 63))
STAMP = gzip.compress(fits_of(IMAGE), mtime=0)


def ztf(**candidate: Any) -> dict[str, Any]:
    plain = {
        "jd": 2460000.5, "fid": 2, "isdiffpos": "t", "ra": 10.0, "dec": -5.0, "magpsf": 18.5, "sigmapsf": 0.1,
        "xpos": 1500.0, "ypos": 1500.0, "seeratio": 0.8, "fwhm": 3.0, "distnr": 2.0, "exptime": 60.0,
        "neargaiabright": 40.0, "maggaiabright": 12.0,
    }  # fmt: skip
    cutouts = {f"cutout{name}": {"stampData": STAMP} for name in ("Science", "Template", "Difference")}
    return {"candid": 2**60 + 1, "objectId": "ZTF18abcdefg", "candidate": plain | candidate, **cutouts}


def rubin(**source: Any) -> dict[str, Any]:
    plain = {
        "diaSourceId": 2**60 + 1, "diaObjectId": 77, "ssObjectId": 0, "midpointMjdTai": 61041.25,
        "ra": 10.0, "dec": -5.0, "x": 100.2, "y": 200.7, "band": "i", "isNegative": False,
        "psfFlux": 1000.0, "psfFluxErr": 50.0,
        "apFlux": 1100.0, "templateFlux": 400.0, "templateFluxErr": 20.0, "ixx": 0.2, "iyy": 0.1, "ixy": 0.0,
        "ixxPSF": 0.16, "iyyPSF": 0.16, "raErr": 1e-5, "decErr": 1e-5, "psfChi2": 1600.0, "psfNdata": 1600,
        "dipoleFitAttempted": True, "dipoleChi2": 800.0, "dipoleNdata": 1600, "extendedness": 0.25,
        **{flag: False for flag in PIXEL_FLAGS},
    }  # fmt: skip
    cutouts = {f"cutout{name}": fits_of(IMAGE[:31, :31]) for name in ("Science", "Template", "Difference")}
    return {"diaSource": plain | source, **cutouts}


MAKE = {"ztf": ztf, "rubin": rubin}


# records as packets

NAMES = {"ztf": "ztf.alert", "rubin": "lsst.v10_0.alert"}
AVRO = {bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes"}


def packet(survey: str, record: Mapping[str, Any]) -> bytes:
    """An object container with this record, under a schema that holds just its fields."""
    return write_container(_schema(NAMES[survey], record) | {"version": "9.9"}, record)


def _schema(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    fields = [{"name": key, "type": _type(f"{name}_{key}", value)} for key, value in record.items()]
    return {"type": "record", "name": name, "fields": fields}


def _type(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _schema(name, value)
    return "null" if value is None else ["null", AVRO[type(value)]]

"""Tables of outcomes: a row per packet in and out, as Parquet, CSV or JSON lines by the file's ending.

Null means "no such value": a rejected packet has no score, a scored one no reason; undefined features are null too.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv_in
import pyarrow.parquet as pq
from numpy.typing import NDArray

from realbogus.alerts import Outcomes, Rejected, ScoredBatch
from realbogus.errors import ConfigError

MJD_TO_JD = 2400000.5  # d
COLUMNS = pa.schema(
    [
        ("candid", pa.int64()),  # of the detection; null where the packet was not readable
        ("object_id", pa.string()),
        ("survey", pa.string()),
        ("jd", pa.float64()),  # d, UTC at mid-exposure
        ("score", pa.float64()),  # 0 bogus to 1 real
        ("p_real", pa.float64()),  # calibrated probability; null where the model is not calibrated
        ("decision", pa.string()),  # "forward", "hold" (real, but not forwarded) or "reject", as in annotations
        ("threshold", pa.float64()),
        ("model", pa.string()),  # "name/version"
        ("reason", pa.string()),  # why the packet was rejected; null = it was scored
        ("detail", pa.string()),  # the same in one sentence
        ("path", pa.string()),  # where the packet was found
    ]
)
ALSO = ("spread", "novelty")  # further columns on request, float64, six decimals: see `rescoring.judging`
FEATURE = "feature_"  # prefix of the columns of features, float32


def schema(features: Sequence[str] = (), also: Sequence[str] = ()) -> pa.Schema:
    """The columns of a table, with one for each of `also` and of these features behind the others."""
    more = [(name, pa.float64()) for name in also]
    return pa.schema([*COLUMNS, *more, *((FEATURE + name, pa.float32()) for name in features)])


class Rows:
    """Rows to be filled: one for each of these paths, in their order."""

    def __init__(self, paths: Sequence[str], features: Sequence[str] = (), also: Sequence[str] = ()) -> None:
        self._schema = schema(features, also)
        self._columns = {field.name: _blank(field.type, len(paths)) for field in self._schema}
        self._columns["path"][:] = paths
        self._without_candid = np.ones(len(paths), np.bool_)

    def add(self, outcomes: Outcomes, rows: NDArray[np.int64]) -> None:
        """Write down what became of messages; rows[i] is the row of message i."""
        for scored in outcomes:
            self._score(scored, rows[scored.alerts.index])
        for rejected in outcomes.rejected:
            self.reject(rejected, int(rows[rejected.index]))

    def reject(self, rejected: Rejected, row: int) -> None:
        """Write down why the packet of this row was not scored."""
        columns = self._columns
        columns["reason"][row] = rejected.reason.value
        columns["detail"][row] = rejected.detail
        columns["survey"][row] = rejected.survey or None
        columns["object_id"][row] = rejected.object_id or None
        if rejected.candid is not None:
            columns["candid"][row] = rejected.candid
            self._without_candid[row] = False

    def tell(self, name: str, values: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """Write the values of one of `also` into these rows; NaN becomes null."""
        self._columns[name][rows] = values

    def _score(self, scored: ScoredBatch, rows: NDArray[np.int64]) -> None:
        columns, alerts, model = self._columns, scored.alerts, scored.model
        columns["candid"][rows] = alerts.candid
        self._without_candid[rows] = False
        columns["object_id"][rows] = alerts.object_id
        columns["survey"][rows] = alerts.survey
        columns["jd"][rows] = alerts.columns["mjd"] + MJD_TO_JD
        columns["score"][rows] = scored.score
        columns["p_real"][rows] = scored.p_real
        real = np.where(scored.score >= model.threshold, "hold", "reject")
        columns["decision"][rows] = np.where(scored.forward, "forward", real)
        columns["threshold"][rows] = model.threshold
        columns["model"][rows] = f"{model.name}/{model.version}"
        for name, values in zip(scored.feature_names, scored.features.T, strict=True):
            if FEATURE + name in columns:
                columns[FEATURE + name][rows] = values

    def table(self) -> pa.Table:
        """The filled rows. NaN has become null."""
        arrays = [
            pa.array(self._columns[field.name], field.type, mask=self._without_candid)
            if field.name == "candid"
            else pa.array(self._columns[field.name], field.type, from_pandas=True)
            for field in self._schema
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema)


def _blank(kind: pa.DataType, count: int) -> NDArray[Any]:
    if pa.types.is_floating(kind):
        return np.full(count, np.nan, kind.to_pandas_dtype())
    return np.zeros(count, np.int64) if pa.types.is_integer(kind) else np.full(count, None, object)


class _Writer(Protocol):
    def __call__(self, table: pa.Table) -> None: ...


@contextmanager
def _parquet(file: Path, columns: pa.Schema) -> Iterator[_Writer]:
    with pq.ParquetWriter(file, columns, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _csv(file: Path, columns: pa.Schema) -> Iterator[_Writer]:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns.names)
        yield lambda table: writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))


@contextmanager
def _json_lines(file: Path, columns: pa.Schema) -> Iterator[_Writer]:
    with file.open("w", encoding="utf-8") as stream:
        yield lambda table: stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())


WRITERS: Mapping[str, Callable[[Path, pa.Schema], Any]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _json_lines,
}


def read(file: Path) -> pa.Table:
    """A table that was written here, with its own columns. Raises ConfigError where the file is none."""
    require_format(file)
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file).replace_schema_metadata()
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            return pa.Table.from_pylist(rows, _schema_of(rows[0] if rows else {}))
        kinds = {field.name: field.type for field in COLUMNS}
        options = csv_in.ConvertOptions(column_types=kinds, strings_can_be_null=True)
        return csv_in.read_csv(file, convert_options=options)
    except (pa.ArrowException, ValueError, AttributeError) as error:
        raise ConfigError([f"{file}: not a table of scores: {error}"]) from error


def _schema_of(row: Mapping[str, Any]) -> pa.Schema:
    """The types of the columns of a row: those known here, float for the others."""
    kinds = {field.name: field.type for field in COLUMNS}
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in row])


def require_format(file: Path) -> None:
    """Raise ConfigError unless the file's ending names a format that can be written and read."""
    if file.suffix not in WRITERS:
        raise ConfigError([f"{file.name}: a table's name ends with one of {', '.join(WRITERS)}"])


def write(tables: Iterable[pa.Table], columns: pa.Schema, file: Path, *, kind: str) -> None:
    """Write tables one after the other in the format of the ending `kind`; in Parquet, each is a row group.

    The file appears under its name only once it is whole and on disk.
    """
    growing = file.with_name(f"{file.name}.growing")
    with WRITERS[kind](growing, columns) as add:
        for table in tables:
            add(table)
    with growing.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(growing, file)

"""The parts of an output that grows: kept beside it until all are there, so that a run can go on after a kill.

Each part appears under its name only when it is whole and on disk, after the events of its packets. It remembers the
names and sizes of its packets, so that a continued run notices when they have changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from realbogus import archives, tables
from realbogus.errors import ConfigError, Reason
from realbogus.rescoring.judging import Chunk, Judged, Plan


@dataclass(frozen=True)
class Summary:
    """What a run found, by counting the rows of its output."""

    packets: int
    scored: int
    forwarded: int
    rejected: Mapping[str, int]  # by reason
    torn: Sequence[str]  # archives that could not be read to their end; each is a row, too
    fresh: int  # rows of this run; the others were there from an earlier one
    events: int = 0  # written by this run
    untold: Sequence[str] = ()  # candidates of this run that could not become an event, with the reason


@dataclass(frozen=True)
class Parts:
    """The folder of the parts of one output."""

    folder: Path
    out: Path
    plan: Plan
    there: frozenset[int] = field(default=frozenset())  # numbers of the parts that an earlier run has left

    def keep(self, number: int, results: Iterable[tuple[Chunk, Judged | None]]) -> None:
        """Write a part as its chunks come in; of one that is there, only check that it is of the same packets."""
        digest = hashlib.sha256()
        rows: list[pa.Table] = []
        for chunk, judged in results:
            digest.update(chunk.digest())
            rows += [judged.rows] if judged is not None else []
        file = self._file(number)
        if number not in self.there:
            columns = tables.schema(self.plan.features, self.plan.also).with_metadata({"packets": digest.hexdigest()})
            tables.write([pa.concat_tables(rows)], columns, file, kind=".parquet")
        elif pq.read_schema(file).metadata[b"packets"].decode() != digest.hexdigest():
            raise ConfigError([f"the packets of {file} have changed since: remove {self.folder} to start over"])

    def merge(self, numbers: Iterable[int]) -> Summary:
        """Put the parts together under the name of the output, count their rows, and remove them."""
        counts: Counter[str] = Counter()
        torn: list[str] = []

        def counted() -> Iterator[pa.Table]:
            for number in numbers:
                rows = pq.read_table(self._file(number))
                reasons, paths = rows["reason"].to_pylist(), rows["path"].to_pylist()
                counts.update(packets=len(rows), fresh=len(rows) if number not in self.there else 0)
                counts.update(reason or "scored" for reason in reasons)
                counts.update(forwarded=rows["decision"].to_pylist().count("forward"))
                torn.extend(path for path in paths if path.endswith(archives.TAR_ENDINGS))
                yield rows.replace_schema_metadata()

        merged = self.folder / "merged"
        tables.write(counted(), tables.schema(self.plan.features, self.plan.also), merged, kind=self.out.suffix)
        os.replace(merged, self.out)
        shutil.rmtree(self.folder)
        rejected = {reason.value: counts[reason.value] for reason in Reason if counts[reason.value]}
        return Summary(counts["packets"], counts["scored"], counts["forwarded"], rejected, torn, counts["fresh"])

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.parquet"


@contextmanager
def parts_of(out: Path, plan: Plan, *, resume: bool) -> Iterator[Parts]:
    """The parts of an output, locked against a second run.

    Raises ConfigError if they are those of another plan, or if there are some and resume is not asked for.
    """
    folder = out.with_name(f"{out.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError([f"another run is writing {out}"]) from None
        _require_same_plan(folder / "plan.json", plan, out, resume=resume)
        yield Parts(folder, out, plan, frozenset(int(part.stem) for part in folder.glob("*.parquet")))


def _require_same_plan(kept: Path, plan: Plan, out: Path, *, resume: bool) -> None:
    told = plan.told()
    if not kept.exists():
        kept.write_text(json.dumps(told, indent=1))
        return
    if not resume:
        advice = f"continue it with --resume, or remove {kept.parent} to start over"
        raise ConfigError([f"an earlier run for {out} did not finish: {advice}"])
    earlier = json.loads(kept.read_text())
    changed = [name for name in told if told[name] != earlier.get(name)]
    if changed:
        differs = [f"{name} was {earlier.get(name)}, is {told[name]}" for name in changed]
        raise ConfigError([f"{out} was begun otherwise and cannot be continued: {one}" for one in differs])

"""Rescoring gives a row per packet, the scorer's own numbers, and the same bytes however often it is killed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest
import rescore_cases as cases
import stream_cases

from realbogus import archives, cli, rescoring, tables
from realbogus.cli.calls import rescore as call
from realbogus.errors import ConfigError
from realbogus.model import load_model
from realbogus.packets import annotation
from realbogus.packets.schemas import read_schema
from realbogus.policy import Policy
from realbogus.rescoring import Plan, rescore
from realbogus.rescoring.judging import Chunk, Judged, judge
from realbogus.scoring import Scorer

GOOD = 5
DOCS = Path(rescoring.__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    cases.model(folder)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Good packets in a tar and a folder, and some that are none."""
    folder = tmp_path / "in"
    folder.mkdir()
    good = cases.packets(GOOD)
    cases.night(folder / "night.tar.gz", {f"{number}.avro": data for number, data in enumerate(good[:3])})
    (folder / "a.avro").write_bytes(good[3])
    (folder / "b.avro").write_bytes(good[4])
    (folder / "cut.avro").write_bytes(good[4][:-100])
    (folder / "words.avro").write_bytes(b"no packet")
    return folder


def called(*arguments: str | Path) -> int:
    return cli.main(["rescore", *map(str, arguments)])


def from_csv_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text(), newline="")))


def plan(models: Path, **changes: object) -> Plan:
    return Plan(models={"ztf": models / "small" / "1"}, **changes)  # type: ignore[arg-type]


def test_every_packet_in_is_a_row_out_with_the_scorers_own_numbers(archive: Path, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    assert called(archive, "--out", out, "--models", models) == 0
    rows = pq.read_table(out).to_pylist()
    names = [row["path"].removeprefix(f"{archive}/") for row in rows]
    assert names == ["a.avro", "b.avro", "cut.avro", *(f"night.tar.gz::{n}.avro" for n in range(3)), "words.avro"]
    assert [row["reason"] for row in rows] == [None, None, "malformed", None, None, None, "unknown_schema"]
    scored = {row["candid"]: row for row in rows if row["reason"] is None}
    (expected,) = Scorer(models={"ztf": load_model(models / "small" / "1")}).outcomes(cases.packets(GOOD))
    assert sorted(scored) == expected.alerts.candid.tolist()
    for candid, score, forward in zip(expected.alerts.candid, expected.score, expected.forward, strict=True):
        row = scored[int(candid)]
        assert row["score"] == score
        assert (row["decision"] == "forward") == bool(forward)
        assert (row["model"], row["threshold"], row["survey"]) == ("small/1", 0.5, "ztf")
        assert row["jd"] == pytest.approx(2_461_000.5 + int(candid) % 1000 / 100, abs=1e-3)


def equal_online_and_offline(values: list[bytes], out: Path) -> None:
    """The worker's annotations hold the very numbers of the table, and its dead and parked letters are the rest."""
    night = stream_cases.Night(batch_size=7)
    night.send(*values)
    night.run()
    online = {one["candid"]: one for one in (annotation.decode(message.value) for message in night.annotated())}
    rows = pq.read_table(out).to_pylist()
    offline = {row["candid"]: row for row in rows if row["reason"] is None}
    assert online.keys() == offline.keys()
    for name in ("object_id", "survey", "score", "p_real", "decision", "threshold"):
        assert {candid: row[name] for candid, row in offline.items()} == {c: one[name] for c, one in online.items()}
    assert len(night.dead()) + len(night.parked()) == len(rows) - len(offline)


def test_the_command_gives_what_the_worker_gives_to_the_last_bit(archive: Path, models: Path, tmp_path: Path) -> None:
    called(archive, "--out", tmp_path / "a.parquet", "--models", models, "--threshold", "0.35")
    equal_online_and_offline([data for _, data in archives.messages([archive])], tmp_path / "a.parquet")


@pytest.mark.packets
def test_command_and_worker_agree_on_real_packets(real_packets: Path, models: Path, tmp_path: Path) -> None:
    folders = [real_packets / "ztf" / "1*0.avro", real_packets / "damaged", real_packets / "atlas"]
    assert called(*folders, "--out", tmp_path / "a.parquet", "--models", models, "--threshold", "0.35") == 0
    values = [data for _, data in archives.messages(folders)]
    assert len(values) > 50
    equal_online_and_offline(values, tmp_path / "a.parquet")


def test_a_rejected_packet_has_a_reason_a_sentence_and_no_score(archive: Path, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    called(archive, "--out", out, "--models", models)
    rejected = [row for row in pq.read_table(out).to_pylist() if row["reason"]]
    assert len(rejected) == 2
    assert all(row["detail"] for row in rejected)
    assert {row[name] for row in rejected for name in ("score", "p_real", "decision", "model", "threshold")} == {None}


def test_candids_beyond_2_to_the_53_stay_exact_in_every_format(archive: Path, models: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"scores{ending}" for ending in (".parquet", ".csv", ".jsonl")]
    for out in outs:
        assert called(archive, "--out", out, "--models", models) == 0
    wanted = list(range(cases.FIRST, cases.FIRST + GOOD))
    from_csv = [int(row["candid"]) for row in from_csv_of(outs[1]) if row["score"]]
    from_lines = [json.loads(line) for line in outs[2].read_text().splitlines()]
    rows = pq.read_table(outs[0]).to_pylist()
    assert sorted(row["candid"] for row in rows if row["score"] is not None) == sorted(from_csv) == wanted
    assert from_lines == rows


def test_an_unknown_ending_is_refused_before_anything_is_read(archive: Path, models: Path, tmp_path: Path) -> None:
    assert called(archive, "--out", tmp_path / "scores.xls", "--models", models) == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--threshold", "1.5"], "--threshold is 1.5"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--voevents", "events"], "--authority"),
        (["--survey-model", "mars=x/1"], "surveys are"),
        (["--schema", "rubin/0.0"], "--schema: "),
    ],
)
def test_a_wrong_call_says_what_was_expected(
    arguments: list[str], problem: str, archive: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(archive, "--out", tmp_path / "x.csv", "--models", models, *arguments) == 2
    assert problem in capsys.readouterr().err


def test_threshold_and_model_are_those_asked_for(archive: Path, models: Path, tmp_path: Path) -> None:
    other = cases.model(tmp_path / "others", version="2", seed=2)
    called(archive, "--out", tmp_path / "a.parquet", "--model", other, "--threshold", "0.25")
    rows = [row for row in pq.read_table(tmp_path / "a.parquet").to_pylist() if row["reason"] is None]
    assert {(row["model"], row["threshold"]) for row in rows} == {("small/2", 0.25)}
    assert all((row["score"] >= 0.25) == (row["decision"] == "forward") for row in rows)


def test_a_survey_without_a_model_is_rejected_as_such_and_told_which_there_are(
    archive: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = models / "small" / "1"
    called(archive / "a.avro", "--out", tmp_path / "a.csv", "--models", models, "--survey-model", f"rubin={folder}")
    assert "small/1 was made for ztf: --survey-model ztf=small/1" in capsys.readouterr().err
    (row,) = from_csv_of(tmp_path / "a.csv")
    assert (row["reason"], row["survey"], row["candid"]) == ("no_model", "ztf", str(cases.FIRST + 3))


def test_features_are_the_very_values_that_were_scored(archive: Path, models: Path, tmp_path: Path) -> None:
    called(archive, "--out", tmp_path / "a.parquet", "--models", models, "--features")
    table = pq.read_table(tmp_path / "a.parquet")
    good = table.filter([value is None for value in table["reason"].to_pylist()])
    X = np.stack([good[f"feature_{name}"].to_numpy() for name in cases.FEATURES], axis=1).astype(np.float32)
    score = load_model(models / "small" / "1").score(X)
    np.testing.assert_array_equal(np.round(score, 6), good["score"].to_numpy())


def test_a_container_of_several_records_gives_a_row_for_each(models: Path, tmp_path: Path) -> None:
    records = [cases.record(cases.FIRST + number) for number in range(3)]
    with (tmp_path / "many.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(json.loads(read_schema("ztf/4.02"))), records)
    assert called(tmp_path / "many.avro", "--out", tmp_path / "a.parquet", "--models", models) == 0
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["path"].partition("#")[2] for row in rows] == ["1", "2", "3"]
    assert [row["candid"] for row in rows] == [cases.FIRST + number for number in range(3)]
    assert all(row["score"] is not None for row in rows)


def test_a_torn_tar_is_a_row_a_message_and_exit_code_1(
    archive: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = archive / "night.tar.gz"
    night.write_bytes(night.read_bytes()[:-5000])
    assert called(archive, "--out", tmp_path / "a.parquet", "--models", models) == 1
    assert f"could not be read to its end: {night}" in capsys.readouterr().err
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "a.parquet").to_pylist()}
    assert rows[str(night)]["reason"] == "malformed"
    assert rows[f"{night}::0.avro"]["score"] is not None


def test_the_end_tells_what_was_found(
    archive: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(archive, "--out", tmp_path / "a.parquet", "--models", models)
    told = capsys.readouterr()
    assert told.out == ""
    assert "7 packets" in told.err
    assert "5 scored" in told.err
    assert "2 rejected: 1 malformed, 1 unknown_schema" in told.err


def test_events_of_what_would_be_forwarded_are_tests_unless_ordered_otherwise(
    archive: Path, models: Path, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    options = ["--models", models, "--threshold", "0", "--voevents", events, "--authority", "org.example.test"]
    assert called(archive, "--out", tmp_path / "a.parquet", *options) == 0
    files = sorted(events.rglob("*.xml"))
    assert len(files) == GOOD
    assert all(b'role="test"' in file.read_bytes() and file.name.startswith("test_") for file in files)
    before = {file: file.read_bytes() for file in files}
    assert called(archive, "--out", tmp_path / "b.parquet", *options) == 0
    assert {file: file.read_bytes() for file in sorted(events.rglob("*.xml"))} == before


# -- processes, resuming -------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Forty packets, every seventh of them damaged."""
    folder = tmp_path / "many"
    folder.mkdir()
    data = {f"{n:03d}.avro": raw if n % 7 else raw[:-9] for n, raw in enumerate(cases.packets(40))}
    cases.night(folder / "first.tar", dict(list(data.items())[:25]))
    cases.night(folder / "second.tar.gz", dict(list(data.items())[25:]))
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks of 4 packets, parts of 2 chunks: forty packets are a long run."""
    monkeypatch.setattr(rescoring, "CHUNK", 4)
    monkeypatch.setattr(rescoring, "PART", 2)
    return


def test_rows_do_not_depend_on_the_number_of_processes(
    many: Path, models: Path, tmp_path: Path, small_parts: None
) -> None:
    outs = [tmp_path / f"{processes}.parquet" for processes in (1, 2)]
    for processes, out in zip((1, 2), outs, strict=True):
        summary = rescore([many], out, plan(models), processes=processes)
        assert (summary.packets, summary.scored, summary.rejected) == (40, 34, {"malformed": 6})
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_scores_do_not_depend_on_how_packets_are_cut_into_chunks(
    many: Path, models: Path, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rescore([many], tmp_path / "small.parquet", plan(models))
    monkeypatch.undo()
    rescore([many], tmp_path / "large.parquet", plan(models))
    assert pq.read_table(tmp_path / "small.parquet") == pq.read_table(tmp_path / "large.parquet")


class Stop(Exception):
    """Stands for a kill."""


class StopAfter(rescoring.Progress):
    """Ends the run in the middle."""

    def __init__(self, packets: int) -> None:
        self.left = packets

    def advance(self, passed: int, packets: int, rejected: int) -> None:
        self.left -= packets
        if self.left < 0:
            raise Stop


def test_a_stopped_run_continues_and_gives_the_same_bytes(
    many: Path, models: Path, tmp_path: Path, small_parts: None
) -> None:
    rescore([many], tmp_path / "whole.parquet", plan(models))
    out = tmp_path / "stopped.parquet"
    for packets in (10, 20):
        with pytest.raises(Stop):
            rescore([many], out, plan(models), resume=True, progress=StopAfter(packets))
    assert not out.exists()
    summary = rescore([many], out, plan(models), resume=True)
    assert summary.packets == 40
    assert 0 < summary.fresh < 40
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not out.with_name("stopped.parquet.parts").exists()


def stopped(many: Path, models: Path, out: Path) -> None:
    with pytest.raises(Stop):
        rescore([many], out, plan(models), progress=StopAfter(20))


def test_an_unfinished_run_is_not_overwritten_unasked(
    many: Path, models: Path, tmp_path: Path, small_parts: None
) -> None:
    stopped(many, models, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="continue it with --resume"):
        rescore([many], tmp_path / "a.parquet", plan(models))


def test_another_plan_does_not_continue_a_run(many: Path, models: Path, tmp_path: Path, small_parts: None) -> None:
    stopped(many, models, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"threshold was None, is 0\.9"):
        rescore([many], tmp_path / "a.parquet", plan(models, threshold=0.9), resume=True)


def test_changed_packets_do_not_continue_a_run(many: Path, models: Path, tmp_path: Path, small_parts: None) -> None:
    stopped(many, models, tmp_path / "a.parquet")
    cases.night(many / "first.tar", {"other.avro": cases.packet(cases.FIRST)})
    with pytest.raises(ConfigError, match="have changed since"):
        rescore([many], tmp_path / "a.parquet", plan(models), resume=True)


SMALL_PARTS = """
import sys
import realbogus.cli.rescore
from realbogus import archives, cli, rescoring, tables
if __name__ == "__main__":
    rescoring.CHUNK, rescoring.PART = 50, 2
    sys.exit(cli.main())
"""


def test_a_killed_run_leaves_no_process_and_continues_to_the_same_bytes(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases.night(tmp_path / "night.tar", {f"{n:05d}.avro": raw for n, raw in enumerate(cases.packets(40) * 50)})
    out = tmp_path / "killed.parquet"
    command = [sys.executable, "-c", SMALL_PARTS, "rescore"]
    command += [str(tmp_path / "night.tar"), "--out", str(out), "--models", str(models), "--jobs", "2"]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    parts = out.with_name("killed.parquet.parts")
    wait_for(lambda: list(parts.glob("*.parquet")) or run.poll() is not None)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    wait_for(lambda: not processes_of(run.pid))
    monkeypatch.setattr(rescoring, "CHUNK", 50)
    monkeypatch.setattr(rescoring, "PART", 2)
    assert called(tmp_path / "night.tar", "--out", out, "--models", models, "--jobs", "1", "--resume") == 0
    assert called(tmp_path / "night.tar", "--out", tmp_path / "whole.parquet", "--models", models, "--jobs", "1") == 0
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def wait_for(fulfilled: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not fulfilled():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def processes_of(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
        except ProcessLookupError:
            continue
    return found


def test_two_runs_do_not_write_one_output(many: Path, models: Path, tmp_path: Path, small_parts: None) -> None:
    class Again(rescoring.Progress):
        def begin(self, total: int, processes: int) -> None:
            with pytest.raises(ConfigError, match="another run is writing"):
                rescore([many], tmp_path / "a.parquet", plan(models), resume=True)

    rescore([many], tmp_path / "a.parquet", plan(models), progress=Again())


def test_only_so_many_chunks_are_under_way(many: Path, models: Path) -> None:
    submitted: list[int] = []

    def submit(chunk: Chunk) -> object:
        submitted.append(chunk.number)
        return lambda: Judged(judge(chunk, plan(models), Scorer(models={}, policy=Policy())).rows)

    chunks = (Chunk(number, [], 0) for number in range(20))
    ahead = 3
    for done, (chunk, _) in enumerate(rescoring._in_order(chunks, submit, lambda chunk: False, ahead)):  # type: ignore[arg-type]
        assert chunk.number == done
        assert len(submitted) - done <= ahead + 1
    assert submitted == list(range(20))


@pytest.mark.packets
def test_all_shared_packets_are_rows_and_damaged_ones_have_reasons(
    real_packets: Path, models: Path, tmp_path: Path
) -> None:
    summary = rescore([real_packets / "damaged"], tmp_path / "a.parquet", plan(models))
    assert summary.packets == len(list((real_packets / "damaged").iterdir()))
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert all(row["reason"] and row["detail"] for row in rows)


@pytest.mark.parametrize("text", [call.__doc__ or "", (DOCS / "rescoring.md").read_text()], ids=["help", "docs"])
def test_help_and_documentation_name_every_column(text: str) -> None:
    assert not [name for name in tables.COLUMNS.names if name not in text]


def test_the_documentation_names_every_ending() -> None:
    text = (DOCS / "rescoring.md").read_text()
    assert not [ending for ending in tables.WRITERS if f"`{ending}`" not in text]

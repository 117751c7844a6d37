"""`realbogus inspect`: what a person sees of a packet, with and without a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from survey_cases import MAKE, packet, ztf

from realbogus.calibration import fit_calibration
from realbogus.cli import main
from realbogus.forest import Forest
from realbogus.model import STAMP_RULE, describe_features, model_files

NAMES = ["n2sig3", "diffsum", "snr", "nan_frac_d"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with a small one promoted, for ZTF only."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, len(NAMES))).astype(np.float32)
    is_real = X[:, 1] + rng.normal(0, 0.3, 200) > 0
    forest = Forest.from_sklearn(RandomForestClassifier(20, random_state=1).fit(X, is_real), real=True)
    manifest = {
        "name": "tiny", "version": "1", "kind": "random forest", "classes": ["bogus", "real"], "surveys": ["ztf"],
        "features": describe_features(NAMES, "test-1"), "stamps": STAMP_RULE, "threshold": {"score": 0.25},
        "training": {}, "metrics": {}, "libraries": {}, "thresholds": [], "limits": [],
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny" / "1").mkdir(parents=True)
    for name, raw in model_files(forest, fit_calibration(forest.score(X), is_real), manifest, X[:5], "card").items():
        (folder / "tiny" / "1" / name).write_bytes(raw)
    (folder / "current").write_text("tiny/1\n")
    return folder


@pytest.fixture
def written(tmp_path: Path):
    """Write a packet of a survey, and give its path."""

    def write(survey: str = "ztf", **changes) -> str:
        path = tmp_path / f"{survey}.avro"
        path.write_bytes(packet(survey, MAKE[survey](**changes)))
        return str(path)

    return write


def test_without_a_model_the_packet_is_shown(written, tmp_path, capsys):
    assert main(["inspect", written(), "--models", str(tmp_path / "none")]) == 0
    told = capsys.readouterr()
    for words in (
        "ZTF18abcdefg",
        str(2**60 + 1),
        "ZTF, schema ztf/9.9",
        "10.0000000 -5.0000000 deg",
        "band r, 18.50 ± 0.10",
    ):
        assert words in told.out
    assert "2023-02-25 00:00:30 UTC" in told.out
    assert "no model is promoted" in told.err
    assert "score" not in told.out.replace("no score", "")


def test_with_a_model_the_verdict_and_its_reasons_are_shown(written, models, capsys):
    assert main(["inspect", written(), "--models", str(models)]) == 0
    out = capsys.readouterr().out
    assert "score" in out
    assert "tiny/1" in out
    assert all(name in out for name in NAMES)


def test_json_tells_the_same_for_machines(written, models, capsys):
    assert main(["inspect", written(rb=0.5), "--models", str(models), "--model", "tiny/1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["candid"] == 2**60 + 1
    assert told["columns"]["survey_rb"] == 0.5
    assert told["columns"]["dipole_chi2_ratio"] is None
    assert told["stamps"][0] == {"name": "science", "rows": 63, "columns": 63, "missing": 0.0}
    judged = told["judged"]
    assert judged["decision"] == ("real" if judged["score"] >= judged["threshold"] else "bogus")
    assert set(judged["contributions"]) == set(NAMES)


@pytest.mark.parametrize("with_model", [True, False])
def test_a_picture_is_drawn(written, models, tmp_path, with_model, capsys):
    out = tmp_path / "out.png"
    assert main(["inspect", written(), "--models", str(models if with_model else tmp_path), "--png", str(out)]) == 0
    assert out.read_bytes()[:4] == b"\x89PNG"


def test_a_model_given_as_a_folder_is_used(written, models, capsys):
    assert main(["inspect", written(), "--model", str(models / "tiny" / "1")]) == 0
    assert "tiny/1" in capsys.readouterr().out


def test_a_survey_that_the_promoted_model_is_not_for_is_shown_without_a_score(written, models, capsys):
    assert main(["inspect", written("rubin"), "--models", str(models)]) == 0
    told = capsys.readouterr()
    assert "tiny/1 is not for rubin" in told.err
    assert "Rubin, schema rubin/10.0" in told.out


def test_a_damaged_packet_is_named_with_its_reason(tmp_path, capsys):
    path = tmp_path / "cut.avro"
    path.write_bytes(packet("ztf", ztf())[:-100])
    assert main(["inspect", str(path)]) == 1
    assert "reason: malformed" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["rejected"] == "malformed"


def test_a_packet_without_a_stamp_is_named_with_its_reason(tmp_path, capsys):
    path = tmp_path / "stampless.avro"
    path.write_bytes(packet("ztf", ztf() | {"cutoutScience": None}))
    assert main(["inspect", str(path)]) == 1
    out = capsys.readouterr().out
    assert "reason: missing_stamp" in out
    assert "the packet lacks stamps: science" in out
    assert str(2**60 + 1) in out


def test_hostile_text_does_not_reach_the_terminal(written, tmp_path, capsys):
    path = tmp_path / "hostile.avro"
    path.write_bytes(packet("ztf", ztf() | {"objectId": "\x1b[2J[red]x"}))
    assert main(["inspect", str(path), "--models", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out
    assert "?[2J[red]x" in out


@pytest.mark.parametrize(("arguments", "code"), [(["missing.avro"], 2), (["{packet}", "--model", "no/such"], 1)])
def test_a_wrong_call_says_so(written, models, arguments, code, capsys):
    filled = [argument.format(packet=written()) for argument in arguments]
    assert main(["inspect", *filled, "--models", str(models)]) == code
    assert capsys.readouterr().err.startswith("realbogus: ")

"""The configuration is checked as a whole, from wherever its values come."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from realbogus import config
from realbogus.cli import main
from realbogus.config.example import example
from realbogus.config.layers import Layer
from realbogus.errors import ConfigError

SMALLEST = """
[kafka]
bootstrap = "127.0.0.1:9092"
[input]
topics = ["alerts"]
group_id = "night"
"""


def of(text: str, **environment: str) -> config.Settings:
    return config.settings(config.from_env(environment), config.from_toml(text))


def problems_of(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        of(text, **environment)
    return list(caught.value.problems)


def test_the_smallest_configuration_is_a_cluster_a_topic_and_a_group():
    settings = of(SMALLEST)
    assert settings.need_input().topics == ("alerts",)
    assert settings.voevent is None
    assert settings.output.dead_letters == "{topic}.dlq"


def test_explicit_beats_environment_beats_file_beats_default():
    environment = config.from_env({"REALBOGUS_INPUT_BATCH_SIZE": "12", "REALBOGUS_INPUT_WAIT_S": "0.5"})
    file = config.from_toml(SMALLEST + "batch_size = 7\nwait_s = 2\nbare_schema = 'rubin/9.0'\n")
    given = config.settings(Layer({"input": {"batch_size": 3}}, "call"), environment, file).need_input()
    assert (given.batch_size, given.wait_s, given.bare_schema, given.instance) == (3, 0.5, "rubin/9.0", "")


def test_all_problems_come_together():
    problems = problems_of(
        """
        [kafka]
        bootstrap = "nowhere"
        [input]
        topcis = ["a"]
        batch_size = "many"
        [output]
        format = "xml"
        [http]
        port = 99999
        [voevents]
        """
    )
    assert len(problems) == 8
    for part in (
        "'nowhere'",
        "did you mean 'topics'",
        "batch_size",
        "nothing would be read",
        "group_id",
        "record",
        "99999",
    ):
        assert any(part in problem for problem in problems), part
    assert any("[voevents]" in problem and "did you mean 'voevent'" in problem for problem in problems)


def test_a_value_that_cannot_be_read_is_complained_about_once():
    assert problems_of(SMALLEST + "wait_s = 'long'\n") == ["input.wait_s: expected a number, found 'long'"]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("batch_size = true", "expected a whole number"),
        ("batch_size = 0", "expected 1 to 100000"),
        ("pattern = 'ztf'", "needs the date"),
        ("pattern = 'ztf %Y%m%d'", "cannot be a topic"),
        ("topics = 'alerts'", "expected a list of texts"),
        ("topics = ['two words']", "cannot be a topic"),
        ("schema_registry_url = 'registry:8081'", "http://"),
    ],
)
def test_what_is_wrong_with_an_input_is_said(line, part):
    head = SMALLEST.replace('topics = ["alerts"]\n', "") if line.startswith("topics") else SMALLEST
    assert any(part in problem for problem in problems_of(head + line))


def test_the_environment_says_that_it_was_the_environment():
    assert problems_of(SMALLEST, REALBOGUS_INPUT_WAIT_S="soon") == [
        "input.wait_s (from the environment): expected a number, found 'soon'"
    ]


def test_the_environment_reads_lists_tables_and_truth():
    settings = of(
        SMALLEST,
        REALBOGUS_INPUT_TOPICS="a, b",
        REALBOGUS_OUTPUT_CREATE="false",
        REALBOGUS_MODELS_SURVEYS_RUBIN="mine/2.0",
        REALBOGUS_POLICY_THRESHOLD="0.7",
        REALBOGUS_VOEVENT_AUTHORITY="org.example.survey",
    )
    assert settings.need_input().topics == ("a", "b")
    assert settings.output.create is False
    assert settings.models.surveys == {"rubin": "mine/2.0"}
    assert settings.policy.threshold == 0.7
    assert settings.voevent is not None


def test_other_names_in_the_environment_are_left_alone():
    assert of(SMALLEST, REALBOGUS_REQUIRE_ALL="1", REALBOGUS_PYTHON="python3", PATH="/bin") == of(SMALLEST)


def test_tables_of_properties_are_merged_entry_by_entry():
    file = SMALLEST + '[kafka.properties]\n"sasl.username" = "file"\n"security.protocol" = "SASL_SSL"\n'
    properties = of(file, REALBOGUS_KAFKA_PROPERTIES_SASL_USERNAME="environment").kafka.properties
    assert properties == {"sasl.username": "environment", "security.protocol": "SASL_SSL"}


def test_properties_may_be_numbers_truth_and_unquoted_names():
    text = SMALLEST + "[kafka.producer]\nlinger.ms = 50\nenable.gapless.guarantee = true\n"
    assert of(text).kafka.producer == {"linger.ms": "50", "enable.gapless.guarantee": "true"}


def test_a_secret_in_the_file_is_refused_and_not_repeated():
    (problem,) = problems_of(SMALLEST + '[kafka.properties]\n"sasl.password" = "hunter2"\n')
    assert "REALBOGUS_KAFKA_PROPERTIES_SASL_PASSWORD" in problem
    assert "hunter2" not in problem


def test_a_secret_from_the_environment_is_used_and_never_shown():
    settings = of(SMALLEST, REALBOGUS_KAFKA_PROPERTIES_SASL_PASSWORD="hunter2")
    assert settings.kafka.properties["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("name", ["enable.auto.commit", "group.id", "acks", "transactional.id", "bootstrap.servers"])
def test_properties_that_the_promise_rests_on_cannot_be_set(name):
    (problem,) = problems_of(SMALLEST + f'[kafka.properties]\n"{name}" = "x"\n')
    assert name in problem


@pytest.mark.parametrize(
    "text",
    [
        "[output]\ntopic = 'alerts'",
        "[output]\ndead_letters = 'alerts'",
        "[output]\ntopic = '{topic}'",
        "[publish]\noutbox = 'alerts'",
    ],
)
def test_a_worker_must_not_feed_on_its_own_results(text):
    (problem,) = problems_of(SMALLEST + text)
    assert "feed on its own results" in problem


def test_sections_of_other_rooms_tell_their_problems_too():
    problems = problems_of(SMALLEST + "[voevent]\nrole = 'real'\n[publish]\nbatch = 0\n[policy]\nthreshold = 2\n")
    assert sum("voevent." in problem for problem in problems) == 2
    assert any("publish.batch" in problem for problem in problems)
    assert any(problem.startswith("policy: ") for problem in problems)


def test_a_configuration_without_input_is_one_of_a_publisher():
    settings = of('[kafka]\nbootstrap = "broker:9092"\n')
    with pytest.raises(ConfigError, match="the section is missing"):
        settings.need_input()


@pytest.mark.parametrize("text", ["[kafka", "bootstrap = 'x'", "[kafka]\nbootstrap = 1\nbootstrap = 2"])
def test_what_is_no_configuration_at_all_is_a_config_error(text):
    with pytest.raises(ConfigError):
        config.from_toml(text)


def test_a_missing_file_is_a_config_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.toml", {})


# The example


def test_the_example_passes_the_check():
    assert config.settings(config.from_toml(example())).need_input().topics


def test_the_example_with_every_default_spelled_out_is_the_same_configuration():
    text = re.sub(r"^# (\w+ = .*)$", r"\1", example(), flags=re.MULTILINE)
    assert config.settings(config.from_toml(text)) == config.settings(config.from_toml(example()))


def test_the_example_names_every_setting_and_says_what_it_means():
    text = re.sub(r"^# (\w+ = .*)$", r"\1", example(), flags=re.MULTILINE)
    tables = tomllib.loads(text)
    for section, kind in config.SECTIONS.items():
        named = {field.name for field in dataclasses.fields(kind)} - {
            "properties",
            "consumer",
            "producer",
            "secret_files",
            "shadow",
        }
        assert named == set(tables[section]) - {"shadow"}, section
    commented = [line for line in text.splitlines() if re.match(r"\w+ = ", line)]
    assert sum("#" in line for line in commented) > 0.9 * len(commented)


# The command


def test_config_check_says_all_problems_at_once_and_ends_with_2(tmp_path: Path, capsys):
    file = tmp_path / "worker.toml"
    file.write_text(SMALLEST.replace("127.0.0.1:9092", "nowhere") + "batch_siz = 3\n")
    assert main(["config", "check", str(file)]) == 2
    err = capsys.readouterr().err
    assert "kafka.bootstrap" in err
    assert "did you mean 'batch_size'" in err


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('"sasl.mechanim" = "PLAIN"', "sasl.mechanim"),
        ('"socket.timeout.ms" = -5', "outside allowed range"),
        ('"security.protocol" = "SASL_SSL"\n"sasl.mechanism" = "PLAIN"', "sasl.password"),
    ],
)
def test_config_check_asks_the_client_library_about_its_properties(tmp_path: Path, capsys, line, part):
    file = tmp_path / "worker.toml"
    file.write_text(f"{SMALLEST}[kafka.properties]\n{line}\n")
    assert main(["config", "check", str(file)]) == 2
    assert part in capsys.readouterr().err


def test_config_check_finds_nothing_wrong_with_the_example(tmp_path: Path, capsys):
    assert main(["config", "example"]) == 0
    file = tmp_path / "worker.toml"
    file.write_text(capsys.readouterr().out)
    assert main(["config", "check", str(file)]) == 0


def test_secrets_may_lie_in_files(tmp_path: Path, capsys):
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    text = (
        SMALLEST
        + '[kafka.properties]\n"security.protocol" = "SASL_SSL"\n"sasl.mechanism" = "PLAIN"\n"sasl.username" = "me"\n'
    )
    file = tmp_path / "worker.toml"
    file.write_text(f'{text}[kafka.secret_files]\n"sasl.password" = "{secret}"\n')
    assert main(["config", "check", str(file)]) == 0
    secret.unlink()
    assert main(["config", "check", str(file)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_password_in_the_address_of_the_registry_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="holds a name or password") as caught:
        config.sections.InputSettings(topics=("a",), group_id="g", schema_registry_url="https://me:hush@127.0.0.1/")
    assert "hush" not in str(caught.value)


def test_no_secret_is_printed_by_the_check(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("REALBOGUS_KAFKA_PROPERTIES_SASL_PASSWORD", "hush")
    file = tmp_path / "worker.toml"
    file.write_text(example() + '[kafka.properties]\n"sasl.mechanism" = "nonsense"\n"security.protocol" = "SASL_SSL"\n')
    assert main(["config", "check", str(file)]) == 2
    told = capsys.readouterr()
    assert "SASL mechanism" in told.err
    assert "hush" not in told.out + told.err

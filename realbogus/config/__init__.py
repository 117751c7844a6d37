"""The configuration: sections of values that are checked together, before the first connection.

What is told explicitly beats the environment, which beats the file, which beats the default. Unknown keys are errors.

    settings = config.load(Path("worker.toml"), os.environ)

In the environment a setting is REALBOGUS_SECTION_KEY: REALBOGUS_INPUT_GROUP_ID, REALBOGUS_KAFKA_BOOTSTRAP. Lists have
commas. Properties of the Kafka client are written with "_" for ".": REALBOGUS_KAFKA_PROPERTIES_SASL_PASSWORD. Secrets
come from there, or from files named in [kafka.secret_files], and never from the configuration file itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from realbogus.config.guards import BreakerSettings, ExposureSettings
from realbogus.config.layers import Layer, Values, build, merged, parse_toml, suggestion
from realbogus.config.sections import (
    HttpSettings,
    InputSettings,
    KafkaSettings,
    LogSettings,
    ModelSettings,
    OutputSettings,
    WorkerSettings,
    is_secret,
    topic_for,
)
from realbogus.errors import ConfigError
from realbogus.limits import Limits
from realbogus.policy import Policy
from realbogus.publish.settings import PublishSettings
from realbogus.voevent.style import EventStyle

PREFIX = "REALBOGUS_"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that an operator decides, checked."""

    kafka: KafkaSettings
    input: InputSettings | None = None  # None = no such section: this configuration is not for a worker
    output: OutputSettings = field(default_factory=OutputSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    voevent: EventStyle | None = None  # None = alerts are annotated, no VOEvents are made
    publish: PublishSettings = field(default_factory=PublishSettings)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    exposures: ExposureSettings = field(default_factory=ExposureSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)

    def need_input(self) -> InputSettings:
        """Section [input]; ConfigError where there is none."""
        if self.input is None:
            raise ConfigError(["input: the section is missing; a worker needs input.topics and input.group_id"])
        return self.input


SECTIONS: Mapping[str, type] = {
    "kafka": KafkaSettings,
    "input": InputSettings,
    "output": OutputSettings,
    "models": ModelSettings,
    "policy": Policy,
    "limits": Limits,
    "voevent": EventStyle,
    "publish": PublishSettings,
    "breaker": BreakerSettings,
    "exposures": ExposureSettings,
    "http": HttpSettings,
    "log": LogSettings,
    "worker": WorkerSettings,
}


def load(path: Path | None, environment: Mapping[str, str], explicit: Values | None = None) -> Settings:
    """The settings of a file, an environment and what was told explicitly; ConfigError with all problems."""
    layers = [Layer(explicit or {}, "call"), from_env(environment)]
    if path is not None:
        try:
            layers.append(from_toml(path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError([f"the configuration file {str(path)!r} cannot be read: {why}"]) from None
    return settings(*layers)


def from_toml(text: str) -> Layer:
    """The values of a configuration file; ConfigError where it is not TOML."""
    return parse_toml(text)


def from_env(environment: Mapping[str, str]) -> Layer:
    """The values that an environment sets. Names of other things that begin with REALBOGUS_ are left alone."""
    values: dict[str, dict[str, Any]] = {}
    for name, text in environment.items():
        section, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if not name.startswith(PREFIX) or section not in SECTIONS or not key:
            continue
        table = _table_of(section, key)
        if table:
            entry = key.removeprefix(f"{table}_")
            values.setdefault(section, {}).setdefault(table, {})[_entry_name(section, entry)] = text
        else:
            values.setdefault(section, {})[key] = text
    return Layer(values, "environment")


def settings(*layers: Layer) -> Settings:
    """The settings of layers, the strongest first; ConfigError with the problems of all of them together."""
    problems = [problem for layer in layers for problem in _unknown_sections(layer)]
    problems += [problem for layer in layers if layer.source == "file" for problem in _open_secrets(layer)]
    made: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        given = merged(layers, name)
        if given or name == "kafka" or any(name in layer.values for layer in layers):
            made[name] = build(kind, name, given, problems)
    if not problems:
        problems = list(_clashes(made))
    if problems:
        raise ConfigError(problems)
    return Settings(**made)


def _table_of(section: str, key: str) -> str:
    """The field of a section that is a table and holds this key of the environment; "" = none."""
    hints = get_type_hints(SECTIONS[section])
    tables = [f.name for f in fields(SECTIONS[section]) if "Mapping" in str(hints[f.name])]
    return next((table for table in tables if key.startswith(f"{table}_")), "")


def _entry_name(section: str, entry: str) -> str:
    return entry.replace("_", ".") if section == "kafka" else entry


def _unknown_sections(layer: Layer) -> list[str]:
    known = set(SECTIONS)
    return [f"[{name}] is not a known section{suggestion(name, known)}" for name in layer.values if name not in known]


def _open_secrets(layer: Layer) -> list[str]:
    """Secrets that stand in a configuration file, where they end up in backups and repositories."""
    kafka = layer.values.get("kafka", {})
    names = [(table, name) for table in ("properties", "consumer", "producer") for name in _names(kafka.get(table))]
    return [
        f"kafka.{table}: {name!r} is a secret and has no place in this file; set "
        f"{PREFIX}KAFKA_{table.upper()}_{name.upper().replace('.', '_')} or name a file in [kafka.secret_files]"
        for table, name in names
        if is_secret(name)
    ]


def _names(table: Any, prefix: str = "") -> list[str]:
    if not isinstance(table, Mapping):
        return []
    return [
        name
        for key, value in table.items()
        for name in (_names(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key])
    ]


def _clashes(made: Mapping[str, Any]) -> list[str]:
    """Sections that are fine each and impossible together."""
    given: InputSettings | None = made.get("input")
    if given is None:
        return []
    output, publish = made.get("output") or OutputSettings(), made.get("publish") or PublishSettings()
    exposures = made.get("exposures") or ExposureSettings()
    written = {
        "output.topic": output.topic,
        "output.dead_letters": output.dead_letters,
        "output.parked": output.parked,
        "output.shadow": output.shadow,
        "publish.outbox": publish.outbox,
        "exposures.held": exposures.held,
    }
    problems = [
        f"{where} is {topic_for(template, topic)!r}, which is also read: the worker would feed on its own results"
        for where, template in written.items()
        for topic in given.topics
        if topic_for(template, topic) in given.topics
    ]
    if publish.outbox in (output.topic, output.dead_letters, output.parked):
        problems.append(f"publish.outbox and a topic of [output] are both {publish.outbox!r}")
    if exposures.held == publish.outbox:
        problems.append(f"exposures.held and publish.outbox are both {publish.outbox!r}: nothing would be held")
    return problems

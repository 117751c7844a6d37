"""A configuration to start from, made of the very dataclasses that will check it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from realbogus.config import SECTIONS

_COMMENT = re.compile(r"^    (\w+): [^#\n]*#[ ]*(.+)$", re.MULTILINE)
_GIVEN: Mapping[str, Any] = {  # what has no sensible default
    "kafka.bootstrap": "127.0.0.1:9092",
    "input.topics": ["ztf_alerts"],
    "input.group_id": "realbogus",
    "voevent.authority": "org.example.survey",
}
_WIDTH = 40

_TABLES = """
# Anything else that the Kafka client can be told, for example for a cluster with TLS and passwords. The password itself
# comes from the environment, REALBOGUS_KAFKA_PROPERTIES_SASL_PASSWORD, or from a file:
# [kafka.properties]
# "security.protocol" = "SASL_SSL"
# "sasl.mechanism" = "SCRAM-SHA-512"
# "sasl.username" = "me"
# [kafka.secret_files]
# "sasl.password" = "/run/secrets/kafka-password"
"""
_SURVEYS = """
[models.surveys]                         # survey -> "name/version", or "current" for the promoted model
ztf = "current"
# [models.shadow]                        # survey -> model that scores the same alerts into output.shadow, to compare
# "ztf" = "mine/2"
"""
_AFTER = {"kafka": _TABLES, "models": _SURVEYS}


def example() -> str:
    """A commented configuration that passes the check: required values made up, defaults shown as comments."""
    parts = ["# realbogus: configuration of the worker and the publisher. Lines with '# key' show the defaults.\n"]
    for name, kind in SECTIONS.items():
        parts += [f"\n# {_about(kind)}\n[{name}]\n", *_lines(name, kind), _AFTER.get(name, "")]
    return "".join(parts)


def _about(kind: type) -> str:
    """The first sentence of what a section says of itself."""
    first = (kind.__doc__ or "").strip().splitlines()[0]
    about = re.sub(r"^Section \[\w+\]: |Section \[\w+\] of a configuration\.|Raises .*", "", first).strip()
    return about[:1].upper() + about[1:]


def _lines(section: str, kind: type) -> Iterator[str]:
    comments = dict(_COMMENT.findall(inspect.getsource(kind)))
    for one in fields(kind):
        given = _GIVEN.get(f"{section}.{one.name}")
        default = _default(one)
        if isinstance(default, Mapping):
            continue
        line = f"{one.name} = {_toml(given)}" if given is not None else f"# {one.name} = {_toml(default)}"
        comment = comments.get(one.name, "").replace("None =", '"" =')
        yield f"{line:<{_WIDTH}} # {comment}\n" if comment else f"{line}\n"


def _default(one: Field[Any]) -> Any:
    if one.default is not MISSING:
        return one.default
    return one.default_factory() if one.default_factory is not MISSING else ""


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return json.dumps(str(value))
    return json.dumps(list(value) if isinstance(value, tuple) else value)

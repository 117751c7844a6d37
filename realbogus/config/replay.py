"""The settings of a replay: the same alerts once more, in a group and in topics of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

from realbogus.config import Settings
from realbogus.errors import ConfigError
from realbogus.voevent.style import Role

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def replay_name(since_s: float, until_s: float, model: str) -> str:
    """What a replay is called unless told otherwise: the same times and model give the same name, and go on there."""
    begin, end = (datetime.fromtimestamp(time_s, UTC).strftime("%Y%m%dT%H%M%S") for time_s in (since_s, until_s))
    return f"{begin}-{end}-{model.replace('/', '-')}"


def replay_settings(settings: Settings, name: str, model: str, role: Role = "test") -> Settings:
    """The settings with another group, the prefix "replay.NAME." before every topic written to, and this model only.

    Nothing that the live workers use is touched: not their offsets, not their topics, not their port. Events get the
    role "test" unless told otherwise, and lie in an outbox that no publisher reads unless it is told to.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError([f"--name is {name!r}; expected up to 100 of the characters A-Z a-z 0-9 . _ -"])
    given, output, prefix = settings.need_input(), settings.output, f"replay.{name}."
    return replace(
        settings,
        input=replace(given, group_id=f"{given.group_id}.{prefix}worker", instance=""),
        output=replace(
            output,
            topic=prefix + output.topic,
            dead_letters=prefix + output.dead_letters,
            parked=prefix + output.parked,
            shadow=prefix + output.shadow,
        ),
        models=replace(settings.models, surveys=dict.fromkeys(settings.models.surveys, model), shadow={}),
        voevent=replace(settings.voevent, role=role) if settings.voevent else None,
        publish=replace(settings.publish, outbox=prefix + settings.publish.outbox),
        exposures=replace(settings.exposures, held=prefix + settings.exposures.held),
        http=replace(settings.http, port=0),
    )

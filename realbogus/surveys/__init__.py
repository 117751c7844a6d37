"""The surveys: the only place where a survey's field names, units, signs and time scales appear.

To add a survey, write a module that gives a `Survey` and list it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from realbogus.surveys.rubin import RUBIN
from realbogus.surveys.survey import Survey
from realbogus.surveys.ztf import ZTF

__all__ = ["SURVEYS", "Survey", "recognise"]

SURVEYS: Mapping[str, Survey] = MappingProxyType({survey.name: survey for survey in (ZTF, RUBIN)})


def recognise(schema: Mapping[str, Any]) -> tuple[str, str] | None:
    """Tell survey and schema of a packet from its writer schema: ("ztf", "ztf/4.02"); None = not one of ours."""
    for survey in SURVEYS.values():
        name = survey.schema_name(schema)
        if name is not None:
            return survey.name, name
    return None

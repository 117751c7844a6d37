"""Writer schemas: where they come from."""

from __future__ import annotations

import json
from typing import Any

import fastavro

from realbogus.resources import shipped


def load_schema(name: str) -> Any:
    """The shipped schema of this name ("ztf/4.02"), as plain JSON values; LookupError where there is none."""
    path = shipped("schemas") / name / "alert.avsc"
    if not path.is_file():
        raise LookupError(f"no schema {name!r} is shipped")
    return json.loads(path.read_text("utf-8"))


def parse_schema(schema: Any) -> Any:
    """The schema as fastavro wants it."""
    return fastavro.parse_schema(schema)

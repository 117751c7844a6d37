"""From texts to sections: layers of values, each checked and put into the types of the dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from realbogus.errors import ConfigError

Values: TypeAlias = Mapping[str, Mapping[str, Any]]  # section -> key -> value


@dataclass(frozen=True)
class Layer:
    """Values from one place. Stronger layers come first wherever layers are given together."""

    values: Values
    source: Literal["file", "environment", "call"]


class Unfit(ValueError):
    """A value is not of the wanted kind; the text says what was expected."""


def parse_toml(text: str) -> Layer:
    """The layer of a configuration file; ConfigError where the text is not TOML or not made of sections."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"the configuration file is not TOML: {error}"]) from None
    loose = [name for name, table in tables.items() if not isinstance(table, dict)]
    if loose:
        raise ConfigError([f"{name}: stands outside any [section]" for name in loose])
    return Layer(tables, "file")


def merged(layers: tuple[Layer, ...], section: str) -> dict[str, tuple[Any, Layer]]:
    """The values of a section, the strongest layer's first; tables within it are merged entry by entry."""
    found: dict[str, tuple[Any, Layer]] = {}
    for layer in layers:
        for key, value in layer.values.get(section, {}).items():
            if key not in found:
                found[key] = (value, layer)
            elif isinstance(value, Mapping) and isinstance(found[key][0], Mapping):
                found[key] = ({**value, **found[key][0]}, found[key][1])
    return found


def build(kind: type, section: str, given: Mapping[str, tuple[Any, Layer]], problems: list[str]) -> Any:
    """A section as its dataclass; None, and the problems told, where it cannot be made."""
    hints, fields = get_type_hints(kind), {field.name: field for field in dataclasses.fields(kind)}
    before, chosen = len(problems), {}
    for key, (value, layer) in given.items():
        if key not in fields:
            problems.append(f"{section}.{key} is not known{suggestion(key, fields)}")
            continue
        try:
            chosen[key] = convert(value, hints[key], from_text=layer.source == "environment")
        except Unfit as error:
            origin = " (from the environment)" if layer.source == "environment" else ""
            problems.append(f"{section}.{key}{origin}: {error}")
    for name in required(kind) - chosen.keys():
        chosen[name] = ""  # the section's own check says best why it is needed
    try:
        made = kind(**chosen)
    except ConfigError as error:
        problems += [problem for problem in error.problems if not _told(problem, problems[before:])]
    except ValueError as error:
        problems.append(f"{section}: {error}")
    else:
        return made if len(problems) == before else None
    return None


def required(kind: type) -> set[str]:
    """The fields without a default."""
    missing = dataclasses.MISSING
    return {f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing}


def suggestion(word: str, known: Mapping[str, Any] | set[str]) -> str:
    """A hint at what may have been meant."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are: {', '.join(sorted(known))}"


def convert(value: Any, hint: Any, *, from_text: bool) -> Any:
    """A value in the type of its field, or Unfit. from_text: it comes as text, whatever it stands for."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = next(one for one in get_args(hint) if one is not type(None))
        return None if value == "" else convert(value, inner, from_text=from_text)
    if get_origin(hint) is tuple:
        return tuple(_texts(value, from_text=from_text))
    if get_origin(hint) in (Mapping, dict) or hint is Mapping:
        return _table(value, get_args(hint)[1])
    if get_origin(hint) is Literal:
        return _choice(value, get_args(hint))
    return _plain(_read(value, hint) if from_text else value, hint)


def _plain(value: Any, hint: Any) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    raise Unfit(f"expected {wanted[hint]}, found {value!r}")


def _read(value: str, hint: Any) -> Any:
    """A text as the value it stands for; the text itself where it stands for none."""
    if hint is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(value.lower(), value)
    if hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            return value
    return value


def _texts(value: Any, *, from_text: bool) -> Iterator[str]:
    if from_text:
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise Unfit(f"expected a list of texts, found {value!r}")
    yield from value


def _choice(value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise Unfit(f"expected one of {', '.join(known)}, found {value!r}")
    return value


def _table(value: Any, hint: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unfit("expected a table of names and values")
    return {name: Path(_as_text(entry)) if hint is Path else _as_text(entry) for name, entry in _flat(value)}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Entries with dotted names: TOML reads an unquoted sasl.password as a table in a table."""
    for name, entry in table.items():
        if isinstance(entry, Mapping):
            yield from _flat(entry, f"{prefix}{name}.")
        else:
            yield prefix + name, entry


def _as_text(value: Any) -> str:
    """A property's value as the Kafka client wants it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float | Path):
        return str(value)
    raise Unfit("expected texts, numbers, true or false as the values of its table")


def _told(problem: str, earlier: list[str]) -> bool:
    """Whether the key that a problem begins with has been complained about already."""
    key = problem.split()[0].rstrip(":")
    return any(line.split()[0].rstrip(":") == key for line in earlier)

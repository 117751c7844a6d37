"""Models on disk: a folder a version, one line that says which is current, and a log of every change.

    models/current                  one line, "name/version"
    models/log.jsonl                who promoted what, when and why
    models/<name>/<version>/...     see `model`

Version folders are never changed. Promotion and rollback move only the line, by a rename, so that a reader sees the old
or the new one and nothing between.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realbogus.errors import ModelError
from realbogus.manifest import NAME
from realbogus.model import Model, load_model


@dataclass(frozen=True)
class Registry:
    """The models in a folder, as in `resources.shipped("models")`."""

    folder: Path

    def names(self) -> list[str]:
        """Every model there is, as "name/version", sorted. Not whether it is sound: `verify` tells."""
        found = (path.parent for path in self.folder.glob("*/*/manifest.json"))
        return sorted(f"{path.parent.name}/{path.name}" for path in found)

    def current(self) -> str:
        """The promoted model, as "name/version". Raises ModelError where none was promoted."""
        try:
            line = (self.folder / "current").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ModelError(f"no model is promoted in {self.folder}: {error.strerror}") from error
        self.path(line)
        return line

    def stamp(self) -> tuple[int, ...]:
        """Changes with every promotion and rollback, and costs one look at a file; () where no model is promoted."""
        try:
            about = (self.folder / "current").stat()
        except OSError:
            return ()
        return about.st_mtime_ns, about.st_ino, about.st_size

    def path(self, spec: str) -> Path:
        """The folder of "name/version", whether it exists or not. Raises ModelError for anything else."""
        parts = spec.split("/")
        if len(parts) != 2 or not all(NAME.fullmatch(part) for part in parts):
            raise ModelError(f"{spec!r} is not the name of a model; expected name/version, as in palomar/1.0")
        return self.folder / parts[0] / parts[1]

    def find(self, spec: str) -> Path:
        """The folder of a model that there is. Raises ModelError, which names those that there are."""
        folder = self.path(spec)
        if not folder.is_dir():
            raise ModelError(
                f"there is no model {spec} in {self.folder}; there are: {', '.join(self.names()) or 'none'}"
            )
        return folder

    def load(self, spec: str | None = None) -> Model:
        """A model, by default the promoted one, with all checks of `load_model`."""
        wanted = self.current() if spec is None else spec
        folder = self.find(wanted)
        model = load_model(folder)
        if (found := f"{model.id.name}/{model.id.version}") != wanted:
            raise ModelError(f"{folder} says that it is {found}")
        return model

    def verify(self, spec: str) -> Model:
        """Load with all checks, to see whether it could serve."""
        return self.load(spec)

    def check_new(self, spec: str) -> Path:
        """The folder that a new model will have. Raises ModelError where there is one already."""
        folder = self.path(spec)
        if folder.exists():
            raise ModelError(f"{folder} exists; versions are never overwritten, give the next a new number")
        return folder

    def add(self, spec: str, files: Mapping[str, bytes]) -> Path:
        """Put the files of a new model where it belongs, all at once. A version that exists is never overwritten."""
        folder = self.check_new(spec)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as draft:
            for name, raw in files.items():
                _write_through(Path(draft, "files", name), raw)
            Path(draft, "files").rename(folder)
        return folder

    def promote(self, spec: str, *, who: str, when: str, why: str = "") -> str:
        """Make a model current, after verifying it. Gives the one that was current, "" if none."""
        self.verify(spec)
        return self._move(spec, {"action": "promote", "who": who, "when": when, "why": why})

    def rollback(self, *, who: str, when: str, why: str = "") -> str:
        """Go back to the model that was current before. Gives its name."""
        history = self._history()
        if len(history) < 2:
            raise ModelError(f"the log of {self.folder} knows no model before {self.current()}")
        self.verify(history[-2])
        self._move(history[-2], {"action": "rollback", "who": who, "when": when, "why": why})
        return history[-2]

    def log(self) -> list[dict[str, Any]]:
        """Every promotion and rollback, oldest first."""
        try:
            text = (self.folder / "log.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise ModelError(f"{self.folder / 'log.jsonl'} is damaged: {error}") from error

    def _history(self) -> list[str]:
        """The way here: what was current, oldest first, without what was rolled back."""
        way: list[str] = []
        for entry in self.log():
            if entry["action"] == "rollback":
                del way[-1:]
            elif not way:
                way += [name for name in (entry["from"], entry["to"]) if name]
            else:
                way.append(entry["to"])
        return way

    def _move(self, spec: str, entry: Mapping[str, str]) -> str:
        before = self.current() if (self.folder / "current").exists() else ""
        line = json.dumps({**entry, "from": before, "to": spec}, sort_keys=True, ensure_ascii=False)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(line + "\n")
            log.flush()
            os.fsync(log.fileno())
        draft = self.folder / f".current-{os.getpid()}"
        _write_through(draft, f"{spec}\n".encode())
        os.replace(draft, self.folder / "current")
        return before


def _write_through(path: Path, raw: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())

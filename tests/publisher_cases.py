"""`realbogus publish` with a folder and an outbox of its own: for its tests and for scripts that measure or kill it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

KAFKA = [sys.executable, str(Path(__file__).resolve().parent.parent / "scripts" / "kafka")]


@dataclass(frozen=True)
class Publishing:
    """A publisher that can be started again and again."""

    folder: Path
    bootstrap: str
    outbox: str
    settings: Mapping[str, object] = field(default_factory=dict)  # of [publish], beside those below
    consumer: Mapping[str, int] = field(default_factory=dict)  # of [kafka.consumer]

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    @property
    def config(self) -> Path:
        """worker.toml, written anew."""
        publish = {
            "outbox": self.outbox,
            "group_id": f"publisher-of-{self.outbox}",
            "archive": str(self.folder / "events"),
            "ledger": str(self.ledger),
            "catalogue": str(self.folder / "catalogue.sqlite"),
            **self.settings,
        }
        sections = {
            "kafka": {"bootstrap": self.bootstrap},
            "kafka.consumer": self.consumer,
            "voevent": {"authority": "org.example.survey"},
            "publish": publish,
        }
        file = self.folder / "worker.toml"
        file.write_text("".join(_section(name, values) for name, values in sections.items()))
        return file

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """A process of its own; its counts are read from its stdout, all else is in the log."""
        command = [sys.executable, "-m", "realbogus", "publish", "--config", str(self.config), *more]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "NO_COLOR": "1"}, cwd=self.folder
            )

    def archived(self) -> list[bytes]:
        """What lies in the archive."""
        return [file.read_bytes() for file in (self.folder / "events").rglob("*.xml")]


def _section(name: str, values: Mapping[str, object]) -> str:
    lines = [f'"{key}" = {json.dumps(value)}\n' for key, value in values.items()]  # such JSON is TOML, too
    return f"[{name}]\n{''.join(lines)}"


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The address of an Apache Kafka of a script's own."""
    folder.mkdir(exist_ok=True)
    started = subprocess.run([*KAFKA, "start", "--dir", str(folder)], check=True, stdout=subprocess.PIPE, text=True)
    try:
        yield started.stdout.strip()
    finally:
        subprocess.run([*KAFKA, "stop", "--dir", str(folder)], check=True, stdout=subprocess.DEVNULL)

"""How long until the first score: with nothing compiled yet, and with everything on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST_SCORE = """
import sys
from pathlib import Path
from realbogus import features
from realbogus.model import load_model
from realbogus.scoring import Scorer
model = load_model(Path(sys.argv[1]))
features.warm_up()
model.warm_up()
scored = Scorer(models={"ztf": model}).outcomes([Path(sys.argv[2]).read_bytes()])
assert scored.counts()["scored"] == 1, scored
"""


def starts(model: Path, message: bytes, folder: Path) -> tuple[float, float]:
    """Seconds from the start of Python to the first score: cold (an empty cache of compiled code), then warm."""
    packet = folder / "first.avro"
    packet.write_bytes(message)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        env = os.environ | {"NUMBA_CACHE_DIR": cache}
        cold = seconds([str(model), str(packet)], env)
        return cold, min(seconds([str(model), str(packet)], env) for _ in range(3))


def seconds(arguments: list[str], env: dict[str, str]) -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", FIRST_SCORE, *arguments], env=env, check=True)
    return time.monotonic() - begun

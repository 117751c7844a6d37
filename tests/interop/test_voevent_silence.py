"""A Comet subscriber and pygcn stay with our broadcaster through 150 s of silence and receive what follows.

Both give up a line on which nothing comes: Comet after 120 s, pygcn after 150 s. Ours shows life every 60 s. The
silence lasts while the other tests run (see conftest.py); only what is left of it is waited for.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from comet_cases import comet, until
from voevent_cases import STYLE, scored

from realbogus.publish.vtp_broadcaster import ALIVE_S, VtpBroadcaster
from realbogus.voevent import build

pytestmark = pytest.mark.interop

SILENCE_S = 150.0
EVENTS = [build(scored(candid=700 + number, object_id=f"ZTF7{number}"), 0, STYLE) for number in range(3)]
PYGCN = """
import sys, gcn
def handler(payload, root): print(root.attrib["ivorn"], flush=True)
gcn.listen(host="127.0.0.1", port=int(sys.argv[1]), handler=handler)
"""


@dataclass(frozen=True)
class Silence:
    """A broadcaster with two subscribers, and when they were all there."""

    server: VtpBroadcaster
    kept: Path
    comet_log: Path
    gcn_out: Path
    gcn_log: Path
    since: float


@pytest.fixture(scope="session")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silence]:
    pytest.importorskip("comet", reason="needs Comet")
    pytest.importorskip("gcn", reason="needs pygcn")
    folder = tmp_path_factory.mktemp("silence")
    kept, gcn_out, gcn_log = folder / "kept", folder / "gcn.out", folder / "gcn.log"
    kept.mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(
            closing(VtpBroadcaster("127.0.0.1", 0, ivorn="ivo://org.example.survey/realbogus"))
        )
        options = [f"--remote=127.0.0.1:{server.port}", "--save-event", f"--save-event-directory={kept}"]
        comet_log = stack.enter_context(comet(folder, "subscriber", options))
        out, err = stack.enter_context(gcn_out.open("wb")), stack.enter_context(gcn_log.open("wb"))
        command = [sys.executable, "-W", "ignore", "-c", PYGCN, str(server.port)]
        pygcn = subprocess.Popen(command, stdout=out, stderr=err)
        stack.callback(pygcn.wait)
        stack.callback(pygcn.kill)
        until(lambda: server.connected == 2, "Comet and pygcn did not connect")
        yield Silence(server, kept, comet_log, gcn_out, gcn_log, time.monotonic())


def test_silence_begins(silence):
    assert silence.server.connected == 2
    assert silence.server.alive_s == ALIVE_S == 60.0  # as it is by default


def test_silence_ends(silence):
    time.sleep(max(0.0, silence.since + SILENCE_S - time.monotonic()))
    assert silence.server.connected == 2
    assert silence.comet_log.read_bytes().count(b"IAmAlive received") >= 2
    silence.server.send(EVENTS)
    wanted = {hashlib.sha256(event.xml).hexdigest() for event in EVENTS}
    until(
        lambda: {hashlib.sha256(file.read_bytes()).hexdigest() for file in silence.kept.iterdir()} == wanted,
        "the events did not reach Comet",
    )
    names = [event.ivorn for event in EVENTS]
    until(lambda: silence.gcn_out.read_text().splitlines() == names, "the events did not reach pygcn, each once")
    for log in (silence.comet_log, silence.gcn_log):
        assert not [word for word in ("reconnect", "Reconnect", "timed out", "Traceback") if word in log.read_text()]

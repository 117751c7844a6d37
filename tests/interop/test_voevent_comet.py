"""Comet 3.1.0 takes our events from an author, relays them byte for byte, and its subscriber filters by score."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from comet_cases import accepts, comet, free_port, until
from voevent_cases import STYLE, scored

from realbogus.publish.sinks import SENT, Answer
from realbogus.publish.vtp_author import VtpAuthor
from realbogus.publish.vtp_broadcaster import VtpBroadcaster
from realbogus.voevent import build

pytestmark = pytest.mark.interop

LOW = [build(scored(3, candid=100, p_real=0.65), row, STYLE) for row in range(3)]
HIGH = [build(scored(3, candid=200, p_real=0.95), row, STYLE) for row in range(3)]
ODD = build(scored(candid=300, object_id="Ω <x>"), 0, STYLE)


def saved(folder: Path) -> set[str]:
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*")}


def test_comet_accepts_relays_and_filters_our_events(tmp_path):
    pytest.importorskip("comet", reason="needs Comet")
    author, broadcast, kept = free_port(), free_port(), tmp_path / "kept"
    kept.mkdir()
    loopback = "whitelist=127.0.0.0/8"
    broker = ["--receive", f"--receive-port={author}", f"--author-{loopback}", "--broadcast-test-interval=0"]
    broker += ["--broadcast", f"--broadcast-port={broadcast}", f"--subscriber-{loopback}"]
    subscriber = [f"--remote=127.0.0.1:{broadcast}", "--save-event", f"--save-event-directory={kept}"]
    subscriber += ["--filter=//Param[@name='rb_score' and number(@value) > 0.9]"]
    with comet(tmp_path, "broker", broker) as broker_log:
        until(lambda: accepts(author) and accepts(broadcast), "Comet did not start")
        with comet(tmp_path, "subscriber", subscriber):
            until(lambda: b"Installing filter" in broker_log.read_bytes(), "Comet's subscriber did not connect")
            ours = VtpAuthor("127.0.0.1", author)
            assert ours.send([*LOW, *HIGH, ODD]) == [SENT] * 7
            foreign = replace(HIGH[0], xml=HIGH[0].xml.replace(b"2.0", b"2.1"))
            assert ours.send([foreign])[0].answer is Answer.REFUSED
            assert ours.send([HIGH[0]]) == [SENT]  # Comet says "previously seen", which means that it has the event
            wanted = {hashlib.sha256(event.xml).hexdigest() for event in [*HIGH, ODD]}
            until(lambda: saved(kept) >= wanted, "the events did not reach the subscriber")
    assert saved(kept) == wanted


def test_a_comet_subscriber_lives_on_our_broadcaster(tmp_path):
    pytest.importorskip("comet", reason="needs Comet")
    kept = tmp_path / "kept"
    kept.mkdir()
    with closing(VtpBroadcaster("127.0.0.1", 0, ivorn="ivo://org.example.survey/realbogus", alive_s=0.3)) as ours:
        subscriber = [f"--remote=127.0.0.1:{ours.port}", "--save-event", f"--save-event-directory={kept}"]
        subscriber += ["--filter=//Param[@name='rb_score' and number(@value) > 0.9]"]
        with comet(tmp_path, "subscriber", subscriber) as log:
            until(lambda: log.read_bytes().count(b"IAmAlive received") >= 4, "Comet did not stay")
            ours.send([*LOW, *HIGH, ODD])
            wanted = {hashlib.sha256(event.xml).hexdigest() for event in [*HIGH, ODD]}
            until(lambda: saved(kept) >= wanted, "the events did not reach Comet")
            assert ours.connected == 1
    assert saved(kept) == wanted

"""Who gets the events beside topic and archive: a VOEvent broker, a subscriber."""

from __future__ import annotations

import random
import socketserver
import threading
from collections import Counter

from realbogus.publish import vtp
from realbogus.subscribing import vtp_client

UNANSWERED = 0.02  # share of submissions that the broker takes and does not answer


class Broker(socketserver.ThreadingTCPServer):
    """The author port of a VOEvent broker. Like Comet it knows repeats by their bytes; now and then it says nothing."""

    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Submission)
        self.got: Counter[bytes] = Counter()
        self.chance, self.turn = random.Random(seed), threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Submission(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        size = self.rfile.read(4)
        xml = self.rfile.read(int.from_bytes(size, "big"))
        if len(size) < 4 or len(xml) < int.from_bytes(size, "big"):
            return  # killed half way: no event
        with self.server.turn:
            seen = self.server.got[xml] > 0
            self.server.got[xml] += 1
            silent = self.server.chance.random() < UNANSWERED
        if not silent:
            role, why = ("nak", "Previously seen by this broker") if seen else ("ack", "")
            self.wfile.write(vtp.frame(vtp.write(role, "ivo://org.example/broker", 0, result=why)))


class Subscriber(threading.Thread):
    """Follows the publisher's broadcaster and comes back after each kill."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.got, self.stop = port, Counter[bytes](), threading.Event()

    def run(self) -> None:
        vtp_client.FIRST_WAIT_S = vtp_client.LONGEST_WAIT_S = 0.05
        for event in vtp_client.follow("127.0.0.1", self.port):
            if event:
                self.got[event] += 1
            if self.stop.is_set():
                return

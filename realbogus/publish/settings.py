"""PublishSettings: where events go and how hard the publisher tries. Section [publish] of a configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from realbogus.errors import ConfigError

_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_DATABASE = re.compile(r"postgres(ql)?://(?![^/]*:[^/@]*@)(?!.*password=)[^\s]+", re.IGNORECASE)  # without a password


@dataclass(frozen=True, kw_only=True)
class PublishSettings:
    """The sinks of the publisher, its ledger and its patience. Raises ConfigError with every problem at once."""

    outbox: str = "realbogus.voevent.outbox"  # Kafka topic that the worker fills with finished events
    group_id: str = "realbogus-publisher"  # consumer group under which the offsets of the outbox are kept
    ledger: Path = Path("voevents/ledger.sqlite")  # what was sent where; losing it means sending again
    ledger_database: str = ""  # keep the ledger in PostgreSQL instead: "postgresql://user@host/name"; "" = in the file
    archive: Path | None = Path("voevents")  # folder of the archive, a file an event; None = no archive
    topic: str = ""  # Kafka topic for the events as XML; "" = none
    vtp_author: str = ""  # VOEvent broker to hand events to, "host:port", usually port 8098; "" = none
    vtp_port: int = 0  # where subscribers of the VOEvent Transport Protocol connect, usually 8099; 0 = nowhere
    vtp_host: str = "127.0.0.1"  # address to listen on for them; the protocol has neither encryption nor passwords
    vtp_allow: tuple[str, ...] = ("127.0.0.0/8", "::1/128")  # networks that may connect
    http_port: int = 0  # where people and programs look at events and follow them, usually 8100; 0 = nowhere
    http_host: str = "127.0.0.1"  # address to listen on for them; put a web server with TLS before it for the world
    catalogue: Path = Path("voevents/catalogue.sqlite")  # what is served there; made anew from the archive if lost
    json_topic: str = ""  # Kafka topic for the events as JSON, as GCN describes alerts; "" = none
    batch: int = 200  # events taken from the outbox and entered together
    wait_s: float = 0.02  # s; longest an event waits for its batch to fill
    attempts: int = 20  # tries of one event at one sink before it is parked; with the waits below about 15 min
    retry_s: float = 1.0  # s; wait after the first failure, doubled after each further one ...
    retry_longest_s: float = 60.0  # s; ... up to this
    port: int = 0  # of the publisher's metrics and health, on http.host; 0 = no server
    delivery_s: float = 30.0  # s; longest that the Kafka client may try to deliver before it counts as a failure

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems)

    @property
    def vtp_address(self) -> tuple[str, int]:
        """Host and port of vtp_author."""
        host, _, port = self.vtp_author.rpartition(":")
        return host.strip("[]"), int(port)

    def _problems(self) -> Iterator[str]:
        places = ("topic", "json_topic", "vtp_author", "vtp_port", "http_port")
        if self.archive is None and not any(getattr(self, place) for place in places):
            yield f"publish.archive, {', '.join(places[:-1])} and {places[-1]} are all off: events would go nowhere"
        if self.vtp_author and not _HOST_PORT.fullmatch(self.vtp_author):
            yield f"publish.vtp_author is {self.vtp_author!r}; expected host:port, such as 'broker.example.org:8098'"
        if self.ledger_database and not _DATABASE.fullmatch(self.ledger_database):
            yield (
                "publish.ledger_database is not an address such as postgresql://user@host/name; a password has no "
                "place in it, but in PGPASSWORD or ~/.pgpass"
            )
        for name in ("outbox", "group_id"):
            if not getattr(self, name):
                yield f"publish.{name} is empty"
        for name in ("topic", "json_topic"):
            if getattr(self, name) == self.outbox:
                yield f"publish.{name} is the outbox {self.outbox!r} itself: the publisher would feed on its own events"
        for name in ("port", "vtp_port", "http_port"):
            if not 0 <= getattr(self, name) <= 65535:
                yield f"publish.{name} is {getattr(self, name)}; expected 0 to 65535"
        for network in self.vtp_allow:
            if not _is_network(network):
                yield f"publish.vtp_allow: {network!r} is no network; expected such as '192.0.2.0/24'"
        for name in ("batch", "attempts"):
            if getattr(self, name) < 1:
                yield f"publish.{name} is {getattr(self, name)}; expected at least 1"
        for name in ("wait_s", "retry_s", "retry_longest_s", "delivery_s"):
            if not getattr(self, name) > 0:
                yield f"publish.{name} is {getattr(self, name)}; expected more than 0 s"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True

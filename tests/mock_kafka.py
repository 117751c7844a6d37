"""The mock cluster inside librdkafka: a broker that answers with the errors that a test asks for."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

PRODUCE, OFFSET_FETCH, JOIN_GROUP, HEARTBEAT = 0, 9, 11, 12  # keys of the protocol
INIT_PRODUCER_ID, END_TXN, TXN_OFFSET_COMMIT = 22, 26, 28
COORDINATOR_NOT_AVAILABLE, ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING = 15, 22, 25, 27  # its errors
TOO_LARGE, ID_DENIED, FENCED = 10, 53, 90


class MockCluster:
    """One broker of librdkafka's own."""

    def __init__(self, library: ctypes.CDLL, cluster: int) -> None:
        self._library, self._cluster = library, ctypes.c_void_p(cluster)
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        self.bootstrap: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def topic(self, name: str) -> None:
        assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), 2, 1) == 0

    def answer(self, request: int, *errors: int) -> None:
        """Answer the next requests of a kind with these errors, one each."""
        self._library.rd_kafka_mock_push_request_errors(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), *map(ctypes.c_int, errors)
        )


@contextmanager
def running() -> Iterator[MockCluster]:
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*.so*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    text = ctypes.create_string_buffer(512)
    handle = ctypes.c_void_p(library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), text, 512))
    cluster = library.rd_kafka_mock_cluster_new(handle, 1)
    try:
        yield MockCluster(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(ctypes.c_void_p(cluster))
        library.rd_kafka_destroy(handle)

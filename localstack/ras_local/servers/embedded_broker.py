"""A Kafka-protocol broker in one small process: librdkafka's mock cluster, as confluent-kafka ships it.

`python -m ras_local.servers.embedded_broker BOOTSTRAP_FILE PARTITIONS TOPIC…` runs until it is terminated and writes its
address to the file once it answers. It listens on 127.0.0.1, on a port that the system picks.

What it is not: it keeps at most KEPT_BYTES per partition (older records go first) and forgets everything on exit, it
answers no offset look-ups by time and no group listings. Groups, commits, keys, headers, null values, compression
and idempotent producers work, for clients of any language.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from pathlib import Path

from confluent_kafka import cimpl
from ras.state_folder import write_private

_PRODUCER = 0  # rd_kafka_type_t

KEPT_BYTES = 5 * 1024 * 1024
"""What the mock keeps of a partition: a constant in rd_kafka_mock_partition_init, which no function or setting changes.
More partitions (RAS_PARTITIONS) are more room."""


class MockCluster:
    """The C interface of the mock cluster, which confluent-kafka does not wrap: only there can topics be made."""

    def __init__(self) -> None:
        library = ctypes.CDLL(cimpl.__file__)
        for name, result, arguments in (
            ("rd_kafka_conf_new", ctypes.c_void_p, []),
            (
                "rd_kafka_conf_set",
                ctypes.c_int,
                [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
            ),
            (
                "rd_kafka_new",
                ctypes.c_void_p,
                [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t],
            ),
            ("rd_kafka_handle_mock_cluster", ctypes.c_void_p, [ctypes.c_void_p]),
            ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, [ctypes.c_void_p]),
            (
                "rd_kafka_mock_topic_create",
                ctypes.c_int,
                [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int],
            ),
            (
                "rd_kafka_mock_group_initial_rebalance_delay_ms",
                None,
                [ctypes.c_void_p, ctypes.c_int32],
            ),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library
        problem = ctypes.create_string_buffer(512)
        configuration = library.rd_kafka_conf_new()
        # The level keeps the notice that a mock is in use out of the log.
        for key, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"4")):
            if library.rd_kafka_conf_set(configuration, key, value, problem, len(problem)) != 0:
                raise RuntimeError(problem.value.decode())
        handle = library.rd_kafka_new(_PRODUCER, configuration, problem, len(problem))
        if not handle:
            raise RuntimeError(problem.value.decode())
        self._cluster = library.rd_kafka_handle_mock_cluster(handle)
        # Its default is three seconds of waiting for more members before a group starts.
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    @property
    def bootstrap_servers(self) -> str:
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def create_topic(self, name: str, partitions: int) -> None:
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        if code != 0:
            raise RuntimeError(f"topic {name} could not be created: librdkafka error {code}")


def main(arguments: list[str]) -> None:
    bootstrap_file, partitions, *topics = arguments
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    cluster = MockCluster()
    for topic in topics:
        cluster.create_topic(topic, int(partitions))
    write_private(Path(bootstrap_file), cluster.bootstrap_servers)
    print(f"{len(topics)} topics of {partitions} partitions at {cluster.bootstrap_servers}", flush=True)
    stopped.wait()
    # No tidy destruction: nothing is kept, and it would wait for clients to leave.


if __name__ == "__main__":
    main(sys.argv[1:])

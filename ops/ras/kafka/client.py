"""What every Kafka client here has in common, and what is asked of any broker."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs forget it

from ras.errors import FailedError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# librdkafka reports every refused connection on standard error; what matters reaches us as exceptions.
_quiet = logging.getLogger("ras.librdkafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def quiet_client(
    bootstrap_servers: str,
    *,
    on_error: Callable[[KafkaError], None] = lambda _: None,
    **settings: Any,
) -> dict[str, Any]:
    """Settings of any Kafka client here: underscores in names stand for librdkafka's dots.

    `on_error` is told, while the client is polled, of errors that it tries to get over by itself.
    """
    return {
        "bootstrap.servers": bootstrap_servers,
        "logger": _quiet,
        "error_cb": on_error,
        "socket.timeout.ms": 10_000,
        # Its own default is ten seconds: a broker that was restarted would be away for longer than it was.
        "reconnect.backoff.max.ms": 1000,
        **{name.replace("_", "."): value for name, value in settings.items()},
    }


def wait_for_topics(bootstrap_servers: str, topics: Iterable[str], timeout_s: float = 10) -> None:
    """Raises OperatorError when the broker does not answer for `timeout_s`, or a topic is missing."""
    admin = AdminClient(quiet_client(bootstrap_servers))
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            known = admin.list_topics(timeout=timeout_s).topics
            break
        except KafkaException as error:
            # A connection that breaks fails at once, however long the client may take.
            if time.monotonic() > deadline:
                raise unreachable(bootstrap_servers, error) from error
        time.sleep(0.1)
    missing = sorted(set(topics) - set(known))
    if missing:
        raise NotFoundError(f"the broker at {bootstrap_servers} has no topic {', '.join(missing)}")


def unreachable(bootstrap_servers: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"no broker answers at {bootstrap_servers}: {error}",
        "On this machine see `.venv/bin/ras status`, or start one with `make up`; MSK's answer inside their VPC.",
    )


def create_topics(bootstrap_servers: str, topics: Sequence[str], partitions: int) -> None:
    """Create the topics that are not there yet. Raises OperatorError when the broker refuses one."""
    if not topics:
        return
    admin = AdminClient(quiet_client(bootstrap_servers))
    wanted = [NewTopic(name, num_partitions=partitions, replication_factor=1) for name in topics]
    for name, future in admin.create_topics(wanted, request_timeout=30).items():
        try:
            future.result()
        except KafkaException as error:
            problem: KafkaError = error.args[0]
            if problem.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise FailedError(f"topic {name} could not be created: {problem.str()}") from error

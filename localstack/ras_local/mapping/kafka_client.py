"""Settings that every Kafka client here has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import KafkaError

# librdkafka reports every refused connection on standard error; what matters arrives as exceptions and in `on_error`.
_quiet = logging.getLogger(f"{__package__}.librdkafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def client_settings(
    bootstrap_servers: str,
    options: Mapping[str, str],
    *,
    on_error: Callable[[KafkaError], None] = lambda _: None,
    **settings: Any,
) -> dict[str, Any]:
    """Settings of a client, for the constructors of confluent_kafka.

    `options` are the user's, in librdkafka's names (`security.protocol`, …), and win over the others; underscores in
    the names of `settings` stand for librdkafka's dots. `on_error` is called, while the client is polled, with errors
    that it tries to get over by itself.
    """
    return {
        "bootstrap.servers": bootstrap_servers,
        "logger": _quiet,
        "error_cb": on_error,
        "socket.timeout.ms": 10_000,
        # Its own default is ten seconds: a broker that was restarted would be away for longer than it was.
        "reconnect.backoff.max.ms": 1000,
        **{name.replace("_", "."): value for name, value in settings.items()},
        **options,
    }

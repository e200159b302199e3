"""Why brokers do not let a client in, or do what it asks: told as what is missing, by its name in IAM.

librdkafka tries again for ever where it is not let in, and its calls end as mere timeouts; the reason comes only
through its `error_cb`. Rights are named as MSK has them
(https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html); brokers with ACLs of their own have the
same ones under the names that stand there.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from ras.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]  # its stubs forget it

# So long is waited before looking for a refusal, and twice as long each time after: a busy broker may need more.
_FIRST_S = 1.0
_AGAIN = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}

# As MSK refuses more connections at a time than it takes; librdkafka comes again.
_LATER = "Too many connects"

_ON_TOPIC = {KafkaError.TOPIC_AUTHORIZATION_FAILED}
_ON_GROUP = {KafkaError.GROUP_AUTHORIZATION_FAILED}
_ON_CLUSTER = {KafkaError.CLUSTER_AUTHORIZATION_FAILED}


class Door:
    """Keeps what a client is told while it tries to get in; give it as its `on_error`."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._brokers = bootstrap_servers
        self._closed: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL) and _LATER not in error.str():
            self._closed = error

    def check(self) -> None:
        """Raises OperatorError where the brokers have not let the client in."""
        if self._closed is None:
            return
        if self._closed.code() == KafkaError._SSL:
            raise RefusedError(
                f"no TLS with the brokers at {self._brokers}: {self._closed.str()}",
                "Their certificate is checked against this machine's CA store, or the file that SSL_CERT_FILE names.",
            )
        raise RefusedError(
            f"the brokers at {self._brokers} let nobody in with these credentials: {self._closed.str()}",
            "Are they valid still, of the cluster's account, and is this clock right? They need kafka-cluster:Connect"
            " on the cluster.",
        )

    def metadata(self, client: Any, topic: str | None = None, *, timeout_s: float) -> ClusterMetadata:
        """What the brokers tell of a topic, or of all. Raises as `check`, and KafkaException when none answers."""
        deadline = time.monotonic() + timeout_s
        wait_s = _FIRST_S
        while True:
            left_s = max(0.0, deadline - time.monotonic())  # a negative timeout is none
            try:
                found: ClusterMetadata = client.list_topics(topic, timeout=min(wait_s, left_s))
            except KafkaException as error:
                client.poll(0)  # only there is `error_cb` called
                self.check()
                if error.args[0].code() not in _AGAIN or time.monotonic() >= deadline:
                    raise
                wait_s *= 2
            else:
                # Whatever was told on the way in, it is open.
                self._closed = None
                return found


@contextmanager
def needing(*, topic: str = "", group: str = "", cluster: str = "") -> Iterator[None]:
    """Tell which right is missing where the brokers refuse what is asked inside: each as "action on what"."""
    try:
        yield
    except KafkaException as error:
        refused: KafkaError = error.args[0]
        if right := lacking(refused, topic=topic, group=group, cluster=cluster):
            raise right from error
        raise


def lacking(
    refused: KafkaError, *, topic: str = "", group: str = "", cluster: str = ""
) -> RefusedError | None:
    """The right that is missing, by what the brokers answered; None where they lack something else."""
    for codes, right in ((_ON_TOPIC, topic), (_ON_GROUP, group), (_ON_CLUSTER, cluster)):
        if refused.code() in codes and right:
            return RefusedError(
                f"Kafka: {refused.str()}: these credentials lack kafka-cluster:{right}",
                "Add it to the policy of their role; --help of this command lists all that it needs.",
            )
    return None

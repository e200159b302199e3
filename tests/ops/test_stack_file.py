"""Waiting until a running stack has consumed everything: it ends, and says what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from ras import stack_file
from ras.errors import OperatorError
from ras.kafka.client import create_topics, quiet_client
from ras.kafka.publish import Event, publish
from ras.stack_file import Stack

from tests.ops.test_lag import commit
from tests.real_servers import KAFKA, running_broker, server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=["embedded", server(KAFKA)])
def bootstrap_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with running_broker(request.param, tmp_path_factory.mktemp("broker"), ["waited"], 2) as servers:
        yield servers


@pytest.fixture
def stack(bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr(stack_file, "consumer_groups", lambda _: {"waited": "g", "dropped": "g"})
    return Stack("eu-north-1", "", bootstrap_servers, "", "", "", {}, "")


def test_a_wait_ends_and_says_where_how_much_is_missing(stack: Stack) -> None:
    publish(stack.bootstrap_servers, [Event("waited", b"x", partition=1)] * 3)

    with pytest.raises(
        OperatorError, match=r"^not consumed within 0\.5 s: waited partition 1 by 3 \(offsets 0 to 2\)$"
    ):
        stack_file.wait_consumed(stack, timeout_s=0.5)


@pytest.mark.parametrize("bootstrap_servers", [server(KAFKA)], indirect=True)
def test_a_wait_says_what_was_dropped_unread(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_file, "consumer_groups", lambda _: {"dropped": "g"})
    create_topics(stack.bootstrap_servers, ["dropped"], 2)
    publish(stack.bootstrap_servers, [Event("dropped", b"x", partition=0)] * 3)
    commit(stack.bootstrap_servers, "g", {"dropped": 1})
    admin = AdminClient(quiet_client(stack.bootstrap_servers))
    for future in admin.delete_records([TopicPartition("dropped", 0, 3)]).values():
        future.result()

    with pytest.raises(OperatorError, match="dropped records before they were read: 2 of dropped"):
        stack_file.wait_consumed(stack, timeout_s=30)

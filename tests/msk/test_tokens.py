"""IAM authentication itself: which tokens the brokers take, how a refusal is told, and a client that outlives its token."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from confluent_kafka.admin import AdminClient
from ras.deployment import choose
from ras.errors import OperatorError
from ras.kafka.client import quiet_client
from ras.kafka.errors import Door
from ras.kafka.msk_iam import Brokers, msk_iam
from ras.kafka.publish import Event, publish
from ras.kafka.topic import TopicLog

from tests.msk.cluster import Right
from tests.msk.conftest import REGISTERED, SPELLCHECK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.msk.conftest import Operator

pytestmark = pytest.mark.integration

REPLAY = ("replay", "--topic", REGISTERED, "--from", "beginning", "--dry-run")


def refusal(operator: Operator, token: Callable[[], str]) -> str:
    """Why the brokers do not take a token; empty where they do."""
    door = Door(operator.stage.msk.bootstrap_servers)
    settings = {
        **msk_iam(operator.stage.cloud.region, None),
        "oauth_cb": lambda _: (token(), time.time() + 900),
    }
    client = AdminClient({**quiet_client(operator.stage.msk.bootstrap_servers, on_error=door), **settings})
    try:
        door.metadata(client, timeout_s=60)
    except OperatorError as error:
        return error.message
    return ""


def test_only_the_signers_token_is_taken(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is: for this host, action, region and time, by a key that is known, and unchanged since."""
    region = operator.stage.cloud.region
    operator.may([])

    def signed(region: str = region) -> str:
        token: str = MSKAuthTokenProvider.generate_auth_token(region)[0]
        return token

    def changed(old: str, new: str) -> str:
        url = urlsafe_b64decode(signed() + "==").decode()
        assert old in url
        return urlsafe_b64encode(url.replace(old, new).encode()).decode().rstrip("=")

    with monkeypatch.context() as otherwise:
        otherwise.setattr(MSKAuthTokenProvider, "DEFAULT_TOKEN_EXPIRY_SECONDS", 901)
        too_long = signed()
        otherwise.setattr(MSKAuthTokenProvider, "DEFAULT_TOKEN_EXPIRY_SECONDS", 0)
        expired = signed()
        otherwise.setattr(MSKAuthTokenProvider, "DEFAULT_TOKEN_EXPIRY_SECONDS", 900)
        otherwise.setenv("AWS_SECRET_ACCESS_KEY", "another")
        forged = signed()
        otherwise.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
        unknown = signed()
    with monkeypatch.context() as otherwise:
        otherwise.delenv("AWS_SESSION_TOKEN")
        no_session = signed()
    tokens = {
        "": signed(),
        "not a token": urlsafe_b64encode(b"no address").decode().rstrip("="),
        "not for kafka.": changed(f"kafka.{region}", "kafka.example"),
        "not for kafka-cluster:Connect": changed("%3AConnect", "%3AAlterCluster"),
        "not the signature": changed("X-Amz-Expires=900", "X-Amz-Expires=899"),
        "not the signature ": forged,
        "unknown access key": unknown,
        "not the session": no_session,
        "not for kafka. ": signed("us-west-1"),
        "longer than 900 s": too_long,
        "expired": expired,
    }
    with ThreadPoolExecutor(len(tokens)) as pool:
        told = dict(
            zip(tokens, pool.map(lambda one: refusal(operator, lambda: one), tokens.values()), strict=True)
        )

    assert told.pop("") == ""
    assert [why for why, message in told.items() if f"Access denied: {why.strip()}" not in message] == []


@pytest.mark.parametrize("via", ["group", "function"])
def test_a_role_that_may_not_connect_is_told_so(operator: Operator, via: str) -> None:
    """At once, by the right that it lacks."""
    operator.may([], connect=False)

    told = operator.ras(*REPLAY, "--via", via, code=1)

    assert "Access denied: no right to kafka-cluster:Connect" in told
    assert "They need kafka-cluster:Connect on the cluster." in told


def test_a_publisher_that_may_not_connect_is_told_so(operator: Operator) -> None:
    """As well."""
    operator.may([], connect=False)
    brokers = choose("dev").brokers()

    with pytest.raises(OperatorError, match="no right to kafka-cluster:Connect"):
        publish(brokers.bootstrap_servers, [Event(SPELLCHECK, b"{}")], settings=brokers.settings)


def test_brokers_that_nobody_vouches_for_get_no_token(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the file that names their CA it is this machine's store that counts."""
    operator.may([])
    monkeypatch.delenv("SSL_CERT_FILE")

    told = operator.ras(*REPLAY, code=1)

    assert "certificate verify failed" in told
    assert "SSL_CERT_FILE" in told


@dataclass(frozen=True)
class Statistics:
    """What a client tells of a broker that it has fetched from (librdkafka's STATISTICS.md), by a moment."""

    at: float
    fetches: int
    connects: int
    disconnects: int
    sign_ins: int

    @classmethod
    def of(cls, text: str) -> Iterator[Statistics]:
        told = json.loads(text)
        for broker in told["brokers"].values():
            sent = broker["req"]
            if fetches := sent.get("Fetch", 0):
                connects, disconnects = broker["connects"], broker["disconnects"]
                yield cls(told["time"], fetches, connects, disconnects, sent["SaslHandshake"])


def test_a_read_outlives_its_token(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The brokers end a connection with its token; by then the client has signed in anew, over the same connection."""
    operator.may(
        [
            Right("DescribeTopic", SPELLCHECK),
            Right("ReadData", SPELLCHECK),
            Right("DescribeGroup", "ras-replay-*"),
        ]
    )
    # In small batches, of which a fetch brings at least one: nearly all are fetched once the first token has expired.
    many, batch = 5000, 100
    event = Event(SPELLCHECK, b" " * 100, partition=0)
    publish(operator.stage.msk.unguarded, repeat(event, many), settings={"batch.num.messages": batch})
    end = TopicLog(Brokers(operator.stage.msk.unguarded), SPELLCHECK).bounds()[0].high
    # So long may a slow machine take to connect: a token that comes later has expired.
    monkeypatch.setattr(MSKAuthTokenProvider, "DEFAULT_TOKEN_EXPIRY_SECONDS", 15)
    brokers = choose("dev").brokers()
    token = brokers.settings["oauth_cb"]
    expiries: list[float] = []
    told: list[Statistics] = []

    def counted(given: str) -> tuple[str, float]:
        answer: tuple[str, float] = token(given)
        expiries.append(answer[1])
        return answer

    brokers.settings.update(
        {
            "oauth_cb": counted,
            "queued.min.messages": 1,
            "fetch.message.max.bytes": 1000,
            "fetch.queue.backoff.ms": 10,
            "statistics.interval.ms": 100,
            "stats_cb": lambda text: told.extend(Statistics.of(text)),
        }
    )

    reading = TopicLog(brokers, SPELLCHECK).read({0: end - many}, {0: end})
    next(reading)
    while time.time() < expiries[0] + 3:  # it is said to end a little early
        time.sleep(0.1)
    rest = 0
    for _ in reading:
        rest += 1
        if rest % 500 == 0:
            time.sleep(0.3)  # statistics come between two looks for records
    before = max(one.fetches for one in told if one.at < expiries[0])
    later = [one for one in told if one.fetches > before]

    assert rest == many - 1
    assert any(one.sign_ins > one.connects and one.disconnects == 0 for one in later)

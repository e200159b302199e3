"""Apache Kafka itself: one node in KRaft mode that is broker and controller, in the state folder of a stack.

Its ports and its data stay the same from one start to the next, so it can be stopped, killed and started again
under clients that are connected to it. Everything listens on 127.0.0.1 only.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras.errors import ConflictError, FailedError, SettingError
from ras.kafka.client import create_topics, wait_for_topics
from ras.kafka.lag import progress
from ras.state_folder import write_private

from ras_local.servers import fetched, java_servers, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ras_local.settings import StackDir

SERVER = "kafka"
HEAP_MB = 512

GRACE_S = 30.0
"""A node with a thousand partitions open takes some seconds to put them away."""

_START_S = 120.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{guarded}
advertised.listeners=CLIENTS://127.0.0.1:{port}{guarded}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_SSL
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs={data}

# Topics are made on purpose, as on MSK.
auto.create.topics.enable=false
# What MSK Serverless takes; Kafka's own default is 1 MiB.
message.max.bytes=8388608
# Nothing goes by itself: tests publish records with timestamps of long ago.
log.retention.ms=-1

# One node holds everything once.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

# A group starts with its first member instead of waiting three seconds for more.
group.initial.rebalance.delay.ms=0
# For so long the controller takes a killed broker for alive and lets no other in under its id: by default 9 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

num.network.threads=2
num.io.threads=4
background.threads=2
"""


@dataclass(frozen=True)
class SecuredListener:
    """A second listener, GUARDED, that asks who comes: SASL over TLS, at a port of 127.0.0.1.

    `properties` are lines of the broker's, such as how it authenticates; `classes` a folder with what they name.
    """

    port: int
    properties: str
    classes: Path


def start(
    state: StackDir, topics: Sequence[str], partitions: int, guard: SecuredListener | None = None
) -> Callable[[], str]:
    """Start a new, empty broker on RAS_KAFKA_PORT, or any free port; the answer waits for it and makes the topics.

    Raises OperatorError when Java or its jars are missing, or the wished port is taken.
    """
    _refuse_running(state)
    remove(state)
    state.kafka.mkdir(parents=True)
    port = processes.choose_steady_port("RAS_KAFKA_PORT")
    controller = processes.choose_steady_port("RAS_KAFKA_CONTROLLER_PORT", other_than=port)
    guarded = f",GUARDED://127.0.0.1:{guard.port}" if guard else ""
    properties = _PROPERTIES.format(port=port, controller=controller, guarded=guarded, data=_data(state))
    if guard:
        properties += guard.properties
        shutil.copytree(guard.classes, _classes(state))
    write_private(_properties(state), properties)
    write_private(_address(state), f"127.0.0.1:{port}")
    _format(state)
    answers = restart(state)

    def wait() -> str:
        bootstrap_servers = answers()
        create_topics(bootstrap_servers, topics, partitions)
        # Made is not ready: every partition has to have its leader, and the groups the topic of their commits.
        progress(bootstrap_servers, dict.fromkeys(topics, "ras-nobody"), timeout_s=_START_S)
        return bootstrap_servers

    return wait


def restart(state: StackDir) -> Callable[[], str]:
    """Start the broker of this folder again, with its data and on its port; the answer waits for it.

    Raises OperatorError when there never was one, or it still runs.
    """
    if not _properties(state).exists():
        raise SettingError(
            f"there is no Apache Kafka in {state.root}", "Start it with `RAS_BROKER=kafka make up`."
        )
    _refuse_running(state)
    processes.start(
        state, processes.BROKER, _command("kafka.Kafka", state), environment=os.environ, folder=state.kafka
    )
    bootstrap_servers = _address(state).read_text(encoding="utf-8")

    def wait() -> str:
        port = int(bootstrap_servers.rpartition(":")[2])
        # Kafka opens its port last. Asking a client would take longer: it backs off after each refusal.
        processes.wait_until(
            "Apache Kafka",
            lambda: _listens(port),
            timeout_s=_START_S,
            state=state,
            process=processes.BROKER,
        )
        # Open is not serving yet: on a busy machine its first answers take as long as its start did.
        wait_for_topics(bootstrap_servers, [], timeout_s=_START_S)
        return bootstrap_servers

    return wait


def stop(state: StackDir) -> None:
    """Stop the broker in its own way: it puts its logs away, so the next start has nothing to recover."""
    for record in processes.recorded(state):
        if record.name == processes.BROKER:
            processes.stop(state, record, grace_s=GRACE_S)


def kill(state: StackDir) -> None:
    """Kill the broker as a crash would (SIGKILL). Returns when it is gone."""
    for record in processes.recorded(state):
        if record.name == processes.BROKER:
            processes.kill(state, record)


def remove(state: StackDir) -> None:
    """Forget the data of a broker that is stopped."""
    shutil.rmtree(state.kafka, ignore_errors=True)


def _refuse_running(state: StackDir) -> None:
    if processes.running(state, processes.BROKER) is not None:
        raise ConflictError("the broker still runs", "Stop or kill it first.")


def _format(state: StackDir) -> None:
    # Any 16 bytes in base64, new ones for a new log: what is noted about a cluster's offsets goes by this id. The first
    # letter is no dash, which would be an option.
    cluster_id = urlsafe_b64encode(b"ras" + secrets.token_bytes(13)).decode().rstrip("=")
    arguments = ["format", "--cluster-id", cluster_id, "--config", str(_properties(state))]
    command = java_servers.command(
        SERVER,
        "kafka.tools.StorageTool",
        arguments,
        heap_mb=HEAP_MB,
        options=_logging(),
        classes=[_classes(state)],
    )
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise FailedError(
            "Apache Kafka's storage could not be formatted", f"{done.stdout}{done.stderr}".strip()
        )


def _command(main: str, state: StackDir) -> list[str]:
    options = [*_logging(), f"-Djava.io.tmpdir={state.kafka}"]
    arguments = [str(_properties(state))]
    return java_servers.command(
        SERVER, main, arguments, heap_mb=HEAP_MB, options=options, classes=[_classes(state)]
    )


def _logging() -> list[str]:
    return [f"-Dlog4j2.configurationFile={fetched.PINS / SERVER / 'log4j2.properties'}"]


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _data(state: StackDir) -> Path:
    return state.kafka / "data"


def _properties(state: StackDir) -> Path:
    return state.kafka / "server.properties"


def _classes(state: StackDir) -> Path:
    return state.kafka / "classes"


def _address(state: StackDir) -> Path:
    return state.kafka / "bootstrap"

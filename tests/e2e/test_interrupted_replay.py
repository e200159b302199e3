"""Replays that are ended by signals while they have a mapping disabled: real processes, on the deployed stack."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from ras import stack_file
from ras.deployment import choose
from ras.kafka.publish import Event, publish
from ras_local.capabilities import Lack

from tests.ops.made import SPELLCHECK
from tests.tiers import long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ras.deployment import Deployment
    from ras.stack_file import Stack
    from ras_local.settings import StackDir

pytestmark = [pytest.mark.e2e, pytest.mark.needs(Lack.MSK)]

COMMAND = [sys.executable, "-c", "from ras.cli import main; main()"]
REWIND = ["replay", "--topic", SPELLCHECK, "--from", "beginning", "--yes"]
PATIENCE_S = 120.0


@pytest.fixture
def deployment(running: Stack, state: StackDir) -> Iterator[Deployment]:
    """The running stack with something to rewind; its mapping is enabled at the end, whatever a test left."""
    publish(running.bootstrap_servers, [Event(SPELLCHECK, None, b"key") for _ in range(3)])
    stack_file.wait_consumed(running)
    found = choose(state=state)
    yield found
    for mapping in found.mappings():
        found.cloud.functions.update_event_source_mapping(UUID=mapping.uuid, Enabled=True)
    until(lambda: all(mapping.enabled for mapping in found.mappings()))


def until(fact: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_enabled(deployment: Deployment) -> bool:
    [mapping] = [one for one in deployment.mappings() if one.topic == SPELLCHECK]
    return mapping.enabled


def environment(state: StackDir) -> dict[str, str]:
    return {**os.environ, "RAS_STATE_DIR": str(state.root), "COLUMNS": "200"}


def ras(state: StackDir, *arguments: str, code: int = 0) -> str:
    """What a command says, on both outputs."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(state),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == code, done.stdout
    return " ".join(done.stdout.split())


def killed(state: StackDir, deployment: Deployment) -> None:
    """A rewind that is killed while the mapping is disabled."""
    process = subprocess.Popen([*COMMAND, *REWIND], env=environment(state), stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or not is_enabled(deployment))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    assert not is_enabled(deployment)


def test_what_a_killed_replay_left_disabled_is_said_and_enabled_again(
    state: StackDir, deployment: Deployment
) -> None:
    """By any later command of any operator: the note is in the stage's bucket. One command enables the mapping."""
    killed(state, deployment)
    said = f"{SPELLCHECK}: its mapping is disabled by an interrupted replay since "

    assert said in ras(state, "status")
    [told] = json.loads(ras(state, "status", "--json"))["interrupted_replays"]
    assert told["topic"] == SPELLCHECK
    assert said in ras(state, *REWIND[:-1], "--dry-run")
    assert not is_enabled(deployment)
    assert f"{SPELLCHECK}: its mapping is enabled again" in ras(state, "replay", "--enable")
    assert is_enabled(deployment)
    assert "interrupted" not in ras(state, "status")
    assert "No mapping is disabled by an interrupted replay" in ras(state, "replay", "--enable")


def test_the_same_command_mends_what_it_left(state: StackDir, deployment: Deployment) -> None:
    """It rewinds the group and enables the mapping, as it would have done."""
    killed(state, deployment)
    output = ras(state, *REWIND, "--wait")

    assert f"{SPELLCHECK}: its mapping is disabled by an interrupted replay since " in output
    assert "caught up" in output
    assert is_enabled(deployment)
    assert "interrupted" not in ras(state, "status")


def test_what_an_operator_disabled_stays_so(state: StackDir, deployment: Deployment) -> None:
    """Only what a replay has noted is its to enable."""
    [mapping] = [one for one in deployment.mappings() if one.topic == SPELLCHECK]
    deployment.cloud.functions.update_event_source_mapping(UUID=mapping.uuid, Enabled=False)
    until(lambda: not is_enabled(deployment))
    ras(state, *REWIND)
    ras(state, "replay", "--enable")

    assert not is_enabled(deployment)


@pytest.mark.parametrize("times", [1, long(5)])
@pytest.mark.parametrize("number", [signal.SIGHUP, long(signal.SIGTERM), long(signal.SIGINT)])
def test_a_replay_that_is_ended_enables_the_mapping(
    state: StackDir, deployment: Deployment, number: signal.Signals, times: int
) -> None:
    """Its terminal is closed, which ends it by SIGHUP; or another signal comes, impatiently several times."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *REWIND],
        env=environment(state),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    try:
        until(lambda: process.poll() is not None or not is_enabled(deployment))
        assert process.poll() is None, "it ended before the signal"
        if number == signal.SIGHUP:
            os.close(ours)
        for _ in range(times):
            if number != signal.SIGHUP or times > 1:
                process.send_signal(number)
            time.sleep(0.1)
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        if number != signal.SIGHUP:
            os.close(ours)

    # A late one of several may end the interpreter, when all is done.
    assert process.returncode not in (0, -signal.SIGKILL)
    assert is_enabled(deployment)
    assert "interrupted" not in ras(state, "status")


def _take_terminal() -> Any:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

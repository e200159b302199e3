"""LocalStack and Kafka in Docker: how `make` starts and stops them, on a `docker` and a `ras` that only write down what is asked,
and what a container does by itself before its image's own program.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml
from ras.state_folder import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

_DOCKER = """#!/bin/bash
echo "docker $*" >> asked
"""

# `up` takes as long as it is let; SIGTERM ends it by a code, as it ends `ras`.
_RAS = """#!/bin/bash
trap 'exit 1' TERM
echo "ras $*" >> asked
if [ "$1" = up ]; then until [ -e enough ]; do sleep 0.05; done; fi
"""

STOPPED = "docker compose --file localstack/docker-compose.yml down --volumes --remove-orphans"


# A shell traps no signal that was ignored when it began, as under nohup or behind a shell's `&`: these begin anew.
_HEARING = """
import os, signal, sys
for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(each, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Make:
    """A running `make up BACKEND=localstack`, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for name, text in (("docker", _DOCKER), ("ras", _RAS)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        make = shutil.which("make")
        assert make is not None
        command = [
            make,
            "--file",
            str(REPOSITORY / "Makefile"),
            "up",
            "BACKEND=localstack",
            "SETUP=",
            "BIN=bin",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HEARING, *command],
            cwd=folder,
            env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def asked(self) -> list[str]:
        """The commands so far."""
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def on_containers(self) -> bool:
        """Whether it is noted that they were started."""
        return (self.folder / ".local/containers").exists()

    def wait_for(self, line: str) -> None:
        deadline = time.monotonic() + 120
        while line not in self.asked:
            assert time.monotonic() < deadline, self.asked
            time.sleep(0.02)

    def let_up_end(self) -> int:
        """The code that make ends with."""
        (self.folder / "enough").touch()
        return self.process.wait(30)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """It has come to `ras up`."""
    running = Make(tmp_path)
    try:
        running.wait_for("ras up")
        yield running
    finally:
        (tmp_path / "enough").touch()
        if running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait(30)


def test_the_containers_stay_for_a_stack_that_is_up(make: Make) -> None:
    """They are noted, so that `make down` stops them."""
    assert make.let_up_end() == 0

    assert make.on_containers
    assert STOPPED not in make.asked


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_all_of_them_stops_the_containers(make: Make, sent: signal.Signals) -> None:
    """As a cancelled job, a closed terminal or Ctrl-C sends it, also where a command dies of it instead of ending by a code."""
    os.killpg(make.process.pid, sent)
    make.wait_for(STOPPED)

    assert make.let_up_end() != 0
    assert not make.on_containers


def test_a_signal_to_the_shell_alone_stops_what_came_up_meanwhile(make: Make) -> None:
    """Make passes on what ends it, and its shell hears that once `ras up` has ended: stack and containers go then."""
    (shell,) = psutil.Process(make.process.pid).children()
    shell.terminate()

    assert make.let_up_end() != 0
    assert make.asked[-1] == STOPPED
    assert make.asked.index("ras down") > make.asked.index("ras up")
    assert not make.on_containers


def started_kafka(container: Path) -> str:
    """The cluster id that the image's program is started with in a container with this folder as its /tmp."""
    compose = yaml.safe_load((REPOSITORY / "localstack/docker-compose.yml").read_text())
    program, *arguments = compose["services"]["kafka"]["command"]
    image = container / "run"
    image.write_text('#!/bin/sh\nprintf %s "$CLUSTER_ID"\n')
    image.chmod(0o755)
    # As Compose and the container read it.
    told = [
        argument.replace("$$", "$")
        .replace("id=/tmp", f"id={container}")
        .replace("/etc/kafka/docker/run", str(image))
        for argument in arguments
    ]
    return subprocess.run([program, *told], capture_output=True, text=True, check=True).stdout


def test_every_log_has_a_cluster_id_of_its_own(tmp_path: Path) -> None:
    """Sixteen bytes that are no option; a container that is started again keeps it, as it keeps its log."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    ids = [started_kafka(container) for container in (first, first, second)]

    assert ids[0] == ids[1] != ids[2]
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", each) for each in ids), ids
    assert [len(urlsafe_b64decode(f"{each}==")) for each in ids] == [16, 16, 16]

"""Starting, finding and stopping processes by id and start time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from ras import interrupts
from ras.errors import OperatorError
from ras_local.servers import processes
from ras_local.settings import StackDir

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
# Starts a child, tells its id, and ignores the request to end.
STUBBORN_PARENT = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)\n",
]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StackDir]:
    folder = StackDir(tmp_path)
    folder.create()
    yield folder
    for record in processes.recorded(folder):
        processes.stop(folder, record, grace_s=0)


def start(state: StackDir, command: list[str], name: str = "thing") -> processes.Started:
    return processes.start(state, name, command, environment=os.environ, folder=state.root)


def child_of(state: StackDir) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = state.log("thing").read_text(encoding="utf-8")
        if text.endswith("\n"):
            return int(text)
        time.sleep(0.02)
    raise AssertionError("the process did not say its child's id")


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_started_process_is_found_and_stopped(state: StackDir) -> None:
    record = start(state, SLEEPER)

    assert processes.running(state, "thing") is not None
    assert processes.stop(state, record)
    assert is_gone(record.pid)
    assert processes.running(state, "thing") is None
    assert processes.recorded(state) == []


def test_stopping_twice_is_harmless(state: StackDir) -> None:
    record = start(state, SLEEPER)
    processes.stop(state, record)

    assert not processes.stop(state, record)


def test_an_id_that_belongs_to_another_process_now_is_left_alone(state: StackDir) -> None:
    other = start(state, SLEEPER)
    stale = replace(other, started_at=other.started_at - 1000)

    assert stale.leader() is None
    assert not processes.stop(state, stale)
    assert not is_gone(other.pid)
    processes.stop(state, other)


def test_a_process_that_ignores_the_request_is_killed_with_its_children(state: StackDir) -> None:
    record = start(state, STUBBORN_PARENT)
    child = child_of(state)

    processes.stop(state, record, grace_s=0.2)

    assert is_gone(record.pid)
    assert is_gone(child)


def test_children_are_stopped_when_their_parent_was_killed(state: StackDir) -> None:
    record = start(state, STUBBORN_PARENT)
    child = child_of(state)
    os.kill(record.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(record.pid)], timeout=5)

    assert processes.stop(state, record)
    assert is_gone(child)


def test_a_missing_program_is_told(state: StackDir) -> None:
    with pytest.raises(OperatorError, match="cannot be started") as raised:
        start(state, ["/nonexistent/program"])
    assert "make setup" in raised.value.advice


def test_waiting_ends_with_the_log_when_the_process_ends(state: StackDir) -> None:
    start(state, [sys.executable, "-c", "raise SystemExit('no such luck')"])

    with pytest.raises(OperatorError, match="ended while it was starting") as raised:
        processes.wait_until("the thing", lambda: False, timeout_s=20, state=state, process="thing")
    assert "no such luck" in raised.value.advice


def test_waiting_ends_when_the_time_is_up(state: StackDir) -> None:
    start(state, SLEEPER)

    with pytest.raises(OperatorError, match="did not answer within"):
        processes.wait_until("the thing", lambda: False, timeout_s=0.2, state=state, process="thing")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_an_unreadable_record_counts_as_none(state: StackDir, text: str) -> None:
    (state.processes / "thing.json").write_text(text, encoding="utf-8")

    assert processes.recorded(state) == []


def test_records_are_readable_by_their_owner_alone(state: StackDir) -> None:
    start(state, SLEEPER)
    file = state.processes / "thing.json"

    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text(encoding="utf-8"))["command"] == SLEEPER


class TestPorts:
    def taken(self) -> socket.socket:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return listener

    def test_the_default_is_taken_when_it_is_free(self) -> None:
        with self.taken() as listener:
            port: int = listener.getsockname()[1]

        assert processes.choose_port("RAS_TEST_PORT", port) == port

    def test_another_is_found_when_the_default_is_taken(self) -> None:
        with self.taken() as listener:
            port = listener.getsockname()[1]
            chosen = processes.choose_port("RAS_TEST_PORT", port)

            assert chosen != port
            assert processes.port_is_free(chosen)

    def test_a_default_that_another_process_has_chosen_is_left_to_it(self) -> None:
        """Its server does not listen yet. Once that process has ended, the port is free again."""
        with self.taken() as listener:
            port: int = listener.getsockname()[1]
        code = (
            "import sys; from ras_local.servers import processes; "
            f"print(processes.choose_port('RAS_TEST_PORT', {port}), flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            theirs = int(other.stdout.readline())
            ours = processes.choose_port("RAS_TEST_PORT", port)
            other.communicate()

        assert theirs == port
        assert ours != port
        assert processes.choose_port("RAS_TEST_PORT", port) == port

    def test_a_wished_port_that_is_taken_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with self.taken() as listener:
            monkeypatch.setenv("RAS_TEST_PORT", str(listener.getsockname()[1]))

            with pytest.raises(OperatorError, match="RAS_TEST_PORT"):
                processes.choose_port("RAS_TEST_PORT", 4566)

    @pytest.mark.parametrize("wish", ["many", "-1", "70000"])
    def test_a_wish_that_is_no_port_is_told(self, monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
        monkeypatch.setenv("RAS_TEST_PORT", wish)

        with pytest.raises(OperatorError, match="RAS_TEST_PORT"):
            processes.choose_port("RAS_TEST_PORT", 4566)


class TestRun:
    def test_the_exit_code_is_told_and_the_output_is_kept(self, state: StackDir) -> None:
        command = [sys.executable, "-c", "print('hello'); raise SystemExit(3)"]
        code = processes.run(state, "job", command, environment=os.environ, folder=state.root, timeout_s=20)

        assert code == 3
        assert state.log("job").read_text(encoding="utf-8") == "hello\n"
        assert processes.recorded(state) == []

    def test_a_command_that_takes_too_long_is_stopped_with_its_children(self, state: StackDir) -> None:
        with pytest.raises(OperatorError, match="took over"):
            processes.run(
                state, "thing", STUBBORN_PARENT, environment=os.environ, folder=state.root, timeout_s=1.5
            )

        assert is_gone(child_of(state))


def test_cleaning_up_is_not_interrupted(state: StackDir) -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts.uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        record = start(state, SLEEPER)
        processes.stop(state, record)

    assert signal.getsignal(signal.SIGINT) is before


# Cleans up when it is interrupted; says when it waits.
CLEANING = """
import time
from ras import interrupts
interrupts.end_as_interrupted()
try:
    print("waits", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("cleaned up", flush=True)
"""


def hear_signals() -> None:
    """In a new process: what runs the tests may ignore signals (nohup, a script's background job), and a child inherits that."""
    for sent in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(sent, signal.SIG_DFL)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_however_a_command_is_ended_it_cleans_up(sent: signal.Signals) -> None:
    """By Ctrl-C, by a supervisor, or because its terminal was closed."""
    with subprocess.Popen(
        [sys.executable, "-c", CLEANING], stdout=subprocess.PIPE, text=True, preexec_fn=hear_signals
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "waits\n"
        command.send_signal(sent)

        assert command.communicate(timeout=60)[0] == "cleaned up\n"


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    """Which says so by ignoring the signal."""
    program = "import os, signal; from ras import interrupts; interrupts.end_as_interrupted(); "
    program += "os.kill(os.getpid(), signal.SIGHUP); print('goes on')"
    ended = subprocess.run(
        ["nohup", sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert ended.stdout == "goes on\n"

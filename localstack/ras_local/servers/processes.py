"""Processes that outlive the command which started them, and are stopped by id and never by name.

Each is the leader of a session of its own. Its record holds the process id *and* the start time, so that an id
which the system has given to somebody else in the meantime is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psutil
from ras.environment import number
from ras.errors import ConflictError, FailedError, NotInstalledError, SettingError, UnreachableError
from ras.state_folder import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ras_local.settings import StackDir

BROKER = "broker"
"""The name of the broker's process, whichever kind it is."""

# psutil derives start times from the boot time, which moves a little when the clock is set.
_START_TOLERANCE_S = 2.0


@dataclass(frozen=True)
class Started:
    """One started process: `started_at` in seconds since the epoch, as the operating system reports it."""

    name: str
    pid: int
    started_at: float
    command: list[str]

    def leader(self) -> psutil.Process | None:
        """The process itself while it runs; None once it has ended or its id belongs to another."""
        try:
            process = psutil.Process(self.pid)
            ours = abs(process.create_time() - self.started_at) <= _START_TOLERANCE_S
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def family(self) -> list[psutil.Process]:
        """Every live process of its session, which also finds children whose parent was killed."""
        if self.leader() is None and psutil.pid_exists(self.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE:
                    return []  # the id is somebody else's now, and so is the session that carries it
        members = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                started_since = process.create_time() >= self.started_at - _START_TOLERANCE_S
                if os.getsid(process.pid) == self.pid and started_since:
                    members.append(process)
        return members


def start(
    state: StackDir, name: str, command: Sequence[str], *, environment: Mapping[str, str], folder: Path
) -> Started:
    """Start a command in the background, its output in the state folder's logs.

    Raises OperatorError when the program is missing.
    """
    with state.log(name).open("ab") as log:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            raise NotInstalledError(
                f"{command[0]} cannot be started: {error.strerror}", "Run `make setup`."
            ) from error
    # Collecting the handle of a running child is a warning, and this one is meant to outlive the command.
    process.returncode = 0
    try:
        started_at = psutil.Process(process.pid).create_time()
    except psutil.NoSuchProcess:
        raise FailedError(f"{name} ended at once", tail(state.log(name))) from None
    record = Started(name, process.pid, started_at, list(command))
    write_private(state.processes / f"{name}.json", json.dumps(asdict(record)))
    return record


def run(
    state: StackDir,
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout_s: float,
) -> int:
    """Run a command to its end, output in its log; its exit code. However this ends, so do all its children.

    Raises OperatorError when the program is missing or the time is up.
    """
    record = start(state, name, command, environment=environment, folder=folder)
    try:
        code = psutil.Process(record.pid).wait(timeout=timeout_s)
        return -1 if code is None else int(code)
    except psutil.TimeoutExpired:
        raise FailedError(f"{name} took over {timeout_s:.0f} s", tail(state.log(name))) from None
    finally:
        stop(state, record, grace_s=2.0)


def recorded(state: StackDir) -> list[Started]:
    """What the state folder says was started, running or not; an unreadable record counts as none."""
    records = []
    for path in sorted(state.processes.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            records.append(Started(**json.loads(path.read_text(encoding="utf-8"))))
    return records


def running(state: StackDir, name: str) -> psutil.Process | None:
    """The named process, if it was started from this folder and still runs."""
    return next((record.leader() for record in recorded(state) if record.name == name), None)


def stop(state: StackDir, record: Started, *, grace_s: float = 5.0) -> bool:
    """End a process and its children: asked first, killed after `grace_s`. True if anything was running."""
    family = record.family()
    leader = record.leader()
    if leader is not None:
        # The leader first, so that it can end its children in its own way.
        _signal([leader], kill=False)
        _wait_for_end([leader], grace_s)
    _signal(family, kill=False)
    _wait_for_end(family, 1.0)
    _signal([*family, *record.family()], kill=True)
    _wait_for_end(family, 5.0)
    (state.processes / f"{record.name}.json").unlink(missing_ok=True)
    return bool(family)


def kill(state: StackDir, record: Started) -> bool:
    """End a process and its children as a crash would, with SIGKILL and nothing before. True if anything ran."""
    family = record.family()
    _signal(family, kill=True)
    _wait_for_end(family, 5.0)
    (state.processes / f"{record.name}.json").unlink(missing_ok=True)
    return bool(family)


def _signal(members: Sequence[psutil.Process], *, kill: bool) -> None:
    for process in members:
        # psutil refuses to signal an id that has changed hands since it was looked at.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill() if kill else process.terminate()


def _wait_for_end(members: Sequence[psutil.Process], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and not all(_has_ended(process) for process in members):
        time.sleep(0.02)


def _has_ended(process: psutil.Process) -> bool:
    """Gone, or a zombie: an orphan stays one for good where nobody reaps, as in many containers."""
    try:
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(timeout=0)  # reaps it if it is a child of this process
            return True
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def tail(path: Path, lines: int = 15) -> str:
    """The end of a log, to show beside an error."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(["Last lines of " + str(path) + ":", *text.splitlines()[-lines:]])


def wait_until(
    what: str,
    ready: Callable[[], bool],
    *,
    timeout_s: float,
    state: StackDir,
    process: str,
    interval_s: float = 0.1,
) -> None:
    """Wait until `ready` answers True.

    Raises OperatorError with the end of the process's log when it ends first or the time is up.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if running(state, process) is None:
            raise FailedError(f"{what} ended while it was starting", tail(state.log(process)))
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{what} did not answer within {timeout_s:.0f} s", tail(state.log(process))
            )
        time.sleep(interval_s)


def port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose_port(setting: str, default: int) -> int:
    """The port that the environment names, else the default, else any free one.

    Raises OperatorError when the environment names one that is taken: a wish that cannot be met is said, not bent.
    """
    wish = wished_port(setting)
    if wish:
        return wish
    port = default
    while not (port_is_free(port) and _claim(port)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
    return port


# Below what systems hand out to outgoing connections (Linux from 32768, macOS and Windows from 49152).
_STEADY_PORTS = range(10_240, 32_768)


def choose_steady_port(setting: str, *, other_than: int = 0) -> int:
    """The port that the environment names, else any free one that stays free while its server is away.

    A port from the range of outgoing connections would not: some connection may take it meanwhile, and a client
    that keeps trying to reach the dead server may even get connected to itself. Raises OperatorError as `choose_port`.
    """
    wish = wished_port(setting)
    if wish:
        return wish
    for port in random.sample(_STEADY_PORTS, 200):
        if port != other_than and port_is_free(port) and _claim(port):
            return port
    raise ConflictError("no free port was found", f"Choose one: {setting}=… make up")


def _claim(port: int) -> bool:
    """Reserve a port until this process ends; False where another process, or this one, has reserved it.

    A server needs a moment until it listens on the port that was chosen for it. Without this, another stack that starts
    in that moment chooses the same port, and both talk to one server. What reserves it is the UDP port of the same number,
    which no server here uses.
    """
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    claim.detach()  # open as long as the process
    return True


def wished_port(setting: str) -> int:
    """The port that the environment names, 0 where it names none. Raises OperatorError where that cannot be had."""
    wish = number(setting, 0)
    if wish and (not 0 < wish < 65536 or not port_is_free(wish)):
        raise SettingError(
            f"port {wish} ({setting}) is taken or not a port",
            f"Stop what listens there, or choose another: {setting}=… make up",
        )
    return wish

"""The servers that benchmarks run against: started on 127.0.0.1 and free ports, in a folder that goes with them.

PostgreSQL and Redis are Debian's, started by the benchmark itself, PostgreSQL as a user without privileges because it
refuses to run as root. Where one is missing, MissingServerError says which package has it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ras.aws import ROOT_KEY, ROOT_SECRET
from ras.errors import FailedError, OperatorError
from ras.state_folder import REPOSITORY
from ras_local import stack
from ras_local.clients import dynamodb_at
from ras_local.servers import broker, dynoxide, rust_servers
from ras_local.settings import StackDir, region
from result_aggregator.names import (
    ENV_ALLOWED_CALLERS,
    ENV_COMPRESS_ANSWERS,
    ENV_DEAD_LETTER_BUCKET,
    ENV_DEFAULT_PIPELINE,
    ENV_PARTIAL_BATCH_RESPONSE,
    ENV_TABLE_NAME,
)

from benchmarks import workload
from tests.table import create_table_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = "view"
PATIENCE_S = 60
_UNPRIVILEGED = ("postgres", "nobody")


class MissingServerError(OperatorError):
    """A server is not installed here."""


def functions_settings(dynamodb_url: str) -> dict[str, str]:
    """The environment of the functions over a table at this address."""
    return {
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
        "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
        "AWS_DEFAULT_REGION": region(),
        "AWS_REGION": region(),
        ENV_TABLE_NAME: TABLE,
        ENV_DEAD_LETTER_BUCKET: "nowhere",
        ENV_PARTIAL_BATCH_RESPONSE: "true",
        ENV_DEFAULT_PIPELINE: "spellcheck,cj_assessment",
        ENV_COMPRESS_ANSWERS: "true",
        ENV_ALLOWED_CALLERS: '{"arn:aws:iam::123456789012:role/platform/api-gateway-service": "api-gateway-service"}',
    }


@contextmanager
def dynamodb() -> Iterator[str]:
    """dynoxide with the view's table as it is deployed; its address."""
    rust_servers.fetch(dynoxide.SERVER)
    with _folder() as folder:
        state = StackDir(folder)
        state.create()
        try:
            url, answers = dynoxide.start(state)
            answers()
            dynamodb_at(url).create_table(**create_table_arguments(TABLE))
            yield url
        finally:
            stack.down(state)


@contextmanager
def kafka() -> Iterator[str]:
    """The embedded broker with the workload's topics; its bootstrap servers."""
    topics = (workload.REGISTERED, workload.SPELLCHECKED, workload.OUTCOME, workload.RANKED)
    with _folder() as folder:
        state = StackDir(folder)
        state.create()
        try:
            yield broker.start_embedded(state, topics, partitions=1)()
        finally:
            stack.down(state)


@contextmanager
def stand_in() -> Iterator[str]:
    """The stand-in for DynamoDB (`benchmarks.fake_dynamodb`); its address."""
    command = [sys.executable, "-m", "benchmarks.fake_dynamodb"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            _stop(process)


@contextmanager
def postgres() -> Iterator[str]:
    """PostgreSQL as Debian sets it up, empty; how to connect to it. Raises MissingServerError."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not programs:
        raise MissingServerError("PostgreSQL is not installed", "Debian: apt install postgresql")
    port, user = _free_port(), _user()
    with _folder() as folder:
        if user:
            shutil.chown(folder, user=user)
        # A user of its own, as far as this process may give it one; root may, and must.
        as_user: dict[str, Any] = (
            {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        )
        data = str(folder / "data")
        initialise = [
            str(programs[-1] / "initdb"),
            "-D",
            data,
            "-U",
            "bench",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale",
            "C",
        ]
        subprocess.run(initialise, check=True, cwd=folder, stdout=subprocess.DEVNULL, **as_user)
        listen = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(folder)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(programs[-1] / "postgres"), "-D", data, *listen],
                cwd=folder,
                stdout=log,
                stderr=log,
                **as_user,
            )
        with process:
            try:
                _wait_for(port, process, folder / "log")
                # It listens a moment before it lets anybody in.
                ready = [
                    str(programs[-1] / "pg_isready"),
                    "-q",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(port),
                    "-t",
                    "1",
                ]
                while subprocess.run(ready, check=False).returncode and process.poll() is None:
                    time.sleep(0.05)
                yield f"host=127.0.0.1 port={port} user=bench dbname=postgres"
            finally:
                _stop(process, signal.SIGINT)  # its "fast shutdown"


@contextmanager
def redis() -> Iterator[int]:
    """Redis, empty, that writes nothing to disk; its port. Raises MissingServerError."""
    program = shutil.which("redis-server")
    if program is None:
        raise MissingServerError("Redis is not installed", "Debian: apt install redis-server")
    port = _free_port()
    with _folder() as folder:
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, *options], cwd=folder, stdout=log, stderr=log)
        with process:
            try:
                _wait_for(port, process, folder / "log")
                yield port
            finally:
                _stop(process)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ras-bench-") as folder:
        yield Path(folder)


def _user() -> str | None:
    """Who PostgreSQL runs as; None is whoever runs this."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[Any], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise FailedError(
                    "a server of the benchmark did not start", log.read_text(errors="replace")
                ) from None
            time.sleep(0.05)
        else:
            return


def _stop(process: subprocess.Popen[Any], sign: int = signal.SIGTERM) -> None:
    process.send_signal(sign)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()

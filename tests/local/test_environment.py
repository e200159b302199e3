"""An operator's own environment, terminal and disk, which are not always friendly: real processes of the `ras` command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ras_local import stack
from ras_local.servers import processes
from ras_local.settings import StackDir

from tests.client.server import CannedResponse, Server

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from ras.start import main; main()"]
# What a person's shell may hold; nothing listens at that port.
HOSTILE = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    "AWS_PROFILE": "no-such-profile",
}


def ras(
    *arguments: str, state: Path, program: list[str] = COMMAND, **given: Any
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAS_STATE_DIR": str(state), **given.pop("env", {})}
    given.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        [*program, *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
        **given,
    )


@pytest.mark.parametrize("command", [["--help"], ["status"], ["publish", "--help"]], ids=" ".join)
def test_a_full_disk_under_the_output_is_an_error_of_a_line(tmp_path: Path, command: list[str]) -> None:
    """As `ras … > file` meets it."""
    with Path("/dev/full").open("w") as full:
        done = ras(*command, state=tmp_path, stdout=full)

    assert done.returncode == 1
    assert done.stderr.startswith("ras: cannot write")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_no_error_to_tell(tmp_path: Path) -> None:
    """As `ras … | head -1` meets it."""
    reading, writing = os.pipe()
    os.close(reading)
    done = ras("publish", "--help", state=tmp_path, stdout=writing)
    os.close(writing)

    assert done.stderr == ""


def test_an_ascii_terminal_gets_what_it_cannot_show_by_its_number(tmp_path: Path) -> None:
    """JSON stays JSON by that."""
    program = "from ras.start import prepare; prepare(); from ras.terminal import console; console().print('✓ \"å😀\"')"
    done = ras(state=tmp_path, program=[sys.executable, "-c", program], env={"PYTHONIOENCODING": "ascii"})

    assert (done.stdout, done.stderr) == ('\\u2713 "\\u00e5\\ud83d\\ude00"\n', "")


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.3, 0.5, 0.8, 1.2])
def test_ctrl_c_at_any_moment_ends_a_command_quietly(tmp_path: Path, after_s: float) -> None:
    """While it is still importing, too. It waits for what never comes, so it does not end by itself."""
    reading, writing = os.pipe()
    program = [sys.executable, "-c", "print(flush=True); from ras.start import main; main()"]
    process = subprocess.Popen(
        [*program, "publish", "-"],
        env={**os.environ, "RAS_STATE_DIR": str(tmp_path)},
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)

    assert process.returncode == 130
    assert "Traceback" not in said


@pytest.mark.parametrize("profile", ["no-such-profile", ""])
def test_without_a_stage_no_profile_is_looked_up(tmp_path: Path, profile: str) -> None:
    """The emulator has keys of its own; a configuration that cannot be read is none of its either. No proxy is asked."""
    config = tmp_path / "config"
    config.write_text("this is [no configuration\n")
    program = (
        "from ras.start import prepare; prepare(); import sys; from ras.aws import Cloud;"
        "print(Cloud(sys.argv[1], 'eu-north-1', retries=1).s3.list_buckets()['Buckets'])"
    )
    with Server() as aws:
        body = b"<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>"
        aws.otherwise = lambda _: CannedResponse(body=body)
        hostile = {**HOSTILE, "AWS_PROFILE": profile, "AWS_CONFIG_FILE": str(config)}
        address = aws.url.removesuffix("/stage")
        done = ras(address, state=tmp_path, program=[sys.executable, "-c", program], env=hostile)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_events_are_read_from_a_socket(tmp_path: Path) -> None:
    """Which is what Node and Python give their children as standard input; /dev/stdin does not open it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b'{"topic": "t", "value": 1}\nno event\n')
        ours.shutdown(socket.SHUT_WR)
        done = ras("publish", "-", state=tmp_path, stdin=theirs)

    assert done.returncode == 1
    assert "-:2: not JSON" in done.stderr


@pytest.mark.parametrize("files", [64, 128])
def test_too_few_open_files_are_said_at_once(tmp_path: Path, files: int) -> None:
    program = ["bash", "-c", f'ulimit -n {files}; exec "$0" "$@"', *COMMAND]
    begun = time.monotonic()
    try:
        done = ras("up", state=tmp_path, program=program)
    finally:
        ras("down", state=tmp_path)  # where it did start

    assert done.returncode == 1
    assert done.stderr.startswith(f"ras: this shell allows {files} open files")
    assert "ulimit -n" in done.stderr
    assert time.monotonic() - begun < 60
    assert not (tmp_path / "logs").exists()


def test_a_full_disk_under_the_stack_is_what_is_said(tmp_path: Path) -> None:
    """Before anything is started that would fail over it in other words."""
    script = 'mount -t tmpfs -o size=4m none "$RAS_STATE_DIR" && exec "$0" "$@"'
    done = ras("up", state=tmp_path, program=["unshare", "-rm", "sh", "-c", script, *COMMAND])

    assert done.returncode == 1
    assert done.stderr.startswith("ras: ")
    assert f"MB are free for {tmp_path}, and the stack needs" in " ".join(done.stderr.splitlines()[0:3])
    assert "Traceback" not in done.stderr


def test_down_does_not_wait_for_one_deaf_process_after_another(tmp_path: Path) -> None:
    """Within 10 s on a quiet machine; one after the other they would take half a minute and more."""
    state = StackDir(tmp_path)
    state.create()
    deaf = ["bash", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    for name in stack.PROCESSES:
        processes.start(state, name, deaf, environment=os.environ, folder=tmp_path)
    time.sleep(1)  # each has said that it hears nothing
    begun = time.monotonic()

    assert stack.down(state)
    assert time.monotonic() - begun < 20
    assert all(processes.running(state, name) is None for name in stack.PROCESSES)

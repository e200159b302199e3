"""The AWS emulator (ministack) as a process of its own, with signatures and policies enforced."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import requests

from ras_local import processes
from ras_local.errors import StackError
from ras_local.paths import ACCOUNT, REPOSITORY, region

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_local.paths import StateDir

PROCESS = "emulator"
DEFAULT_PORT = 4566
PROGRAM = REPOSITORY / ".venv-emulator" / "bin" / "ministack"


def endpoint(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def healthy(port: int) -> bool:
    try:
        return requests.get(f"{endpoint(port)}/_ministack/health", timeout=2).ok
    except requests.RequestException:
        return False


def start(
    state: StateDir, functions_environment: Mapping[str, str] | None = None
) -> tuple[int, Callable[[], None]]:
    """Start it on RAS_EMULATOR_PORT, or 4566, or any free port. Gives the port, and how to wait until it answers.

    `functions_environment` is what every function finds in its environment besides what its configuration says.
    Raises StackError when it is not installed or the wished port is taken.
    """
    if not PROGRAM.exists():
        raise StackError("the AWS emulator is not installed", "Run `make setup`.")
    port = processes.choose_port("RAS_EMULATOR_PORT", DEFAULT_PORT)
    scratch = state.emulator / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    # The functions inherit this environment, so nothing of the user's own AWS or Python settings goes in.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(state.emulator),
        "TMPDIR": str(scratch),
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": region(),
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "S3_DATA_DIR": str(state.emulator / "s3"),
        "STATE_DIR": str(state.emulator / "state"),
        # A worker that waits longer than this is ended, and the next event would pay for a cold start.
        "LAMBDA_WARM_TTL_SECONDS": "86400",
        "LOG_LEVEL": os.environ.get("RAS_EMULATOR_LOG_LEVEL", "INFO"),
        "DOCKER_HOST": "unix:///nonexistent",
        **(functions_environment or {}),
    }
    processes.start(state, PROCESS, [str(PROGRAM)], environment=environment, folder=state.emulator)

    def wait() -> None:
        processes.wait_until(
            "the AWS emulator", lambda: healthy(port), timeout_s=60, state=state, process=PROCESS
        )

    return port, wait

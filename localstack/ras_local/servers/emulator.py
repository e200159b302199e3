"""The AWS emulator: ministack as a process of its own, with signatures and policies enforced, or one that runs elsewhere."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from ras.errors import NotInstalledError, SettingError, UnreachableError
from ras.state_folder import REPOSITORY

from ras_local.servers import processes
from ras_local.settings import ACCOUNT, region

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ras_local.settings import StackDir

PROCESS = "emulator"
DEFAULT_PORT = 4566
EMBEDDED = "embedded"
PYTHON = REPOSITORY / ".venv-emulator" / "bin" / "python"
PROGRAM = Path(__file__).with_name("ministack_main.py")


def healthy(endpoint_url: str) -> bool:
    # LocalStack's path, at which ministack answers too.
    return _has(f"{endpoint_url}/_localstack/health")


def is_localstack(endpoint_url: str) -> bool:
    """Whether LocalStack answers there: it runs functions in containers like Lambda's, not in this machine's interpreter."""
    return _has(f"{endpoint_url}/_localstack/info")


def named() -> str | None:
    """The address in RAS_EMULATOR, of one that is not ours to start; None where ours is wanted."""
    wished = os.environ.get("RAS_EMULATOR", "") or EMBEDDED
    return None if wished == EMBEDDED else wished.rstrip("/")


def _has(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def start(
    state: StackDir, functions_environment: Mapping[str, str] | None = None
) -> tuple[str, Callable[[], None]]:
    """Start it on RAS_EMULATOR_PORT, or 4566, or any free port. Gives its address, and how to wait until it answers.

    Where RAS_EMULATOR is the address of one that runs, that one is used and nothing is started.
    `functions_environment` is what every function finds in its environment besides what its configuration says.
    Raises OperatorError when it is not installed, the wished port is taken, or RAS_EMULATOR is no address.
    """
    if address := named():
        return _join(address, functions_environment)
    if not PYTHON.exists():
        raise NotInstalledError("the AWS emulator is not installed", "Run `make setup`.")
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
    processes.start(
        state, PROCESS, [str(PYTHON), str(PROGRAM)], environment=environment, folder=state.emulator
    )
    endpoint_url = f"http://127.0.0.1:{port}"

    def wait() -> None:
        processes.wait_until(
            "the AWS emulator", lambda: healthy(endpoint_url), timeout_s=60, state=state, process=PROCESS
        )

    return endpoint_url, wait


def _join(
    endpoint_url: str, functions_environment: Mapping[str, str] | None
) -> tuple[str, Callable[[], None]]:
    if not endpoint_url.startswith(("http://", "https://")):
        raise SettingError(
            f"RAS_EMULATOR={endpoint_url!r} is no address",
            f"Unset it, or give it one such as http://127.0.0.1:{DEFAULT_PORT}.",
        )
    if functions_environment:
        raise SettingError(
            f"an emulator that runs already cannot be given {', '.join(functions_environment)}",
            "Unset RAS_EMULATOR, or RAS_DYNAMODB.",
        )

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not healthy(endpoint_url):
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"no AWS emulator answers at {endpoint_url}", "Start it, or unset RAS_EMULATOR."
                )
            time.sleep(0.2)

    return endpoint_url, wait

"""LocalStack as a process of its own, without Docker: a second emulator to hold the table, the store and templates against.

It is the free edition from PyPI, which runs no functions without Docker, so the stack itself runs on `emulator`, or on
a LocalStack in Docker by its address. Its DynamoDB is a program that it would download; it is given ours instead.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from ras.errors import NotInstalledError
from ras.state_folder import REPOSITORY

from ras_local.servers import dynoxide, emulator, processes
from ras_local.settings import region

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ras_local.settings import StackDir

PROCESS = "localstack"
PYTHON = REPOSITORY / ".venv-localstack" / "bin" / "python"
SERVICES = "apigateway,cloudformation,dynamodb,iam,lambda,s3,sqs,ssm,sts"

# LocalStack downloads its DynamoDB unless it finds all of these in its folder of libraries.
_SERVER = [
    f"dynamodb-local/2/{name}" for name in ("DynamoDBLocal.jar", "ddb-local-loader-0.1.jar", "javassist.jar")
]
_JAVA_PROGRAM = "java/21/bin/java"
# LocalStack starts its DynamoDB as `java <options of the machine> -jar <its jar> <options of the server> -port <port>`.
_JAVA = """#!/bin/sh
until [ "$1" = -port ]; do shift || exit; done
exec {command} --port "$2"
"""


def installed() -> bool:
    return PYTHON.exists()


def start(state: StackDir) -> tuple[str, Callable[[], None]]:
    """Start it on any free port. Gives its address, and how to wait until it answers.

    Raises OperatorError when it is not installed, or dynoxide cannot be built.
    """
    if not installed():
        raise NotInstalledError("LocalStack is not installed", "Run `make localstack-free`.")
    root = state.root / "localstack"
    _give_dynamodb(root)
    port = processes.choose_port("RAS_LOCALSTACK_PORT", 4567)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(root),
        "TMPDIR": str(root),
        "FILESYSTEM_ROOT": str(root),
        # Its usual server would listen on every interface, whatever it is told.
        "GATEWAY_SERVER": "hypercorn",
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "SERVICES": SERVICES,
        "DEFAULT_REGION": region(),
        # Nothing is asked of the network: no certificate for its host name, no news, no account of who uses it.
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        # A machine that is a container itself is still none of LocalStack's.
        "OVERRIDE_IN_DOCKER": "0",
        "DOCKER_HOST": "unix:///nonexistent",
        "DYNAMODB_IN_MEMORY": "1",
        "DYNAMODB_SHARE_DB": "1",
    }
    processes.start(
        state, PROCESS, [str(PYTHON), "-m", "localstack.runtime.main"], environment=environment, folder=root
    )
    endpoint_url = f"http://127.0.0.1:{port}"

    def wait() -> None:
        processes.wait_until(
            "LocalStack", lambda: emulator.healthy(endpoint_url), timeout_s=120, state=state, process=PROCESS
        )

    return endpoint_url, wait


def _give_dynamodb(root: Path) -> None:
    """Put what LocalStack looks for where it would have put its own downloads: its server's jars, and a Java.

    The jars stay empty, and the Java is a script that starts dynoxide on the port that it is given.
    """
    libraries = root / "var" / "lib" / "localstack" / "lib"
    for name in (*_SERVER, _JAVA_PROGRAM):
        (libraries / name).parent.mkdir(parents=True, exist_ok=True)
        (libraries / name).touch()
    program = libraries / _JAVA_PROGRAM
    program.write_text(_JAVA.format(command=shlex.join(dynoxide.command())))
    program.chmod(0o700)

"""A function in a process of its own, started as Lambda starts it from what is built, with what its template gives it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import boto3
import pytest
from ras_local.clients import dynamodb_at
from result_aggregator.names import ENV_DEAD_LETTER_BUCKET, ENV_TABLE_NAME, log_group_name

from infra import layers
from infra.layers import Artefacts, Target
from tests.real_servers import require_python
from tests.runtime.runtime_api import PATIENCE_S, Invocation, RuntimeApi
from tests.template.synth import Assembly, assembly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from infra.byte_code import Compiler

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements/runtime.txt"
BUILD = ROOT / ".build/runtime"
REGION: Final = "eu-north-1"

# As the runtime's own bootstrap: the function's code, the layers, then the runtime. `sys.argv` gives them, the handler last.
_BOOTSTRAP = """
import sys
*path, handler = sys.argv[1:]
sys.path[:0] = path
from awslambdaric.__main__ import main
main(["bootstrap", handler])
"""


@dataclass(frozen=True)
class Runtime:
    """The interpreter, the runtime's client, and what is deployed, in folders that nothing may write to."""

    compiler: Compiler
    client: Path
    artefacts: Artefacts
    stage: Assembly

    def function(self, folder: str) -> dict[str, Any]:
        """The properties of a function in its template."""
        return next(
            found
            for part in ("ingest", "api")
            for found in self.stage.properties(part, "AWS::Lambda::Function")
            if found["FunctionName"] == self.stage.settings.name(folder.replace("_", "-"))
        )


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """What staging deploys, but for this machine's processor."""
    stage = assembly("staging")
    compiler = require_python(stage.settings.runtime.removeprefix("python"))
    target = Target.on_this_processor(compiler)
    built = layers.build(target, client=False)
    assert built.shared is not None
    client = layers.build_dependencies(target, requirements=REQUIREMENTS, build=BUILD)
    folder = tmp_path_factory.mktemp("opt")
    copies = Artefacts(
        _copy(built.dependencies, folder / "dependencies"),
        _copy(built.shared, folder / "shared"),
        {name: _copy(path, folder / name) for name, path in built.functions.items()},
    )
    before = _files(folder)
    _writable(folder, allowed=False)
    try:
        yield Runtime(compiler, client, copies, stage)
        # Whoever runs the tests may be root, whom no permission stops.
        assert _files(folder) == before, "a function wrote into what Lambda mounts read-only"
    finally:
        _writable(folder, allowed=True)


def _copy(source: Path, to: Path) -> Path:
    return Path(shutil.copytree(source, to))


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def _writable(folder: Path, *, allowed: bool) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod((0o755 if allowed else 0o555) if path.is_dir() else 0o444)


@dataclass
class Function:
    """One execution environment of a function. `output` is what it wrote to its log so far."""

    runtime: Runtime
    folder: str
    variables: dict[str, str]
    with_layers: bool = True
    api: RuntimeApi = field(default_factory=RuntimeApi)

    def __enter__(self) -> Self:
        self.api.__enter__()
        properties = self.runtime.function(self.folder)
        artefacts = self.runtime.artefacts
        assert artefacts.shared is not None
        layers = [artefacts.shared / "python", artefacts.dependencies / "python"] if self.with_layers else []
        path = [artefacts.functions[self.folder], *layers, self.runtime.client / "python"]
        self._home = tempfile.mkdtemp(prefix="ras-runtime-")
        self._output = Path(self._home, "output").open("w+b")
        self.timeout_s = float(properties["Timeout"])
        self._process = subprocess.Popen(
            # Nothing of this project's environment: no variable, no site-packages, no folder of the user's.
            [
                str(self.runtime.compiler.path),
                "-I",
                "-S",
                "-c",
                _BOOTSTRAP,
                *map(str, path),
                properties["Handler"],
            ],
            cwd=path[0],
            env={**self._of_lambda(properties), **properties["Environment"]["Variables"], **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # With the processes that it starts, which end with it.
            start_new_session=True,
        )
        return self

    def _of_lambda(self, properties: dict[str, Any]) -> dict[str, str]:
        logging = properties["LoggingConfig"]
        name = properties["FunctionName"]
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": "test",
            # Of a function that is restored from a snapshot, which has no keys in its environment.
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{self.api.address}/credentials",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{properties['Runtime']}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties["MemorySize"]),
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": logging.get("LogFormat", "Text"),
            **(
                {"AWS_LAMBDA_LOG_LEVEL": logging["ApplicationLogLevel"]}
                if "ApplicationLogLevel" in logging
                else {}
            ),
            "AWS_LAMBDA_LOG_GROUP_NAME": log_group_name(name),
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/28/[$LATEST]0",
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            # Discarded: nothing listens at this port of UDP.
            "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:9",
            "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
            "_AWS_XRAY_DAEMON_PORT": "9",
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LAMBDA_TASK_ROOT": str(self.runtime.artefacts.functions[self.folder]),
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "TZ": ":UTC",
            "_HANDLER": properties["Handler"],
        }

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.api.__exit__()
        self._output.close()
        shutil.rmtree(self._home)

    def send(self, event: Any, *, timeout_s: float | None = None) -> Invocation:
        return self.api.send(event, timeout_s=timeout_s or self.timeout_s)

    def invoke(self, event: Any, *, timeout_s: float | None = None) -> Invocation:
        """Send an event and wait for what becomes of it."""
        return self.wait(self.send(event, timeout_s=timeout_s))

    def wait(self, sent: Invocation) -> Invocation:
        for _ in range(PATIENCE_S * 5):
            if sent.done.wait(0.2):
                return sent
            assert self._process.poll() is None, f"the function ended: {self.output}"
        raise AssertionError(f"no answer: {self.output}")

    def kill(self) -> None:
        """As Lambda ends a function whose time is over."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def exit_code(self) -> int:
        """Wait for its end."""
        return self._process.wait(PATIENCE_S)

    @property
    def output(self) -> str:
        return Path(self._home, "output").read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line of the log; each has to be a JSON object."""
        found = []
        for line in self.output.splitlines():
            value = json.loads(line)
            assert isinstance(value, dict), line
            found.append(value)
        return found


@pytest.fixture(scope="session")
def start(runtime: Runtime) -> Callable[..., Function]:
    """Make a function of a folder, which runs inside of `with`; `variables` come over its template's."""

    def make(folder: str, *, with_layers: bool = True, **variables: str) -> Function:
        return Function(runtime, folder, variables, with_layers)

    return make


@pytest.fixture(scope="session")
def emulator_s3(emulator_url: str) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=emulator_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture(scope="session")
def stores(emulator_url: str, emulator_s3: S3Client, table_arguments: dict[str, Any]) -> dict[str, str]:
    """The variables that lead a function to an empty table and an empty bucket."""
    found = {
        "AWS_ENDPOINT_URL": emulator_url,
        ENV_TABLE_NAME: "runtime",
        ENV_DEAD_LETTER_BUCKET: "runtime-dead-letters",
    }
    dynamodb_at(emulator_url).create_table(**{**table_arguments, "TableName": found[ENV_TABLE_NAME]})
    emulator_s3.create_bucket(
        Bucket=found[ENV_DEAD_LETTER_BUCKET], CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return found

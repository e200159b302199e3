"""The folder by itself: it knows nothing of the project, and works wherever it is copied to, under any name."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ras.kafka import lag
from ras.kafka.publish import Event, publish
from ras_local import mapping
from ras_local.servers import broker

from tests.local.mapping.bench import until
from tests.local.mapping.lambda_endpoint import LambdaEndpoint, serving
from tests.real_servers import folder_of_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(mapping.__file__).parent
FILES = sorted(FOLDER.glob("**/*.py"))
ALLOWED = sys.stdlib_module_names | {"boto3", "botocore", "confluent_kafka"}


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of each import anywhere in a file; 0 is an absolute one."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_imports_nothing_of_the_project(file: Path) -> None:
    """The standard library, the clients of AWS and Kafka, and what lies beside it."""
    for level, module in imports(file):
        if level:
            assert level == 1, f"{module} is outside of the folder"
            assert (FOLDER / f"{module}.py").exists(), module
        else:
            assert module.split(".")[0] in ALLOWED


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_names_nothing_of_the_project(file: Path) -> None:
    """Neither its environment variables nor its own place in it."""
    text = file.read_text(encoding="utf-8")

    assert not [word for word in ("RAS_", "ras_local", "result_aggregator", "ministack") if word in text]


def test_no_files_import_each_other() -> None:
    """For types alone neither. A circle raises graphlib.CycleError."""
    graph = {
        file.stem: {module for level, module in imports(file) if level}
        for file in FILES
        if file.name != "__init__.py"
    }

    assert list(TopologicalSorter(graph).static_order())


def test_what_it_offers_is_there() -> None:
    assert set(mapping.__all__) <= set(vars(mapping))


def test_its_readme_is_true_of_it() -> None:
    """The mapping shown there is one that Lambda would take, every file has its row, and every name is offered."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    shown = readme[readme.index("[{") : readme.index("}]\n") + 2]
    [settings] = [mapping.MappingSettings.from_api(one) for one in json.loads(shown)]
    rooms = set(re.findall(r"`(\w+\.py)`", readme))
    named = set(re.findall(r"\b[A-Z]\w+(?=\()", readme[readme.index("```python") :].split("```")[1]))

    assert settings.refusal == ""
    assert rooms | {"__init__.py"} == {file.name for file in FILES}
    assert named - {"Path"} <= set(mapping.__all__)


# --- as a process -----------------------------------------------------------------------------------------------

NAME = "lifted"


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package under another name, and nothing else."""
    root = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(FOLDER, root / NAME, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with folder_of_servers(tmp_path_factory.mktemp("broker")) as state:
        yield broker.start_embedded(state, ["essays", "late", "stuck"], 3)()


def environment() -> dict[str, str]:
    """The installed packages without the project, whose editable install is found through `site` alone (`-S`)."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": sysconfig.get_paths()["purelib"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def python(*arguments: str) -> list[str]:
    return [sys.executable, "-S", *arguments]


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python("-m", NAME, *arguments),
        cwd=folder,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("module", ["ras", "ras_local", "result_aggregator"])
def test_the_project_is_not_on_the_copys_path(lifted: Path, module: str) -> None:
    """Otherwise the tests below would show nothing."""
    found = subprocess.run(
        python("-c", f"import {module}"),
        cwd=lifted,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "ModuleNotFoundError" in found.stderr


@pytest.mark.slow
def test_its_help_names_it_as_it_is_called_and_has_what_the_readme_names(lifted: Path) -> None:
    told = run(lifted, "--help")

    assert told.returncode == 0
    assert told.stdout.startswith(f"usage: python -m {NAME} ")
    named = re.findall(r"--[a-z-]+[a-z]", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert not [option for option in named if option not in told.stdout]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "variables", "problem"),
    [
        (["--mappings", "missing.json"], {}, "missing.json"),
        (["--mappings", "wrong.json"], {}, "a mapping without UUID"),
        ([], {}, "one of the arguments --mappings --from-lambda is required"),
        (["--from-lambda", "--mappings", "right.json"], {}, "not allowed with argument"),
        (
            ["--mappings", "right.json", "--function-concurrency", "0"],
            {},
            "0 is not a whole number from 1 on",
        ),
        (["--mappings", "right.json", "--kafka-config", "wrong.json"], {}, "line 1 is not name=value"),
        (["--mappings", "right.json", "--status", "nowhere/status.json"], {}, "there is no folder"),
        (["--mappings", "right.json", "--nulls", "nil"], {}, "--nulls"),
        (["--mappings", "right.json"], {"AWS_ACCESS_KEY_ID": ""}, "no AWS credentials"),
    ],
)
def test_what_cannot_work_ends_at_once_and_says_why(
    lifted: Path, arguments: list[str], variables: dict[str, str], problem: str
) -> None:
    (lifted / "wrong.json").write_text("[{}]")
    (lifted / "right.json").write_text("[]")
    told = run(
        lifted, "--bootstrap-servers", "127.0.0.1:1", "--region", "eu-north-1", *arguments, **variables
    )

    assert told.returncode == 2
    assert problem in told.stderr
    assert "Traceback" not in told.stderr


@contextmanager
def polling(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The copy at work, until the test has ended it."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            python("-m", NAME, "--region", "eu-north-1", *arguments),
            cwd=folder,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def status(folder: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads((folder / "status.json").read_text())
    except FileNotFoundError:
        return []
    return found


def behind(bootstrap_servers: str, topic: str) -> int:
    return lag.progress(bootstrap_servers, {topic: f"group-{topic}"})[topic].lag


def described(topic: str, **more: Any) -> dict[str, Any]:
    return {
        "UUID": f"mapping-of-{topic}",
        "Topics": [topic],
        "FunctionArn": "counts",
        "EventSourceArn": "arn:aws:kafka:eu-north-1:000000000000:cluster/c/1",
        "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": f"group-{topic}"},
        **more,
    }


def test_a_copy_delivers_commits_and_ends(lifted: Path, bootstrap_servers: str) -> None:
    """Mappings from a file, which is changed while it runs; SIGTERM ends it with 0, and nothing is uncommitted."""
    publish(bootstrap_servers, [Event("essays", b"%d" % n, b"%d" % n) for n in range(50)])
    (lifted / "mappings.json").write_text(json.dumps([described("essays")]))
    arguments = ("--bootstrap-servers", bootstrap_servers, "--mappings", "mappings.json")
    with (
        serving(LambdaEndpoint({"counts": lambda _: None})) as endpoint,
        polling(lifted, *arguments, "--endpoint-url", endpoint.url, "--status", "status.json") as process,
    ):
        until(lambda: behind(bootstrap_servers, "essays") == 0, "all delivered and committed")
        assert len(endpoint.items) == len(set(endpoint.items)) == 50
        assert {event["eventSource"] for event in endpoint.events} == {"aws:kafka"}

        publish(bootstrap_servers, [Event("late", b"x", partition=0)])
        (lifted / "mappings.json").write_text(json.dumps([described("essays"), described("late")]))
        until(lambda: ("late-0", 0) in endpoint.items, "the mapping that was added")
        until(lambda: behind(bootstrap_servers, "late") == 0, "and its commit")
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 0

    assert {entry["topic"]: (entry["delivered"], entry["problem"]) for entry in status(lifted)} == {
        "essays": (50, ""),
        "late": (1, ""),
    }
    assert (lifted / "status.json").stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in (lifted / "log").read_text()


def test_a_copy_lists_its_mappings_from_lambda(lifted: Path, bootstrap_servers: str) -> None:
    """An invocation that runs when SIGTERM comes is waited for and committed."""
    publish(bootstrap_servers, [Event("late", b"y", partition=1)])
    begun = threading.Event()

    def slow(_: dict[str, Any]) -> None:
        begun.set()
        time.sleep(1)

    endpoint = LambdaEndpoint({"counts": slow}, pages=[[described("late", BatchSize=1)]])
    with (
        serving(endpoint),
        polling(
            lifted, "--bootstrap-servers", bootstrap_servers, "--from-lambda", "--endpoint-url", endpoint.url
        ) as process,
    ):
        until(begun.is_set, "the function has the record")
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 0
    assert ("late-1", 0) in endpoint.items
    assert behind(bootstrap_servers, "late") == 0


def test_what_a_copy_would_retry_when_it_ends_is_read_again(lifted: Path, bootstrap_servers: str) -> None:
    """At least once: without an outcome nothing is committed, and the end does not wait for one."""
    publish(bootstrap_servers, [Event("stuck", b"y", partition=0)])
    broken = True

    def fails(_: dict[str, Any]) -> None:
        if broken:
            raise ValueError("not today")

    (lifted / "stuck.json").write_text(json.dumps([described("stuck")]))
    arguments = ("--bootstrap-servers", bootstrap_servers, "--mappings", "stuck.json", "--endpoint-url")
    with serving(LambdaEndpoint({"counts": fails})) as endpoint:
        with polling(lifted, *arguments, endpoint.url) as process:
            until(lambda: len(endpoint.items) >= 2, "tried and tried again")
            process.send_signal(signal.SIGTERM)

            assert process.wait(30) == 0
        assert behind(bootstrap_servers, "stuck") == 1

        broken = False
        with polling(lifted, *arguments, endpoint.url) as process:
            until(lambda: behind(bootstrap_servers, "stuck") == 0, "taken at last")

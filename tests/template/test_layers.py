"""The layers as they are really built: for Lambda's platform and for this machine, without Docker."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra import layers
from infra.layers import (
    LayerError,
    Target,
    build_client,
    build_code,
    build_dependencies,
    check_platform,
    check_size,
)

if TYPE_CHECKING:
    from pathlib import Path

LAMBDA = Target("3.13", "arm64")


def names(layer: Path) -> set[str]:
    return {path.name for path in (layer / "python").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer for Lambda, built from nothing."""
    return build_dependencies(LAMBDA, build=tmp_path_factory.mktemp("layers"))


def test_layer_for_lambda_has_the_wheels_of_its_platform(built: Path) -> None:
    """Compiled extensions are for arm64 and Python 3.13, though this machine is neither."""
    extensions = sorted(path.name for path in built.rglob("*.so"))

    assert any(name.startswith("_pydantic_core.cpython-313-aarch64") for name in extensions)
    check_platform(built / "python", LAMBDA)
    with pytest.raises(LayerError, match="is built for ELF machine 183"):
        check_platform(built / "python", Target("3.13", "x86_64"))
    with pytest.raises(LayerError, match=r"not built for Python 3\.12"):
        check_platform(built / "python", Target("3.12", "arm64"))


def test_layer_is_small_and_holds_what_functions_import(built: Path) -> None:
    """The pinned SDK travels too, so that the managed runtime's own version never matters."""
    assert {
        "aws_lambda_powertools",
        "boto3",
        "botocore",
        "pydantic",
        "pydantic_core",
        "aws_xray_sdk",
    } <= names(built)
    assert check_size([built, layers.SHARED]) < 40 * 1024 * 1024


def test_layer_leaves_out_what_functions_never_need(built: Path) -> None:
    """No caches (they would differ each time), stubs, tests, scripts, or service models of other services."""
    files = [path for path in built.rglob("*") if path.is_file()]

    assert not [path for path in files if path.suffix in {".pyc", ".pyi"} or "__pycache__" in path.parts]
    assert not names(built) & {"bin", "tests", ".lock"}
    models = {path.name for path in (built / "python/botocore/data").iterdir() if path.is_dir()}
    assert models == set(layers.BOTOCORE_SERVICES)
    assert {path.name for path in files if ".dist-info" in str(path)} == {"METADATA"}


def test_building_again_makes_the_same_files(built: Path, tmp_path: Path) -> None:
    """The asset's hash is the folder's name, so the same name must mean the same content."""
    again = build_dependencies(LAMBDA, build=tmp_path)

    assert again.name == built.name
    assert _digest(again) == _digest(built)


def test_second_build_costs_nothing(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that is there is used as it is."""
    monkeypatch.setattr(layers, "_install", lambda *_: pytest.fail("built again"))

    assert build_dependencies(LAMBDA, build=built.parent) == built


def test_code_with_its_layers_in_it_is_one_asset(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is nearer to the function wins, the name tells the content, and Lambda's limit holds for it too."""
    code = build_code("query", built, LAMBDA, build=tmp_path)
    assert {"handler.py", "result_aggregator", "pydantic", "boto3"} <= {path.name for path in code.iterdir()}
    assert (code / "handler.py").read_bytes() == (layers.FUNCTIONS / "query/handler.py").read_bytes()
    assert build_code("query", built, LAMBDA, build=tmp_path) == code
    assert build_code("ingest_essays", built, LAMBDA, build=tmp_path) != code
    monkeypatch.setattr(layers, "UNZIPPED_LIMIT_BYTES", 1024 * 1024)

    with pytest.raises(LayerError, match="Lambda allows"):
        build_code("query", built, LAMBDA, build=tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


def test_layer_for_this_machine_works(tmp_path: Path) -> None:
    """The local stage's layer imports in a bare interpreter, and the kept service models are enough."""
    layer = build_dependencies(Target.host(), build=tmp_path)
    code = (
        "import boto3, pydantic, aws_lambda_powertools, sys;"
        "from aws_lambda_powertools import Logger, Metrics, Tracer;"
        "[boto3.client(name, region_name='eu-north-1') for name in ('dynamodb', 's3', 'sts')];"
        "print(boto3.__file__, pydantic.BaseModel.__module__)"
    )
    # -S: without this project's own packages, -I would drop PYTHONPATH with them.
    environment = {**os.environ, "PYTHONPATH": str(layer / "python"), "POWERTOOLS_TRACE_DISABLED": "true"}
    result = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(layer))


@pytest.fixture(scope="module")
def client_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer for other teams, built from nothing."""
    return build_client(LAMBDA, build=tmp_path_factory.mktemp("client-layer"))


def test_client_layer_holds_the_client_and_leaves_botocore_to_the_runtime(client_layer: Path) -> None:
    """A second botocore would shadow the function's own; without compiled code it serves every architecture."""
    files = [path for path in client_layer.rglob("*") if path.is_file()]

    assert {"result_aggregator_client", "httpx2", "anyio"} <= names(client_layer)
    assert not names(client_layer) & {"botocore", "boto3", "urllib3"}
    assert not [path for path in files if ".so" in path.suffixes or "__pycache__" in path.parts]
    assert (client_layer / "python/result_aggregator_client/py.typed").is_file()
    assert check_size([client_layer]) < 5 * 1024 * 1024


def test_client_layer_works_beside_the_runtimes_botocore(client_layer: Path, built: Path) -> None:
    """Both clients can be made, with what the layer and a runtime hold and nothing else."""
    code = (
        "import result_aggregator_client as client, httpx2, botocore, asyncio;"
        "client.ResultAggregatorClient('https://example.com/prod').close();"
        "asyncio.run(client.AsyncResultAggregatorClient('https://example.com/prod').close());"
        "print(client.__file__, httpx2.__file__, botocore.__file__, sep='\\n')"
    )
    paths = [str(client_layer / "python"), str(built / "python")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    where = result.stdout.splitlines()
    assert [line.startswith(path) for line, path in zip(where, [paths[0], *paths], strict=True)] == [True] * 3


def test_a_change_of_the_client_is_another_layer(
    client_layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its pins are the same."""
    package = tmp_path / "result_aggregator_client"
    shutil.copytree(layers.CLIENT_PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "errors.py").open("a") as file:
        file.write("# a change\n")
    monkeypatch.setattr(layers, "CLIENT_PACKAGE", package)
    monkeypatch.setattr(layers, "_install", lambda *_: None)

    assert build_client(LAMBDA, build=tmp_path / "out").name != client_layer.name


def test_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    """A half layer must never get a whole one's name."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("six==1.17.0 --hash=sha256:" + "0" * 64 + "\n")
    build = tmp_path / "layers"

    with pytest.raises(LayerError, match=r"installing requirements\.txt"):
        build_dependencies(LAMBDA, requirements=requirements, build=build)
    assert list(build.iterdir()) == []


def test_pins_and_target_decide_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another pin, another architecture or another Python is another layer."""

    def pretend(_requirements: Path, _target: Target, packages: Path) -> None:
        for package in ("boto3", "botocore"):
            (packages / package / "data").mkdir(parents=True)

    monkeypatch.setattr(layers, "_install", pretend)
    requirements = tmp_path / "requirements.txt"
    made = set()
    for pins in ("a==1", "a==2"):
        requirements.write_text(pins)
        for target in (LAMBDA, Target("3.14", "arm64"), Target("3.13", "x86_64"), Target.host()):
            made.add(build_dependencies(target, requirements=requirements, build=tmp_path / "out").name)

    assert len(made) == 8


def test_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda refuses more than 250 MB unzipped, all layers together."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 60)
    monkeypatch.setattr(layers, "UNZIPPED_LIMIT_BYTES", 100)

    assert check_size([tmp_path / "one"]) == 60
    with pytest.raises(LayerError, match="120 bytes unzipped; Lambda allows 100"):
        check_size([tmp_path / "one", tmp_path / "two"])


def test_pip_serves_where_uv_is_missing() -> None:
    """The options that pip takes for the same platform."""
    options = layers._platform_options(LAMBDA, uv=False)

    assert "--platform=manylinux2014_aarch64" in options
    assert "--platform=manylinux_2_28_aarch64" in options


def _digest(layer: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(layer.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(layer)).encode() + path.read_bytes())
    return digest.hexdigest()

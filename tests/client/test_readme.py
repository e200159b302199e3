"""The client's README, read as a new user would: its examples type-check strictly, and do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import time as clock
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import result_aggregator_client
from opentelemetry import trace

from tests.client.answers import error, status
from tests.client.conftest import REGION
from tests.client.server import HANG_UP, Server
from tests.client.test_credentials import container_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.conftest import Client

PACKAGE = Path(__file__).parents[2] / "layers/client"
README = (PACKAGE / "README.md").read_text(encoding="utf-8")


def example(section: str) -> str:
    """The last Python example of a section."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    found: list[str] = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return found[-1]


@pytest.mark.slow
def test_examples_type_check_strictly(tmp_path: Path) -> None:
    """By mypy, with nothing of this repository's settings; the example of a gateway service too."""
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    files = []
    for number, block in enumerate(blocks):
        files.append(tmp_path / f"example_{number}.py")
        files[-1].write_text(block, encoding="utf-8")
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            "",
            *files,
            PACKAGE / "examples/gateway_service.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout) == (
        0,
        f"Success: no issues found in {len(files) + 1} source files\n",
    )


@pytest.mark.usefixtures("no_aws")
def test_waiting_survives_an_outage_and_a_refresh(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a container's credentials that end soon, a 503 that outlasts the retries, and a lost connection."""
    waited: list[float] = []
    monkeypatch.setattr(sys, "argv", ["wait.py", "b", "u"])
    monkeypatch.setenv("RESULT_AGGREGATOR_URL", server.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    under_way: dict[str, Any] = {"overall_status": "PROCESSING", "completed_essay_count": 1}
    server.lay_out(
        status("e", **under_way),
        *[error(503, "unavailable")] * 4,
        HANG_UP,
        status("e", **under_way),
        status("e", overall_status="PARTIALLY_COMPLETED", completed_essay_count=2),
    )
    with Server() as issuer:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.url)
        issuer.lay_out(
            container_keys("FIRST", timedelta(minutes=5)), container_keys("SECOND", timedelta(hours=1))
        )
        program = compile(example("Wait for a batch to end"), "wait.py", "exec")
        # Its own waits only: the client has its pause from before.
        monkeypatch.setattr(clock, "sleep", waited.append)
        exec(program, {"__name__": "__main__"})  # noqa: S102 - the README's own

    assert capsys.readouterr().out.splitlines() == [
        "PROCESSING: 1 of 3 essays",
        "not now (unavailable), asking again",
        "PROCESSING: 1 of 3 essays",
        "PARTIALLY_COMPLETED: 2 of 3 essays",
        "PARTIALLY_COMPLETED",
    ]
    assert waited == [5, 5, 5]
    keys = [re.findall(r"Credential=(\w+)/", asked.headers["authorization"])[0] for asked in server.asked]
    assert len(issuer.asked) == 2
    assert keys[-1] == "SECOND"


def test_spans_by_opentelemetry(make_client: Callable[..., Client], server: Server) -> None:
    """A span of a caller goes on through the request's `traceparent`."""
    names: dict[str, Any] = {}
    exec(compile(example("Options"), "span.py", "exec"), names)  # noqa: S102 - the README's own
    names["results"].close()
    server.lay_out(HANG_UP, status("e"))
    context = trace.SpanContext(
        0x0AF7651916CD43DD8448EB211C80319C,
        0xB7AD6B7169203331,
        is_remote=False,
        trace_flags=trace.TraceFlags(1),
    )
    with trace.use_span(trace.NonRecordingSpan(context)):
        make_client(around=names["span"]).get_batch_status("b")

    assert [asked.headers["traceparent"] for asked in server.asked] == [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ] * 2


def test_the_changelog_has_this_version() -> None:
    """First."""
    changes = (PACKAGE / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.findall(r"^## (.*)$", changes, re.MULTILINE)[0] == result_aggregator_client.__version__


def test_every_method_and_error_is_in_the_readme() -> None:
    """By name."""
    exported = [name for name in result_aggregator_client.__all__ if name.endswith("Error")]
    methods = [
        name for name in vars(result_aggregator_client.ResultAggregatorClient) if not name.startswith("_")
    ]

    missing = {name for name in [*exported, *methods] if not re.search(rf"\b{name}\b", README)}
    assert missing <= {"close", "RefusedError"}  # the base of the refusals

"""The whole stack, from the command line, in a shell whose settings would lead all of it elsewhere."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.ops.made import SPELLCHECK

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-c", "from ras.start import main; main()"]


@pytest.mark.usefixtures("embedded_emulator")
def test_a_shells_proxy_profile_and_encoding_lead_nothing_elsewhere(tmp_path: Path) -> None:
    """Nothing listens at the proxy, there is no such profile, and the terminal shows ASCII only."""
    nothing_there = "http://127.0.0.1:9"
    config = tmp_path / "config"
    config.write_text("this is [no configuration\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        **dict.fromkeys(
            ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nothing_there
        ),
        "AWS_PROFILE": "no-such-profile",
        "AWS_CONFIG_FILE": str(config),
        "PYTHONIOENCODING": "ascii",
        "RAS_STATE_DIR": str(tmp_path / "stack"),
        "COLUMNS": "200",
    }

    def ras(*arguments: str, code: int = 0, **given: Any) -> str:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
            **given,
        )
        assert done.returncode == code, done.stdout
        assert "Traceback" not in done.stdout
        said: str = done.stdout
        return said

    try:
        ras("up")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(json.dumps({"topic": SPELLCHECK, "value": "no event"}).encode() + b"\n")
            ours.shutdown(socket.SHUT_WR)
            assert "consumed" in ras("publish", "-", "--wait", stdin=theirs)
        assert json.loads(ras("status", "--json"))["dead_letters"]["rejected"] == 1
        assert "not_json" in ras("dead-letters", "list")
        assert "404" in ras("query", "/internal/v1/batches/none/status", code=1)
        assert "1 rejected again" in ras("dead-letters", "replay", "--yes", code=1)
        begun = time.monotonic()
    finally:
        ras("down")

    assert time.monotonic() - begun < 30, "10 s on a quiet machine"

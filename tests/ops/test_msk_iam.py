"""How long a token for MSK holds: not longer than the credentials that it was signed with."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from ras.kafka.msk_iam import msk_iam

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile whose program gives credentials; the file says how many seconds they hold, or nothing."""
    seconds = tmp_path / "seconds"
    program = tmp_path / "program.py"
    program.write_text(
        "import datetime, json, pathlib\n"
        f"seconds = pathlib.Path({str(seconds)!r}).read_text()\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        'found = {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "secret", "SessionToken": "session"}\n'
        "if seconds:\n"
        '    found["Expiration"] = (now + datetime.timedelta(seconds=float(seconds))).isoformat()\n'
        "print(json.dumps(found))\n"
    )
    config = tmp_path / "config"
    config.write_text(f"[profile of-a-program]\ncredential_process = {sys.executable} {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return seconds


@pytest.mark.parametrize(("seconds", "at_most"), [("660", 660), ("3600", 900), ("", 900)])
def test_a_token_ends_with_its_credentials(profile: Path, seconds: str, at_most: int) -> None:
    """Or after 900 s, whichever comes first; a little before, so that it is renewed in time."""
    profile.write_text(seconds)
    before = time.time()
    token, expires = msk_iam("eu-north-1", "of-a-program")["oauth_cb"]("")
    after = time.time()

    assert token
    assert 0.8 * at_most <= expires - after
    assert expires - before < 0.95 * at_most


def test_credentials_that_were_renewed_give_a_token_that_holds_longer(profile: Path) -> None:
    """The client asks again before the token ends, and the SDK renews what is about to expire."""
    profile.write_text("30")
    settings = msk_iam("eu-north-1", "of-a-program")
    first = settings["oauth_cb"]("")[1]
    profile.write_text("3600")

    assert first - time.time() < 30
    assert settings["oauth_cb"]("")[1] - time.time() > 600

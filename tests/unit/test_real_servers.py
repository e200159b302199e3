"""Where the tests find what they do not install, and what they say where it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import real_servers

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, name: str) -> Path:
    made = folder / name
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    return made


def test_any_chromium_will_do_and_debians_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    googles = program(tmp_path, "google-chrome")

    assert real_servers.require_chromium() == googles
    debians = program(tmp_path, "chromium")
    assert real_servers.require_chromium() == debians


@pytest.mark.parametrize(("ci", "ending"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_one_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, ending: type[BaseException]
) -> None:
    """A failure in CI, a test that is skipped elsewhere."""
    monkeypatch.setattr(real_servers, "_missing", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)

    with pytest.raises(ending, match="apt-get install chromium"):
        real_servers.require_chromium()

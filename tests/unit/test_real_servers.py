"""What the tests say where something is missing that they do not install."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import real_servers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("ci", "ending"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_without_a_browser_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, ending: type[BaseException]
) -> None:
    """A failure in CI, a test that is skipped elsewhere."""
    monkeypatch.setattr(real_servers, "_missing", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)

    with pytest.raises(ending, match="apt-get install chromium"):
        real_servers.require_chromium()

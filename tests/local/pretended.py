"""Programs that only pretend, and servers that they pretend to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ras_local.servers import fetched

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def install(folder: Path, name: str, script: str = "") -> None:
    """Write a shell script of this name; it finds nothing but itself and its neighbours on the path."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def no_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path, empty; pins and fetched servers are under `tmp_path`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(fetched, "PINS", tmp_path / "servers")
    monkeypatch.setattr(fetched, "FETCHED", tmp_path / "fetched")
    return folder


def left_behind() -> list[str]:
    """What is stored in the folder of fetched servers, except locks."""
    if not fetched.FETCHED.exists():
        return []
    return sorted(path.name for path in fetched.FETCHED.iterdir() if path.suffix != ".lock")

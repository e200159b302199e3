"""A pytest plugin (`-p`): no server has been fetched or built yet, whatever this machine has already."""

from __future__ import annotations

from ras_local.servers import fetched


def pytest_configure() -> None:
    fetched.FETCHED = fetched.FETCHED / "nothing"

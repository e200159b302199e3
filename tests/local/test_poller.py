"""The process that polls for the stack: what it reads from the environment and of the deployed mappings."""

from __future__ import annotations

import pytest
from ras.errors import StackError
from ras_local.mapping import Nulls
from ras_local.poller import nulls_from_environment


def test_the_setting_for_nulls_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """RAS_NULLS: absent unless somebody asks for the other form; a typing error is told."""
    assert nulls_from_environment() is Nulls.ABSENT
    monkeypatch.setenv("RAS_NULLS", "alternate")
    assert nulls_from_environment() is Nulls.ALTERNATE
    monkeypatch.setenv("RAS_NULLS", "nil")
    with pytest.raises(StackError, match="RAS_NULLS='nil' is unknown"):
        nulls_from_environment()

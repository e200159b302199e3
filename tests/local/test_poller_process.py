"""The process that polls for the stack: what it reads from the environment and of the deployed mappings."""

from __future__ import annotations

import pytest
from ras.aws import Cloud
from ras.deployed_mappings import DeployedMapping, DeployedMappings
from ras.errors import SettingError
from ras_local.mapping import MappingSettings, MappingsUnknownError, Nulls
from ras_local.poller_process import deployed, limit_from_environment, nulls_from_environment


def test_the_setting_for_nulls_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """RAS_NULLS: absent unless somebody asks for the other form; a typing error is told."""
    assert nulls_from_environment() is Nulls.ABSENT
    monkeypatch.setenv("RAS_NULLS", "alternate")
    assert nulls_from_environment() is Nulls.ALTERNATE
    monkeypatch.setenv("RAS_NULLS", "nil")
    with pytest.raises(SettingError, match="RAS_NULLS='nil' is unknown"):
        nulls_from_environment()


def test_the_limit_of_invocations_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """RAS_FUNCTION_CONCURRENCY: two unless somebody says otherwise; none at all is told."""
    assert limit_from_environment() == 2
    monkeypatch.setenv("RAS_FUNCTION_CONCURRENCY", "5")
    assert limit_from_environment() == 5
    monkeypatch.setenv("RAS_FUNCTION_CONCURRENCY", "0")
    with pytest.raises(SettingError, match="RAS_FUNCTION_CONCURRENCY=0 is too small"):
        limit_from_environment()


def test_settings_are_those_of_the_deployed_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything that Lambda answers, not what operators' commands use of it alone."""
    described = {"UUID": "one", "Topics": ["t"], "FunctionArn": "f", "BatchSize": 7}
    monkeypatch.setattr(DeployedMappings, "read", lambda _: [DeployedMapping.from_api(described)])

    assert deployed(Cloud("http://127.0.0.1:1", "eu-north-1"))() == [
        MappingSettings("one", "t", "f", consumer_group_id="one", batch_size=7)
    ]


def test_a_mapping_that_lambda_would_never_answer_leaves_what_runs_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    described = {"UUID": "one", "Topics": ["t"], "FunctionArn": "f", "BatchSize": "many"}
    monkeypatch.setattr(DeployedMappings, "read", lambda _: [DeployedMapping.from_api(described)])

    with pytest.raises(MappingsUnknownError, match="mapping one: "):
        deployed(Cloud("http://127.0.0.1:1", "eu-north-1"))()


def test_an_emulator_that_does_not_answer_leaves_what_runs_running() -> None:
    """The package's own error: the poller goes on with the mappings that it knows."""
    with pytest.raises(MappingsUnknownError, match="Could not connect"):
        deployed(Cloud("http://127.0.0.1:1", "eu-north-1", retries=1))()

"""Settings as the CDK command line gives them, and as a deployment tells them again."""

from __future__ import annotations

import json

import pytest

from infra.context import as_context, load_settings, passed_over
from tests.template.given import ACCOUNT, CLUSTER_ARN, GIVEN_VPC, NEW_CLUSTER, STAGES
from tests.template.given import context as shipped_context


def test_default_stage_is_dev() -> None:
    """Who names no stage gets the one that does the least harm."""
    assert load_settings({}, {}).stage == "dev"


def test_account_and_region_come_from_the_environment() -> None:
    """The CDK command line passes on the account and region of the credentials in use."""
    settings = load_settings(
        {"stage": "prod", **NEW_CLUSTER["prod"]},
        {"CDK_DEFAULT_ACCOUNT": ACCOUNT, "CDK_DEFAULT_REGION": "eu-west-1"},
    )

    assert (settings.account, settings.region) == (ACCOUNT, "eu-west-1")


def test_command_lines_fallback_region_is_not_a_choice() -> None:
    """us-east-1 counts only where somebody said it: the CDK command line also says it when nobody did."""
    guessed = {"CDK_DEFAULT_REGION": "us-east-1"}

    assert load_settings({}, guessed).region == "eu-north-1"
    assert load_settings({}, {**guessed, "AWS_REGION": "us-east-1"}).region == "us-east-1"
    assert load_settings({"region": "us-east-1"}, guessed).region == "us-east-1"


def test_a_region_that_does_not_count_is_told() -> None:
    """Whoever meant us-east-1 by their profile is not left to find the stage elsewhere."""
    guessed = {"CDK_DEFAULT_REGION": "us-east-1"}

    assert passed_over({}, guessed).startswith("region: eu-north-1, not us-east-1")
    assert passed_over({"region": "eu-west-1"}, guessed) == ""
    assert passed_over({}, {**guessed, "AWS_REGION": "us-east-1"}) == ""
    assert passed_over({}, {"CDK_DEFAULT_REGION": "eu-west-1"}) == ""
    assert passed_over({}, {}) == ""


def test_context_wins_over_preset_and_environment() -> None:
    """What is said on the command line holds."""
    context = {
        "stage": "local",
        "retries": "7",
        "tracing": "true",
        "account": ACCOUNT,
        "log_retention_days": "90",
    }

    settings = load_settings(context, {"CDK_DEFAULT_ACCOUNT": "999999999999"})

    assert (settings.retries, settings.tracing, settings.account) == (7, True, ACCOUNT)
    assert settings.log_retention_days == 90


def test_structured_settings_come_as_json() -> None:
    """`cdk -c` can only give text."""
    settings = load_settings({"callers": json.dumps({"gateway": "platform-gateway"})}, {})

    assert settings.callers == {"gateway": "platform-gateway"}


def test_keys_of_the_cdk_are_not_settings() -> None:
    """The context also holds feature flags and what the command line adds."""
    load_settings(
        {
            "@aws-cdk/core:checkSecretUsage": True,
            "aws:cdk:enable-path-metadata": True,
            "cli-telemetry": 0,
            "acknowledged-issue-numbers": [1],
        },
        {},
    )


def test_shipped_context_holds_no_unknown_setting() -> None:
    """`cdk.json` itself never trips the check for unknown settings."""
    load_settings(shipped_context(), {})


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_was_given_nothing_tells_its_region(stage: str) -> None:
    """Presets and defaults come by themselves; the region would be that of whoever deploys next."""
    cluster = NEW_CLUSTER.get(stage, {})
    settings = load_settings(
        {"stage": stage, **cluster}, {"CDK_DEFAULT_ACCOUNT": ACCOUNT, "AWS_REGION": "eu-west-1"}
    )

    assert as_context(settings) == {"region": "eu-west-1", **cluster}


@pytest.mark.parametrize(
    "given",
    [
        {"cluster_arn": CLUSTER_ARN, "vpc": GIVEN_VPC, "retries": "7"},
        {"log_retention_days": "30", "tracing": "false", "snap_start": "false", "runtime": "python3.11"},
        {
            "callers": '{"gateway": "platform-gateway"}',
            "alarm_emails": '["a@example.com", "b@example.com"]',
            "runbook_url": "https://wiki.example.com/ras",
        },
        {"new_cluster": "provisioned", "topic_partitions": "12", "region": "eu-west-1"},
        {"topic_batching": '{"huleedu.essay.nlp.completed.v1": {"batch_size": 10, "window_seconds": 0}}'},
        {
            "table_generation": "2",
            "second_generation": "1",
            "write_second": "false",
            "ingest_concurrency": "3",
        },
    ],
)
def test_settings_can_be_given_again(given: dict[str, str]) -> None:
    """What a deployment tells of itself makes the same one again, with the generations that are told apart."""
    cluster = {} if "cluster_arn" in given else NEW_CLUSTER["prod"]
    settings = load_settings({"stage": "prod", **cluster, **given}, {"AWS_REGION": "eu-north-1"})
    again = as_context(settings)

    assert set(again) | {"table_generation", "second_generation", "write_second"} >= set(given)
    generations = {name: given[name] for name in given if name not in again}
    assert load_settings({"stage": "prod", **again, **generations}, {}) == settings

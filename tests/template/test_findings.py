"""cdk-nag's AwsSolutions rules on every stage that goes to AWS: nothing is found that nobody gave a reason for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_s3 as s3

from infra.findings import acknowledge
from tests.template.synth import CLUSTER_ARN, GIVEN_VPC, Assembly, assembly, findings

if TYPE_CHECKING:
    from pathlib import Path

REASON = "Nobody may know, as this bucket is in a test."


def test_stages_have_no_unexplained_finding(aws_stage: Assembly) -> None:
    """Errors and warnings alike, of cdk-nag and of the CDK itself."""
    assert aws_stage.findings == []


@pytest.mark.parametrize(
    "settings",
    [
        {"new_cluster": "provisioned", "alarm_emails": '["on-call@example.com"]'},
        {"mapping_mode": "on_demand"},
        {"vpc": GIVEN_VPC, "cluster_arn": CLUSTER_ARN, "on_failure_topic": "ras.given-up"},
    ],
    ids=["provisioned cluster", "on-demand mappings", "given network"],
)
def test_other_ways_to_deploy_have_none_either(settings: dict[str, Any]) -> None:
    """What settings add or replace is held to the same rules."""
    assert assembly("prod", **settings).findings == []


def test_findings_are_seen(tmp_path: Path) -> None:
    """The check above does see what is wrong, and an acknowledgement covers its own construct and rule only."""
    app = App(outdir=str(tmp_path), builtin_cloud_formation_validation=False)
    stack = Stack(app, "Example")
    acknowledge(s3.Bucket(stack, "One", enforce_ssl=True), "S1", REASON)
    s3.Bucket(stack, "Other")

    assert findings(app, tmp_path) == [
        "AwsSolutions-S1 Example/Other/Resource",
        "AwsSolutions-S10 Example/Other/Resource",
    ]


def test_nothing_is_acknowledged_for_a_whole_stack(prod: Assembly) -> None:
    """Each acknowledgement sits on the resource that it is about, with a reason of more than a word."""
    found = acknowledged(prod)

    assert found
    for path, rules in found.items():
        assert path.count("/") >= 2, f"{path} is a stack"
        for reason in rules.values():
            assert len(reason.split()) > 5


def acknowledged(stage: Assembly) -> dict[str, dict[str, str]]:
    """Construct path -> rule -> reason."""
    return {
        path: {
            rule: reason
            for entry in entries
            if entry["type"] == "aws:cdk:acknowledged-rules"
            for rule, reason in entry["data"].items()
        }
        for path, entries in stage.metadata.items()
        if any(entry["type"] == "aws:cdk:acknowledged-rules" for entry in entries)
    }

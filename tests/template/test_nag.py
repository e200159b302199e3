"""cdk-nag's AwsSolutions rules on every stage that goes to AWS: nothing is found that nobody gave a reason for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk import aws_s3 as s3

from infra.nag import acknowledge
from tests.template.given import CLUSTER_ARN, GIVEN_VPC, STAGES
from tests.template.synth import Assembly, assembly, examined, examined_anew, findings

if TYPE_CHECKING:
    from pathlib import Path

REASON = "Nobody may know, as this bucket is in a test."


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "local"])
def test_stages_have_no_unexplained_finding(stage: str) -> None:
    """Errors and warnings alike, of cdk-nag and of the CDK itself."""
    assert examined(stage)[1] == []


@pytest.mark.parametrize(
    "settings",
    [
        {
            "new_cluster": "provisioned",
            "alarm_emails": '["on-call@example.com"]',
            "runbook_url": "https://wiki/x",
        },
        {"mapping_mode": "on_demand", "operator_endpoints": True},
        {"vpc": GIVEN_VPC, "cluster_arn": CLUSTER_ARN, "on_failure_topic": "ras.given-up"},
        {"github_repository": "huleedu/result-aggregator"},
        {"second_generation": 2},
        {"table_generation": 2, "second_generation": 1},
        {"table_generation": 2, "second_generation": 1, "write_second": "false"},
        {"table_generation": 2},
    ],
    ids=[
        "provisioned cluster",
        "on-demand mappings, operators",
        "given network",
        "GitHub roles",
        "second table is filled",
        "second table is read",
        "first table is left",
        "second table alone",
    ],
)
def test_other_ways_to_deploy_have_none_either(settings: dict[str, Any]) -> None:
    """What settings add or replace is held to the same rules."""
    assert examined("prod", **settings)[1] == []


def test_findings_are_seen(tmp_path: Path) -> None:
    """The check above does see what is wrong, and an acknowledgement covers its own construct and rule only."""
    app = App(outdir=str(tmp_path), builtin_cloud_formation_validation=False)
    stack = Stack(app, "Example")
    acknowledge(s3.Bucket(stack, "One", enforce_ssl=True), "S1", REASON)
    s3.Bucket(stack, "Other")

    assert findings(app) == [
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


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        ("prod", {}),
        ("prod", {"new_cluster": "provisioned", "second_generation": 2}),
        ("dev", {"vpc": GIVEN_VPC, "cluster_arn": CLUSTER_ARN, "on_failure_topic": "ras.given-up"}),
    ],
    ids=["prod", "provisioned cluster", "given network"],
)
def test_no_acknowledgement_is_for_nothing(
    stage: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each covers a finding that would be there without it, on its own construct: what is mended is acknowledged no more."""
    given = acknowledged(assembly(stage, **settings))
    monkeypatch.setattr(Validations, "acknowledge", lambda *_: None)
    _, raw = examined_anew(stage, settings)
    stale = [
        f"{path}: {rule}"
        for path, rules in given.items()
        for rule in rules
        # Those on CloudFormation's validation are the CDK's own, on what it makes itself.
        if not rule.startswith("CloudFormation-Validate::")
        and not any(covers(path, rule, finding) for finding in raw)
    ]

    assert stale == []


def covers(path: str, rule: str, finding: str) -> bool:
    """Whether an acknowledgement on a construct is about a finding, which may be on a resource inside it."""
    name, _, where = finding.partition(" ")
    return rule.removeprefix("AwsSolutions::") == name and f"/{where}/".startswith(f"{path}/")


def test_stale_acknowledgements_are_seen() -> None:
    """The check above does see another rule, and another construct."""
    finding = "AwsSolutions-S1 Stack/Bucket/Resource"

    assert covers("/Stack/Bucket", "AwsSolutions::AwsSolutions-S1", finding)
    assert not covers("/Stack/Bucket", "AwsSolutions::AwsSolutions-S10", finding)
    assert not covers("/Stack/Buck", "AwsSolutions::AwsSolutions-S1", finding)


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

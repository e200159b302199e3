"""cfn-lint: AWS's resource schemas by region, and its rules, over the templates of every stage and of what settings add."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.template.given import CLUSTER_ARN, GIVEN_VPC
from tests.template.synth import assembly

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("cfn-lint")

# What is synthesised, by a word for it: the stages, and settings whose resources no stage has by itself.
GIVEN: dict[str, tuple[str, dict[str, str]]] = {
    "local": ("local", {}),
    "dev": ("dev", {}),
    "staging": ("staging", {}),
    "prod": ("prod", {}),
    "brokers": ("prod", {"new_cluster": "provisioned", "on_failure_topic": "given-up"}),
    "given": ("prod", {"cluster_arn": CLUSTER_ARN, "vpc": GIVEN_VPC}),
    "on demand": ("prod", {"mapping_mode": "on_demand"}),
    "rebuilding": ("prod", {"second_generation": "2"}),
    "operators": (
        "staging",
        {
            "operator_endpoints": "true",
            "github_repository": "owner/name",
            "alarm_emails": '["on-call@example.com"]',
            "runbook_url": "https://wiki.example.com/ras",
        },
    ),
}

# The rule and what its message begins with -> why it stands.
ACCEPTED = {
    (
        "W3005",
        "'",
    ): "the CDK has a function wait for its role's policy and names the role beside it, which changes nothing",
    (
        "W6001",
        "The output value {'Fn::ImportValue'",
    ): "ApiEndpoint tells callers of the API what the network stack exports",
    ("E3006", "Resource type 'AWS::MSK::ServerlessCluster' does not exist in"): (
        "MSK Serverless is not in every region; docs/deploy.md says to take brokers there"
    ),
    ("E2530", "'SnapStart' enabled functions are not supported in"): (
        "snapshots are not in every region; docs/deploy.md says to switch them off there"
    ),
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Errors and warnings, in every region that cfn-lint knows."""
    folder = tmp_path_factory.mktemp("templates")
    for word, (stage, overrides) in GIVEN.items():
        for part, template in assembly(stage, **overrides).templates.items():
            (folder / f"{word.replace(' ', '-')}-{part}.json").write_text(json.dumps(template))
    return list(_lint(folder))


def _lint(folder: Path) -> Iterator[dict[str, Any]]:
    done = subprocess.run(
        [COMMAND, "--format", "json", "--regions", "ALL_REGIONS", "--", *sorted(folder.glob("*.json"))],
        capture_output=True,
        text=True,
        check=False,
    )
    # Its exit code is a sum of what it found: 2 for errors, 4 for warnings; 1 is its own failure.
    assert not done.returncode & 1, done.stderr
    yield from json.loads(done.stdout)


def _accepted(finding: dict[str, Any]) -> tuple[str, str] | None:
    return next(
        (
            (rule, beginning)
            for rule, beginning in ACCEPTED
            if finding["Rule"]["Id"] == rule and finding["Message"].startswith(beginning)
        ),
        None,
    )


def test_nothing_is_found_but_what_stands_with_its_reason(findings: list[dict[str, Any]]) -> None:
    assert [
        f"{Path(one['Filename']).name}: {one['Rule']['Id']} {one['Message']}"
        for one in findings
        if not _accepted(one)
    ] == []


def test_what_stands_is_still_found(findings: list[dict[str, Any]]) -> None:
    """An exception that is not needed any more would hide the next finding of its kind."""
    assert {_accepted(one) for one in findings} - {None} == set(ACCEPTED)


def test_a_fault_is_found(tmp_path: Path) -> None:
    """The lint sees what a schema does not allow."""
    table = {"Type": "AWS::DynamoDB::Table", "Properties": {"BillingMode": "FREE", "KeySchema": []}}
    (tmp_path / "broken.json").write_text(json.dumps({"Resources": {"Table": table}}))

    assert {one["Rule"]["Id"] for one in _lint(tmp_path)} & {"E3030"}

"""Whom the workflows are in AWS: what a deployment may, what a pull request may, and which job is which."""

from __future__ import annotations

from typing import Any

import pytest

from infra.github import AUDIENCE, ISSUER
from infra.settings import SettingsError, load_settings
from tests.template.policies import allows
from tests.template.synth import ACCOUNT, REGION, Assembly, assembly
from tests.unit.test_workflows import workflow

REPOSITORY = "huleedu/result-aggregator"
ROLE, POLICY, PROVIDER = "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::OIDCProvider"
BOOTSTRAP = f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-{{}}-role-{ACCOUNT}-{REGION}"


def stage(**settings: Any) -> Assembly:
    return assembly("prod", github_repository=REPOSITORY, **settings)


def role(name: str) -> dict[str, Any]:
    (found,) = (
        one for one in stage().properties("github", ROLE) if one["RoleName"] == f"ras-prod-github-{name}"
    )
    return found


def rights(name: str) -> list[dict[str, Any]]:
    """The statements of a role's policy."""
    (logical_id,) = (
        key
        for key, found in stage().resources("github", ROLE).items()
        if found["Properties"]["RoleName"] == f"ras-prod-github-{name}"
    )
    (policy,) = (
        found["Properties"]
        for found in stage().resources("github", POLICY).values()
        if found["Properties"]["Roles"] == [{"Ref": logical_id}]
    )
    statements: list[dict[str, Any]] = stage().resolve("github", policy["PolicyDocument"]["Statement"])
    return statements


@pytest.mark.parametrize(
    ("name", "file"), [("deploy", "deploy-stage.yml"), ("diff", "diff.yml")], ids=["deploy", "diff"]
)
def test_a_role_is_for_the_jobs_of_one_environment(name: str, file: str) -> None:
    """The one that the workflow's job names; GitHub writes it into the token's subject."""
    (job,) = workflow(file)["jobs"].values()
    environment = (
        job["environment"].replace("${{ inputs.stage }}", "prod").replace("${{ matrix.stage }}", "prod")
    )
    (trust,) = role(name)["AssumeRolePolicyDocument"]["Statement"]

    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            f"{ISSUER}:aud": AUDIENCE,
            f"{ISSUER}:sub": f"repo:{REPOSITORY}:environment:{environment}",
        }
    }


def test_a_pull_request_reads_templates_and_nothing_else() -> None:
    """Its own code runs with these rights. Bootstrap's lookup role would read nearly all of the account."""
    (statement,) = rights("diff")
    assert set(statement["Action"]) == {"cloudformation:DescribeStacks", "cloudformation:GetTemplate"}

    arn = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{{}}/0a1b2c3d"
    for own in ("ras-prod-data", "ras-prod-a-new-one"):
        assert allows([statement], "cloudformation:GetTemplate", arn.format(own))
    for other in ("ras-staging-data", "CDKToolkit", "platform-ras-prod-data"):
        assert not allows([statement], "cloudformation:GetTemplate", arn.format(other))
    assert "ManagedPolicyArns" not in role("diff")


def test_a_deployment_goes_by_bootstraps_roles() -> None:
    """And has no rights beside, so that whoever bootstrapped decides what it may make."""
    (statement,) = rights("deploy")

    assert statement["Action"] == "sts:AssumeRole"
    assert set(statement["Resource"]) == {
        BOOTSTRAP.format(part) for part in ("deploy", "file-publishing", "lookup")
    }
    assert "ManagedPolicyArns" not in role("deploy")


def test_the_accounts_provider_is_made_once() -> None:
    """A second stage in the account says that there is one; it stays when the stage goes, as others use it."""
    (made,) = stage().resources("github", PROVIDER).values()
    assert made["Properties"]["Url"] == f"https://{ISSUER}"
    assert made["Properties"]["ClientIdList"] == [AUDIENCE]
    assert made["DeletionPolicy"] == "Retain"

    second = stage(github_provider="false")
    assert second.resources("github", PROVIDER) == {}
    for found in second.properties("github", ROLE):
        (trust,) = found["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"}


def test_it_stands_alone() -> None:
    """It can be deployed before everything else, and nothing is made for whoever does not use GitHub."""
    assert "Fn::ImportValue" not in str(stage().templates["github"])
    assert stage().outputs("github").keys() == {"DeployRoleArn", "DiffRoleArn"}
    assert stage().findings == []
    assert "github" not in assembly("prod").templates


@pytest.mark.parametrize("repository", ["result-aggregator", "a/b/c", "huleedu/*", "huleedu/x:ref", "/x"])
def test_a_repository_is_named_in_full(repository: str) -> None:
    """A pattern would let in others."""
    with pytest.raises(SettingsError, match="github_repository"):
        load_settings({"stage": "prod", "github_repository": repository}, {})

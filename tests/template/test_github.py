"""Whom the workflows are in AWS: what a deployment may, what a pull request may, and which job is which."""

from __future__ import annotations

from typing import Any

import pytest

from infra.context import load_settings
from infra.github import AUDIENCE, ISSUER
from infra.settings import SettingsError
from tests.template.given import ACCOUNT, REGION
from tests.template.policies import Statement, allows, assumes
from tests.template.synth import Assembly, assembly
from tests.unit.test_workflows import workflow

REPOSITORY = "huleedu/result-aggregator"
IMMUTABLE = "huleedu@1234/result-aggregator@56789"
ROLE, POLICY, PROVIDER = "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::OIDCProvider"
BOOTSTRAP = f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-{{}}-role-{ACCOUNT}-{REGION}"


ACCOUNTS_PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"


def stage(**settings: Any) -> Assembly:
    return assembly("prod", **{"github_repository": REPOSITORY, **settings})


def role(name: str, **settings: Any) -> dict[str, Any]:
    (found,) = (
        one
        for one in stage(**settings).properties("github", ROLE)
        if one["RoleName"] == f"ras-prod-github-{name}"
    )
    return found


def trust(name: str, **settings: Any) -> list[Statement]:
    statements: list[Statement] = role(name, **settings)["AssumeRolePolicyDocument"]["Statement"]
    return statements


def claims(subject: str, audience: str = AUDIENCE) -> dict[str, str]:
    """What of a token of GitHub's AWS has condition keys for."""
    return {"sub": subject, "aud": audience}


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

    assert assumes(trust(name), ACCOUNTS_PROVIDER, claims(f"repo:{REPOSITORY}:environment:{environment}"))


@pytest.mark.parametrize("name", ["deploy", "diff"])
@pytest.mark.parametrize(
    "subject",
    [
        f"repo:{REPOSITORY}:environment:staging",
        f"repo:{REPOSITORY}:environment:staging-diff",
        f"repo:{REPOSITORY}:environment:production",
        f"repo:{REPOSITORY}:environment:Prod",
        f"repo:{REPOSITORY}:environment:prod:environment:prod-diff",
        f"repo:{REPOSITORY}:environment:",
        f"repo:{REPOSITORY}:pull_request",
        f"repo:{REPOSITORY}:ref:refs/heads/main",
        f"repo:{REPOSITORY}:ref:refs/tags/environment:prod",
        "repo:huleedu/result-aggregator-2:environment:prod",
        "repo:huleedu/another:environment:prod",
        "repo:huleedu2/result-aggregator:environment:prod",
        "repo:stranger/result-aggregator:environment:prod",
        "repo:Huleedu/result-aggregator:environment:prod",
        f"repo:{IMMUTABLE}:environment:prod",
        "repository_owner:huleedu:environment:prod",
        "*",
        "",
    ],
)
def test_no_other_job_gets_a_role(name: str, subject: str) -> None:
    """Of another environment, of none, of a fork, of a repository that is called nearly the same, of another form."""
    assert not assumes(trust(name), ACCOUNTS_PROVIDER, claims(subject))


def test_one_role_is_not_the_other() -> None:
    """A pull request's job cannot deploy; nor does a deployment need to be able to compare."""
    for name, other in (("deploy", "prod-diff"), ("diff", "prod")):
        assert not assumes(trust(name), ACCOUNTS_PROVIDER, claims(f"repo:{REPOSITORY}:environment:{other}"))


@pytest.mark.parametrize(
    ("provider", "audience"),
    [
        (ACCOUNTS_PROVIDER, f"https://github.com/{REPOSITORY.partition('/')[0]}"),
        (ACCOUNTS_PROVIDER, "sts.amazonaws.com.example"),
        (f"{ACCOUNTS_PROVIDER}/huleedu", AUDIENCE),
        (f"arn:aws:iam::{ACCOUNT}:oidc-provider/gitlab.com", AUDIENCE),
        (f"arn:aws:iam::444455556666:oidc-provider/{ISSUER}", AUDIENCE),
    ],
)
def test_no_other_token_gets_a_role(provider: str, audience: str) -> None:
    """One that was made for somebody else than AWS (GitHub's default), or that somebody else made."""
    token = claims(f"repo:{REPOSITORY}:environment:prod", audience)

    assert not assumes(trust("deploy"), provider, token)
    for claim in token:
        assert not assumes(trust("deploy"), ACCOUNTS_PROVIDER, {claim: token[claim]})


@pytest.mark.parametrize(
    ("condition", "let_in"),
    [
        ({"StringLike": {f"{ISSUER}:sub": f"repo:{REPOSITORY}*"}}, "repo:huleedu/result-aggregator-2:ref:x"),
        ({"StringLike": {f"{ISSUER}:sub": f"repo:{REPOSITORY}:*"}}, f"repo:{REPOSITORY}:pull_request"),
        ({"StringEquals": {f"{ISSUER}:aud": AUDIENCE}}, "repo:stranger/anything:ref:refs/heads/main"),
    ],
    ids=["nearly the same name", "any job", "anybody"],
)
def test_a_weaker_trust_would_be_seen(condition: dict[str, Any], let_in: str) -> None:
    """The usual mistakes: the same evaluation lets in then whom the tests above keep out."""
    (statement,) = trust("deploy")

    assert assumes([{**statement, "Condition": condition}], ACCOUNTS_PROVIDER, claims(let_in))
    assert not assumes([statement], ACCOUNTS_PROVIDER, claims(let_in))


def test_a_repository_is_known_by_its_ids() -> None:
    """As GitHub writes the subject for newer repositories; one of the same name that came later has others."""
    known = trust("deploy", github_repository=IMMUTABLE)
    job = "environment:prod"

    assert assumes(known, ACCOUNTS_PROVIDER, claims(f"repo:{IMMUTABLE}:{job}"))
    for other in (
        REPOSITORY,
        "huleedu@1234/result-aggregator@5678",
        "huleedu@4321/result-aggregator@56789",
        "huleedu@1234/another@56789",
    ):
        assert not assumes(known, ACCOUNTS_PROVIDER, claims(f"repo:{other}:{job}"))


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
    """And has no rights beside, so that whoever bootstrapped decides what it may make; those that it has suffice."""
    (statement,) = rights("deploy")

    assert stage().assumed == {BOOTSTRAP.format(part) for part in ("deploy", "file-publishing")}
    for assumed in stage().assumed:
        assert allows([statement], "sts:AssumeRole", assumed)
    for beyond in (BOOTSTRAP.format("cfn-exec"), f"arn:aws:iam::{ACCOUNT}:role/admin"):
        assert not allows([statement], "sts:AssumeRole", beyond)

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
        (statement,) = found["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Federated": ACCOUNTS_PROVIDER}


def test_it_stands_alone() -> None:
    """It can be deployed before everything else, and nothing is made for whoever does not use GitHub."""
    assert "Fn::ImportValue" not in str(stage().templates["github"])
    assert stage().outputs("github").keys() == {"DeployRoleArn", "DiffRoleArn"}
    assert "github" not in assembly("prod").templates


@pytest.mark.parametrize(
    "repository",
    [
        "result-aggregator",
        "a/b/c",
        "huleedu/*",
        "huleedu/x:ref",
        "/x",
        "huleedu@1/x",
        "huleedu/x@2",
        "a@*/x@*",
    ],
)
def test_a_repository_is_named_in_full(repository: str) -> None:
    """A pattern would let in others."""
    with pytest.raises(SettingsError, match="github_repository"):
        load_settings({"stage": "prod", "github_repository": repository}, {})

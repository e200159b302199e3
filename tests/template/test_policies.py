"""The policy evaluator of these tests, held against rules of IAM that it relies on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.template.policies import (
    ANONYMOUS,
    Decision,
    Request,
    Statement,
    allows,
    assumes,
    at_gateway,
    decide,
)

PROVIDER = "arn:aws:iam::111122223333:oidc-provider/tokens.example.com"
ROLE = "arn:aws:iam::111122223333:role/caller"
ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}


def test_wildcards_match_and_others_do_not() -> None:
    """`*` stands for any characters; the action's case does not matter, the resource's does."""
    assert allows([ALLOW], "S3:GetObject", "arn:aws:s3:::b/a/c")
    assert not allows([ALLOW], "s3:PutObject", "arn:aws:s3:::b/a")
    assert not allows([ALLOW], "s3:GetObject", "arn:aws:s3:::B/a")


def test_deny_wins() -> None:
    """An explicit deny wins over an allow, whatever their order."""
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}

    assert decide([ALLOW, deny], Request("s3:GetObject", "arn:aws:s3:::b/a")) == "deny"
    assert decide([deny, ALLOW], Request("s3:GetObject", "arn:aws:s3:::b/a")) == "deny"


@pytest.mark.parametrize(
    ("principal", "caller", "expected"),
    [
        ("*", ANONYMOUS, "allow"),
        ({"AWS": "*"}, ANONYMOUS, "allow"),
        ({"AWS": [ROLE]}, ROLE, "allow"),
        ({"AWS": [ROLE]}, ROLE + "-other", "none"),
        ({"AWS": ROLE}, ANONYMOUS, "none"),
        ({"AWS": "arn:aws:iam::111122223333:root"}, ROLE, "allow"),
        ({"AWS": "111122223333"}, ROLE, "allow"),
        ({"AWS": "111122223333"}, "arn:aws:iam::444455556666:role/caller", "none"),
        ({"AWS": "111122223333"}, ANONYMOUS, "none"),
        ({"AWS": "111122223333"}, PROVIDER, "none"),
        ({"Federated": PROVIDER}, PROVIDER, "allow"),
        ({"Federated": PROVIDER}, PROVIDER + "/other", "none"),
        ({"Federated": PROVIDER}, ROLE, "none"),
        ({"Service": "lambda.amazonaws.com"}, "lambda.amazonaws.com", "allow"),
        ({"Service": "lambda.amazonaws.com"}, ROLE, "none"),
    ],
)
def test_principals(principal: Any, caller: str, expected: str) -> None:
    """A named role is only itself, a named account everybody in it but no token; a star is anybody, signed or not."""
    statement = {**ALLOW, "Principal": principal}

    assert decide([statement], Request("s3:GetObject", "arn:aws:s3:::b/a", caller)) == expected


@pytest.mark.parametrize(
    ("effect", "caller", "expected"),
    [
        ("Allow", ROLE, "none"),
        ("Allow", ROLE + "-other", "allow"),
        ("Allow", ANONYMOUS, "allow"),
        ("Deny", ROLE, "deny"),
        ("Deny", ROLE + "-other", "deny"),
        ("Deny", "arn:aws:iam::111122223333:user/caller", "none"),
    ],
)
def test_not_principal(effect: str, caller: str, expected: Decision) -> None:
    """It allows everybody else, unsigned requests too; and it denies the named role, whose sessions it does not name."""
    named = [ROLE, "arn:aws:iam::111122223333:user/caller", "arn:aws:iam::111122223333:root"]
    spared = [ROLE] if effect == "Allow" else named
    statement = {"Effect": effect, "NotPrincipal": {"AWS": spared}, "Action": "s3:*", "Resource": "*"}

    assert decide([statement], Request("s3:GetObject", "arn:aws:s3:::b/a", caller)) == expected


def test_a_token_assumes_by_its_claims() -> None:
    """A trust policy names no resource; its conditions are about the claims of the issuer that it names."""
    condition = {"StringEquals": {"tokens.example.com:aud": "c", "tokens.example.com:sub": "a:b"}}
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }

    assert assumes([trust], PROVIDER, {"sub": "a:b", "aud": "c"})
    for refused in ({"sub": "a:b", "aud": "d"}, {"sub": "a:c", "aud": "c"}, {"sub": "a:b"}, {"aud": "c"}):
        assert not assumes([trust], PROVIDER, refused)
    assert not assumes([{**trust, "Action": "sts:AssumeRole"}], PROVIDER, {"sub": "a:b", "aud": "c"})


# API Gateway developer guide, "Policy evaluation outcome tables":
# identity policy, resource policy, outcome within the account (table A), outcome from another account (table B)
OUTCOMES: list[tuple[Decision, Decision, Decision, Decision]] = [
    ("allow", "allow", "allow", "allow"),
    ("allow", "none", "allow", "none"),
    ("allow", "deny", "deny", "deny"),
    ("none", "allow", "allow", "none"),
    ("none", "none", "none", "none"),
    ("none", "deny", "deny", "deny"),
    ("deny", "allow", "deny", "deny"),
    ("deny", "none", "deny", "deny"),
    ("deny", "deny", "deny", "deny"),
]


@pytest.mark.parametrize(("identity", "resource", "within", "across"), OUTCOMES)
def test_identity_and_resource_policy_together(
    identity: Decision, resource: Decision, within: Decision, across: Decision
) -> None:
    """What the developer guide's two tables say."""

    def says(decision: Decision) -> list[Statement]:
        statement = {"Effect": decision.capitalize(), "Action": "execute-api:*", "Resource": "*"}
        return [statement] if decision != "none" else []

    for account, expected in (("111122223333", within), ("444455556666", across)):
        request = Request(
            "execute-api:Invoke",
            "arn:aws:execute-api:eu-north-1:111122223333:api/prod/GET/a",
            f"arn:aws:iam::{account}:role/caller",
        )

        assert at_gateway(says(identity), says(resource), request) == expected


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"k": "v"}}, {"k": "v"}, "allow"),
        ({"StringEquals": {"k": "v"}}, {}, "none"),
        ({"StringNotEquals": {"k": "v"}}, {"k": "w"}, "allow"),
        ({"StringNotEquals": {"k": "v"}}, {}, "allow"),
        ({"StringNotEquals": {"k": "v"}}, {"k": "v"}, "none"),
        ({"StringLike": {"k": "v*"}}, {"k": "vw"}, "allow"),
        ({"StringLike": {"k": "v*"}}, {"k": "w"}, "none"),
        ({"StringLike": {"k": "v*"}}, {}, "none"),
        ({"ArnEquals": {"aws:PrincipalArn": [ROLE]}}, {}, "none"),
        ({"ArnNotEquals": {"k": [ROLE, "b"]}}, {"k": ROLE}, "none"),
        ({"ArnNotEquals": {"k": [ROLE, "b"]}}, {"k": "c"}, "allow"),
        ({"ArnNotEquals": {"k": [ROLE, "b"]}}, {}, "allow"),
        ({"Null": {"k": "true"}}, {}, "allow"),
        ({"Null": {"k": "true"}}, {"k": "v"}, "none"),
        ({"Null": {"k": "false"}}, {"k": "v"}, "allow"),
        ({"Bool": {"k": "false"}}, {"k": "false"}, "allow"),
        ({"NumericLessThan": {"k": 1.2}}, {"k": "1.1"}, "allow"),
        ({"NumericLessThan": {"k": 1.2}}, {"k": "1.2"}, "none"),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, str], expected: str) -> None:
    """A key that is absent fails a positive condition and meets a negated one."""
    statement = {**ALLOW, "Condition": condition}

    assert decide([statement], Request("s3:GetObject", "arn:aws:s3:::b/a", context=context)) == expected


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},
        {**ALLOW, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {**ALLOW, "Principal": {"CanonicalUser": "0a1b2c3d"}},
    ],
)
def test_unknown_grammar_is_refused(statement: dict[str, Any]) -> None:
    """What the evaluator does not know is an error, never an answer."""
    with pytest.raises(NotImplementedError):
        decide([statement], Request("s3:GetObject", "arn:aws:s3:::b/a"))

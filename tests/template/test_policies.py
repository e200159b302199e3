"""The policy evaluator of these tests, held against rules of IAM that it relies on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.template.policies import ANONYMOUS, Request, allows, decide

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
    ],
)
def test_principals(principal: Any, caller: str, expected: str) -> None:
    """A named role is only itself; a star is anybody, signed or not."""
    statement = {**ALLOW, "Principal": principal}

    assert decide([statement], Request("s3:GetObject", "arn:aws:s3:::b/a", caller)) == expected


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"k": "v"}}, {"k": "v"}, "allow"),
        ({"StringEquals": {"k": "v"}}, {}, "none"),
        ({"StringNotEquals": {"k": "v"}}, {"k": "w"}, "allow"),
        ({"StringNotEquals": {"k": "v"}}, {}, "allow"),
        ({"StringNotEquals": {"k": "v"}}, {"k": "v"}, "none"),
        ({"ArnEquals": {"aws:PrincipalArn": [ROLE]}}, {}, "none"),
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
        {**ALLOW, "Principal": {"Service": "lambda.amazonaws.com"}},
    ],
)
def test_unknown_grammar_is_refused(statement: dict[str, Any]) -> None:
    """What the evaluator does not know is an error, never an answer."""
    with pytest.raises(NotImplementedError):
        decide([statement], Request("s3:GetObject", "arn:aws:s3:::b/a"))

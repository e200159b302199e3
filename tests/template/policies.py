"""A small evaluator of IAM policies: enough to ask synthesised policies who may do what, who gets to a private API, and
whose token may assume a role.

It raises NotImplementedError for anything it does not know, so that no policy passes by being misread.
Rules: IAM User Guide (policy elements, evaluation logic), API Gateway developer guide (authorization flow).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Decision = Literal["allow", "deny", "none"]
Statement = dict[str, Any]

ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Request:
    """`principal` is the ARN of a user or of a role that somebody assumed, or of the OIDC provider whose token is shown,
    or a service's host name, or ANONYMOUS; `context` holds condition keys such as `aws:SourceVpce`, and a token's claims."""

    action: str
    resource: str
    principal: str = ANONYMOUS
    context: Mapping[str, str] = field(default_factory=dict)


def decide(statements: Iterable[Statement], request: Request) -> Decision:
    """An explicit deny wins over any allow; "none" means that no statement speaks of the request."""
    effects = {statement["Effect"] for statement in statements if _applies(statement, request)}
    if "Deny" in effects:
        return "deny"
    return "allow" if "Allow" in effects else "none"


def allows(statements: Iterable[Statement], action: str, resource: str) -> bool:
    """Whether a role's own policy lets it do `action` on `resource`."""
    return decide(statements, Request(action, resource)) == "allow"


def assumes(trust: Iterable[Statement], provider: str, claims: Mapping[str, str]) -> bool:
    """Whether a role's trust policy lets a token of `provider` (its ARN) assume it, by its claims `sub`, `aud`, …"""
    issuer = provider.partition("/")[2]
    context = {f"{issuer}:{claim}": value for claim, value in claims.items()}
    return decide(trust, Request("sts:AssumeRoleWithWebIdentity", "", provider, context)) == "allow"


def at_gateway(identity: Iterable[Statement], resource: Iterable[Statement], request: Request) -> Decision:
    """What API Gateway decides of a signed request, by the caller's identity policy and the API's resource policy.

    Within the API's account either may allow; from another both must (its "policy evaluation outcome tables" A, B).
    """
    decisions = {decide(identity, request), decide(resource, request)}
    if "deny" in decisions:
        return "deny"
    same_account = _account(request.principal) == _account(request.resource)
    return "allow" if decisions == {"allow"} or (same_account and "allow" in decisions) else "none"


def _account(arn: str) -> str:
    return arn.split(":")[4] if ":" in arn else arn


def _applies(statement: Statement, request: Request) -> bool:
    known = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "Resource", "Condition"}
    if unknown := statement.keys() - known:
        raise NotImplementedError(f"statement element {sorted(unknown)}")
    return (
        _speaks_of(statement, request.principal)
        and any(_matches(pattern.lower(), request.action.lower()) for pattern in _list(statement["Action"]))
        and _about(statement, request.resource)
        and all(
            _holds(operator, key, _list(expected), request)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _about(statement: Statement, resource: str) -> bool:
    """A trust policy names no resource, as it is about its role."""
    if "Resource" not in statement and ":AssumeRole" in str(statement["Action"]):
        return True
    return any(_matches(pattern, resource) for pattern in _list(statement["Resource"]))


def _speaks_of(statement: Statement, caller: str) -> bool:
    """Whether it is about this caller. With no principal it is an identity policy's, about whoever has that."""
    if "NotPrincipal" not in statement:
        return "Principal" not in statement or _names(statement["Principal"], caller)
    named = _names(statement["NotPrincipal"], caller)
    # A trap: a denial spares a role only where account, role and each session are named, and sessions are as many as
    # a caller likes. An allowance to all but one is the other: it lets in everybody else, unsigned requests too.
    return not named or (statement["Effect"] == "Deny" and ":role/" in caller)


def _names(principal: Any, caller: str) -> bool:
    """An account, by its root's ARN or its number, stands for everybody in it, but not for who comes with a token.

    A service is itself only.
    """
    if principal == "*":
        return True
    (kind,) = principal
    if kind == "Service":
        return caller in _list(principal[kind])
    if kind not in ("AWS", "Federated"):
        raise NotImplementedError(f"principal {principal}")
    if (kind == "Federated") != (":oidc-provider/" in caller):
        return False
    if kind == "Federated":
        return caller in _list(principal[kind])
    account = _account(caller)
    return any(
        named in ("*", caller, account, f"arn:aws:iam::{account}:root") for named in _list(principal["AWS"])
    )


def _holds(operator: str, key: str, expected: list[str], request: Request) -> bool:
    present = dict(request.context)
    if request.principal != ANONYMOUS:
        present.setdefault("aws:PrincipalArn", request.principal)
    actual = present.get(key)
    match operator:
        case "StringEquals" | "Bool":
            return actual in [str(value) for value in expected]
        case "StringNotEquals":
            # A key that the request lacks is not equal to anything.
            return actual not in expected
        case "ArnEquals" | "ArnLike" | "StringLike":
            return actual is not None and any(_matches(pattern, actual) for pattern in expected)
        case "ArnNotEquals" | "ArnNotLike":
            return actual is None or not any(_matches(pattern, actual) for pattern in expected)
        case "Null":
            return str(actual is None).lower() in [str(value).lower() for value in expected]
        case "NumericLessThan":
            return actual is not None and any(float(actual) < float(value) for value in expected)
    raise NotImplementedError(f"condition operator {operator}")


def _matches(pattern: str, value: str) -> bool:
    # fnmatch knows brackets too, and IAM does not.
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

"""A small evaluator of IAM policies: enough to ask a synthesised policy who may do what.

It raises NotImplementedError for anything it does not know, so that no policy passes by being misread.
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
    """`principal` is a role's ARN or ANONYMOUS; `context` holds condition keys such as `aws:SourceVpce`."""

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


def _applies(statement: Statement, request: Request) -> bool:
    unknown = statement.keys() - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown:
        raise NotImplementedError(f"statement element {sorted(unknown)}")
    return (
        _names_principal(statement.get("Principal"), request.principal)
        and any(_matches(pattern.lower(), request.action.lower()) for pattern in _list(statement["Action"]))
        and any(_matches(pattern, request.resource) for pattern in _list(statement["Resource"]))
        and all(
            _holds(operator, key, _list(expected), request)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )
    )


def _names_principal(principal: Any, caller: str) -> bool:
    """No principal: an identity policy, which speaks of whoever has it."""
    if principal is None or principal == "*":
        return True
    if set(principal) != {"AWS"}:
        raise NotImplementedError(f"principal {principal}")
    return any(named in ("*", caller) for named in _list(principal["AWS"]))


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
        case "ArnEquals" | "ArnLike":
            return actual is not None and any(_matches(pattern, actual) for pattern in expected)
        case "NumericLessThan":
            return actual is not None and any(float(actual) < float(value) for value in expected)
    raise NotImplementedError(f"condition operator {operator}")


def _matches(pattern: str, value: str) -> bool:
    # fnmatch knows brackets too, and IAM does not.
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

"""DynamoDB's condition and update expressions, as far as the benchmarks' systems use them, made into functions once each.

What is not known is refused by name: a benchmark must not run on a table that answers wrongly.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Value = dict[str, Any]
"""As the API has it: `{"S": "text"}`."""
Item = dict[str, Value]
Names = Mapping[str, str]
Values = Mapping[str, Value]

Condition = Callable[[Item, Names, Values], bool]
Update = Callable[[Item, Names, Values], Item]
_Operand = Callable[[Item, Names, Values], Value | None]

_TOKEN = re.compile(r"\s*([#:]?[A-Za-z_][A-Za-z0-9_]*|<=|>=|<>|[=<>(),+-])")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class UnknownExpressionError(ValueError):
    """An expression that this module does not know."""


@lru_cache(maxsize=1024)
def condition(text: str) -> Condition:
    """A ConditionExpression as a function. Raises UnknownExpressionError."""
    tokens = _Tokens(text)
    made = _any_of(tokens)
    tokens.end()
    return made


@lru_cache(maxsize=1024)
def update(text: str) -> Update:
    """An UpdateExpression of SET clauses as a function that gives the new item. Raises UnknownExpressionError."""
    tokens = _Tokens(text)
    tokens.take("SET")
    assignments = [_assignment(tokens)]
    while tokens.next_is(","):
        assignments.append(_assignment(tokens))
    tokens.end()

    def apply(item: Item, names: Names, values: Values) -> Item:
        # Every operand is of the item as it was.
        found = {names.get(name, name): operand(item, names, values) for name, operand in assignments}
        return item | {name: value for name, value in found.items() if value is not None}

    return apply


class _Tokens:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        place = 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            if match is None:
                raise UnknownExpressionError(f"{text!r}, at {place}")
            self._tokens.append(match[1])
            place = match.end()
        self._at = 0

    def next(self) -> str:
        if self._at == len(self._tokens):
            raise UnknownExpressionError(f"{self._text!r} ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def next_is(self, *wanted: str) -> bool:
        """Take the next token if it is one of these."""
        if self._at < len(self._tokens) and self._tokens[self._at].upper() in wanted:
            self._at += 1
            return True
        return False

    def take(self, wanted: str) -> None:
        if not self.next_is(wanted):
            raise UnknownExpressionError(f"{self._text!r}: no {wanted} where one is expected")

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise UnknownExpressionError(f"{self._text!r}, from {self._tokens[self._at]!r} on")


def _any_of(tokens: _Tokens) -> Condition:
    made = [_all_of(tokens)]
    while tokens.next_is("OR"):
        made.append(_all_of(tokens))
    return made[0] if len(made) == 1 else lambda *given: any(each(*given) for each in made)


def _all_of(tokens: _Tokens) -> Condition:
    made = [_single(tokens)]
    while tokens.next_is("AND"):
        made.append(_single(tokens))
    return made[0] if len(made) == 1 else lambda *given: all(each(*given) for each in made)


def _single(tokens: _Tokens) -> Condition:
    if tokens.next_is("NOT"):
        negated = _single(tokens)
        return lambda *given: not negated(*given)
    if tokens.next_is("("):
        made = _any_of(tokens)
        tokens.take(")")
        return made
    first = tokens.next()
    if first in ("attribute_exists", "attribute_not_exists"):
        tokens.take("(")
        name = tokens.next()
        tokens.take(")")
        wanted = first == "attribute_exists"
        return lambda item, names, _: (names.get(name, name) in item) is wanted
    compare = _COMPARISONS.get(comparison := tokens.next())
    if compare is None:
        raise UnknownExpressionError(f"{comparison!r} is no comparison")
    left, right = _plain(first), _plain(tokens.next())

    def compares(item: Item, names: Names, values: Values) -> bool:
        one, other = left(item, names, values), right(item, names, values)
        # An absent attribute compares with nothing, and values of two types are never equal.
        if one is None or other is None or one.keys() != other.keys():
            return False
        return compare(_comparable(one), _comparable(other))

    return compares


def _comparable(value: Value) -> Any:
    ((kind, content),) = value.items()
    return float(content) if kind == "N" else content


def _assignment(tokens: _Tokens) -> tuple[str, _Operand]:
    name = tokens.next()
    tokens.take("=")
    return name, _operand(tokens)


def _operand(tokens: _Tokens) -> _Operand:
    first = tokens.next()
    if first != "if_not_exists":
        return _plain(first)
    tokens.take("(")
    name = _plain(tokens.next())
    tokens.take(",")
    otherwise = _operand(tokens)
    tokens.take(")")
    return lambda *given: name(*given) or otherwise(*given)


def _plain(token: str) -> _Operand:
    if token.startswith(":"):
        return lambda _item, _names, values: values[token]
    return lambda item, names, _: item.get(names.get(token, token))

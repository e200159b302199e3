"""Filter criteria of an event source mapping: which records a function is to see, by their values.

Patterns are EventBridge's as far as Lambda takes them (AWS Lambda developer guide, "Control which events Lambda sends
to your function": filter rule syntax). For Kafka they look at the record's `value` and nothing else ("Filtering events
from Amazon MSK and self-managed Apache Kafka event sources"). What Lambda would refuse when a mapping is created is
refused here as well: a filter that is understood in part would lose records without a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, TypeVar

from .errors import PatternError

T = TypeVar("T")

VALUE = "value"
OR = "$or"


@dataclass(frozen=True)
class _Number:
    """A JSON number as it is written: 300, 300.0 and 3.0e2 are three values ("Filter rule syntax": note)."""

    text: str


@dataclass(frozen=True)
class _Absent:
    """A field that is not there."""


_ABSENT = _Absent()

# What a pattern is compiled to: given a field's value as `_parse` reads it, or _ABSENT.
_Test = Callable[[Any], bool]


class FilterCriteria:
    """The patterns of one mapping; a record is sent if any of them takes it, or if there are none."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises PatternError."""
        self._tests = [_compile_pattern(pattern) for pattern in patterns]

    def __bool__(self) -> bool:
        return bool(self._tests)

    def take(self, value: bytes | None) -> bool:
        """Whether a record with this value is sent.

        Where the formats do not match, the value's filter is left out and the record passes: a value that is not
        UTF-8, plain text against a JSON pattern, JSON against a pattern for plain text. Chosen: a tombstone has no
        format, so it passes as well; and only objects and arrays count as JSON, since every number is plain text too.
        """
        if not self._tests:
            return True
        content = _read(value)
        return any(test(content) for test in self._tests)


@dataclass(frozen=True)
class _Content:
    """A record's value: `json` is its parsed form if it is an object or an array, `text` its text if it is UTF-8."""

    text: str | None
    json: Any = None


def _read(value: bytes | None) -> _Content:
    if value is None:
        return _Content(None)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return _Content(None)
    try:
        parsed = _parse(text)
    except (ValueError, RecursionError):
        return _Content(text)
    return _Content(text, parsed) if isinstance(parsed, dict | list) else _Content(text)


def _parse(text: str) -> Any:
    return json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# --- patterns ---------------------------------------------------------------------------------------------------


def _compile_pattern(pattern: str) -> Callable[[_Content], bool]:
    try:
        parsed = _parse(pattern)
    except (ValueError, RecursionError):
        raise PatternError(f"the filter pattern {pattern!r} is not JSON") from None
    return _compile_record(parsed)


def _compile_record(pattern: Any) -> Callable[[_Content], bool]:
    """The outermost level, where a record has its `value` and its metadata."""
    if not isinstance(pattern, dict) or not pattern:
        raise PatternError("a filter pattern must be an object with at least one field")
    tests: list[Callable[[_Content], bool]] = []
    for name, rule in pattern.items():
        if name == OR:
            tests.append(_any(_alternatives(rule, _compile_record)))
        elif name != VALUE:
            raise PatternError(f"filtering on {name!r}: Kafka records can be filtered on their value alone")
        elif isinstance(rule, dict):
            tests.append(_on_json(_compile_object(rule, VALUE)))
        else:
            tests.append(_on_text(_compile_rules(rule, VALUE)))
    return _all(tests)


def _on_json(test: _Test) -> Callable[[_Content], bool]:
    return lambda content: content.json is None or test(content.json)


def _on_text(test: _Test) -> Callable[[_Content], bool]:
    return lambda content: content.text is None or content.json is not None or test(content.text)


def _compile_object(pattern: dict[str, Any], path: str) -> _Test:
    """Every field that the pattern names must pass; other fields do not matter.

    Where the event has an array of objects, one of them has to pass as a whole.
    """
    if not pattern:
        raise PatternError(f"the filter pattern for {path} is empty")
    tests: list[_Test] = []
    for name, rule in pattern.items():
        if name == OR:
            tests.append(_any(_alternatives(rule, lambda one: _compile_alternative(one, path))))
            continue
        inner = f"{path}.{name}"
        test = _compile_object(rule, inner) if isinstance(rule, dict) else _compile_rules(rule, inner)
        tests.append(_field(name, test))
    every = _all(tests)

    def passes(value: Any) -> bool:
        if isinstance(value, list):
            return any(passes(one) for one in value if isinstance(one, dict | list))
        # Absent or not an object: every field in it is absent, which `exists: false` asks for.
        return every(value if isinstance(value, dict) else {})

    return passes


def _compile_alternative(pattern: Any, path: str) -> _Test:
    if not isinstance(pattern, dict):
        raise PatternError(f"{OR} in {path} must hold objects")
    return _compile_object(pattern, path)


def _alternatives(rule: Any, compile_one: Callable[[Any], T]) -> list[T]:
    if not isinstance(rule, list) or not rule:
        raise PatternError(f"{OR} must be a list of patterns")
    return [compile_one(one) for one in rule]


def _field(name: str, test: _Test) -> _Test:
    return lambda value: test(value.get(name, _ABSENT))


def _all(tests: Sequence[Callable[[T], bool]]) -> Callable[[T], bool]:
    return lambda value: all(test(value) for test in tests)


def _any(tests: Sequence[Callable[[T], bool]]) -> Callable[[T], bool]:
    return lambda value: any(test(value) for test in tests)


# --- rules for one field ----------------------------------------------------------------------------------------


def _compile_rules(rules: Any, path: str) -> _Test:
    """A list of rules, of which one must hold. In an array of the event, one value must pass."""
    if not isinstance(rules, list) or not rules:
        raise PatternError(f"the filter rules for {path} must be a list with at least one entry")
    compiled = [_compile_rule(rule, path) for rule in rules]
    return lambda value: any(rule(value) for rule in compiled)


def _compile_rule(rule: Any, path: str) -> _Test:
    if isinstance(rule, list):
        raise PatternError(f"a list is no rule for {path}")
    if not isinstance(rule, dict):
        return _leaf(lambda value: _same(value, rule))
    if len(rule) != 1:
        raise PatternError(f"a rule for {path} must have one operator, not {sorted(rule)}")
    [(operator, operand)] = rule.items()
    if operator not in _OPERATORS:
        raise PatternError(f"the operator {operator!r} for {path} is not one that Lambda takes")
    return _OPERATORS[operator](operand, path)


def _same(value: Any, wanted: Any) -> bool:
    # Without the types, Python would call true equal to 1.
    return type(value) is type(wanted) and bool(value == wanted)


def _leaf(test: _Test) -> _Test:
    """Hold for a plain value, or for one in an array at any depth. Objects and absent fields never pass."""

    def passes(value: Any) -> bool:
        if isinstance(value, list):
            return any(passes(one) for one in value)
        return value is not _ABSENT and not isinstance(value, dict) and test(value)

    return passes


def _exists(operand: Any, path: str) -> _Test:
    """A field is there if it has a value that is no object: `exists` works on leaves only (EventBridge user guide)."""
    if not isinstance(operand, bool):
        raise PatternError(f"exists for {path} must be true or false")
    there = _leaf(lambda _: True)
    return lambda value: there(value) is operand


def _text_operand(operand: Any, operator: str, path: str) -> tuple[str, bool]:
    """The text of an operator, and whether case matters: `{"equals-ignore-case": text}` says that it does not."""
    folded = isinstance(operand, dict) and operand.keys() == {"equals-ignore-case"}
    text = operand["equals-ignore-case"] if folded else operand
    if not isinstance(text, str):
        raise PatternError(f"{operator} for {path} must be a string")
    return (text.casefold(), False) if folded else (text, True)


def _prefix(operand: Any, path: str) -> _Test:
    text, exact = _text_operand(operand, "prefix", path)
    return _leaf(lambda value: isinstance(value, str) and _cased(value, exact=exact).startswith(text))


def _suffix(operand: Any, path: str) -> _Test:
    text, exact = _text_operand(operand, "suffix", path)
    return _leaf(lambda value: isinstance(value, str) and _cased(value, exact=exact).endswith(text))


def _cased(value: str, *, exact: bool) -> str:
    return value if exact else value.casefold()


def _equals_ignore_case(operand: Any, path: str) -> _Test:
    if not isinstance(operand, str):
        raise PatternError(f"equals-ignore-case for {path} must be a string")
    return _leaf(lambda value: isinstance(value, str) and value.casefold() == operand.casefold())


def _anything_but(operand: Any, path: str) -> _Test:
    """Any value but these, of a field that is there."""
    refused = operand if isinstance(operand, list) else [operand]
    if not refused or not all(isinstance(one, str | _Number) for one in refused):
        raise PatternError(f"anything-but for {path} must be strings or numbers")
    return _leaf(lambda value: not any(_same(value, one) for one in refused))


_COMPARISONS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "=": lambda left, right: left == right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def _numeric(operand: Any, path: str) -> _Test:
    problem = PatternError(
        f'numeric for {path} must be one or two comparisons, such as [">", 0, "<=", 5] or ["=", 3]'
    )
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise problem
    comparisons = []
    for operator, number in zip(operand[::2], operand[1::2], strict=True):
        limit = _decimal(number)
        if not isinstance(operator, str) or operator not in _COMPARISONS or limit is None:
            raise problem
        comparisons.append((_COMPARISONS[operator], limit))

    def passes(value: Any) -> bool:
        number = _decimal(value)
        return number is not None and all(compare(number, limit) for compare, limit in comparisons)

    return _leaf(passes)


def _decimal(value: Any) -> Decimal | None:
    if not isinstance(value, _Number):
        return None
    try:
        return Decimal(value.text)
    except InvalidOperation:  # an exponent beyond all bounds
        return None


_OPERATORS: dict[str, Callable[[Any, str], _Test]] = {
    "exists": _exists,
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "anything-but": _anything_but,
    "numeric": _numeric,
}

"""A meter in front of DynamoDB: the calls and the request units that everything which passes takes.

It asks for ConsumedCapacity in each request's body and reads it from the answer, so it sees whatever the caller is made
of. What an answer does not tell is computed as AWS documents it: a failed conditional write takes the units of the item
that is there, one where there is none (developer guide, "Read and write operations").
"""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.table_proxy import TableProxy

_WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
_READS = frozenset({"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"})
_PARTIQL = frozenset({"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"})
_CONDITION_FAILED = "ConditionalCheckFailedException"


class Call(NamedTuple):
    """One call and its units; those of indexes are in them."""

    operation: str
    write_units: float
    read_units: float
    index_units: float = 0
    condition_failed: bool = False


@dataclass(frozen=True)
class Metered:
    """The calls of something, added up."""

    calls: tuple[Call, ...]

    @property
    def count(self) -> int:
        return len(self.calls)

    @property
    def write_units(self) -> float:
        return sum(call.write_units for call in self.calls)

    @property
    def read_units(self) -> float:
        return sum(call.read_units for call in self.calls)

    @property
    def index_units(self) -> float:
        return sum(call.index_units for call in self.calls)

    @property
    def conditions_failed(self) -> int:
        return sum(call.condition_failed for call in self.calls)


class Meter(TableProxy):
    """The proxy that keeps what each call took, until it is asked. Signatures do not survive it."""

    def __init__(self, target_url: str) -> None:
        super().__init__(target_url)
        self._metered: list[Call] = []
        self._metering = threading.Lock()

    def take(self) -> Metered:
        """The calls since it was last asked."""
        with self._metering:
            metered, self._metered = self._metered, []
        return Metered(tuple(metered))

    def asked(self, operation: str, body: bytes) -> bytes:
        if operation not in _WRITES | _READS | _PARTIQL:
            return body
        return json.dumps({**json.loads(body), "ReturnConsumedCapacity": "INDEXES"}).encode()

    def answered(self, operation: str, content: bytes) -> None:
        found = _call(operation, json.loads(content or b"{}"))
        with self._metering:
            self._metered.append(found)


def _call(operation: str, answer: dict[str, Any]) -> Call:
    consumed = answer.get("ConsumedCapacity")
    if consumed is None and answer.get("__type", "").endswith(_CONDITION_FAILED):
        units = write_units(answer.get("Item", {}))
        return Call(operation, units, 0, condition_failed=True)
    total, of_indexes = 0.0, 0.0
    for capacity in consumed if isinstance(consumed, list) else [consumed or {}]:
        total += capacity.get("CapacityUnits", 0)
        of_indexes += sum(
            index.get("CapacityUnits", 0)
            for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for index in capacity.get(kind, {}).values()
        )
    if operation in _READS:
        return Call(operation, 0, total, of_indexes)
    return Call(operation, total, 0, of_indexes)


def write_units(item: dict[str, Any]) -> int:
    """What writing an item takes: a unit per kilobyte begun, one at least."""
    return max(math.ceil(size(item) / 1024), 1)


def size(item: dict[str, Any]) -> int:
    """An item's bytes, names and values, as they are billed: of strings, sets of them, bytes and numbers.

    `item` is as DynamoDB's JSON has it, bytes in base64. Raises ValueError for other types.
    """
    total = 0
    for name, typed in item.items():
        ((kind, value),) = typed.items()
        total += len(name.encode())
        match kind, value:
            case "S", str():
                total += len(value.encode())
            case "SS", list():
                total += sum(len(member.encode()) for member in value)
            case "B", str():
                total += 3 * len(value) // 4 - value[-2:].count("=")
            case "B", bytes():
                total += len(value)
            case "N", str():
                total += (
                    len(value.strip("-0.")) + 1
                ) // 2 + 1  # a byte per two digits that count, and one more
            case _:
                raise ValueError(f"the size of {kind} is not known here")
    return total

"""A stand-in for DynamoDB that answers each write after 3 ms, so that round trips weigh as they do in AWS.

An HTTP server on 127.0.0.1 that speaks DynamoDB's API as far as ingest needs it: conditional PutItem, UpdateItem and
DeleteItem, GetItem and BatchWriteItem, on items in memory under the keys that each table is given. It waits without
working: requests of many connections wait side by side, as they do in AWS. It takes less of a processor than the system
that is measured, and no Java runs behind it. What it does not know it refuses, so nothing is measured that is not done.

`python -m benchmarks.fake_dynamodb` runs one until it is stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

from benchmarks import fake_dynamodb_expressions
from benchmarks.fake_dynamodb_expressions import Item, UnknownExpressionError

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWERS_AFTER_S = 0.003
"""What a write takes in AWS: single-digit milliseconds (developer guide, "What is Amazon DynamoDB?")."""

KEYS = {"idempotency": ("id",)}
"""The key attributes of tables; all others have the view's, `pk` and `sk`."""
_VIEW_KEY = ("pk", "sk")

_PREFIX = "com.amazonaws.dynamodb.v20120810#"
_Key = tuple[str, ...]


class ConditionFailedError(Exception):
    """A write's condition does not hold. The item as it is comes with it."""

    def __init__(self, item: Item | None) -> None:
        super().__init__()
        self.item = item


class Tables:
    """Items in memory, and the operations on them: requests and answers as in the API reference."""

    def __init__(self) -> None:
        self._items: dict[str, dict[_Key, Item]] = defaultdict(dict)

    def operation(self, name: str) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """What an operation does; None is unknown."""
        known: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "PutItem": self._put,
            "UpdateItem": self._update,
            "DeleteItem": self._delete,
            "GetItem": self._get,
            "BatchWriteItem": self._batch_write,
        }
        return known.get(name)

    def _put(self, request: dict[str, Any]) -> dict[str, Any]:
        table, key = self._place(request["TableName"], request["Item"])
        self._check(request, table.get(key))
        table[key] = request["Item"]
        return {}

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        table, key = self._place(request["TableName"], request["Key"])
        stored = table.get(key)
        self._check(request, stored)
        apply = fake_dynamodb_expressions.update(request["UpdateExpression"])
        names, values = request.get("ExpressionAttributeNames", {}), request["ExpressionAttributeValues"]
        table[key] = apply(stored or dict(request["Key"]), names, values)
        return {}

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        table, key = self._place(request["TableName"], request["Key"])
        self._check(request, table.get(key))
        table.pop(key, None)
        return {}

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        table, key = self._place(request["TableName"], request["Key"])
        return {"Item": table[key]} if key in table else {}

    def _batch_write(self, request: dict[str, Any]) -> dict[str, Any]:
        for table_name, writes in request["RequestItems"].items():
            for write in writes:
                item = write["PutRequest"]["Item"]
                table, key = self._place(table_name, item)
                table[key] = item
        return {"UnprocessedItems": {}}

    def _place(self, table_name: str, item: Item) -> tuple[dict[_Key, Item], _Key]:
        key = tuple(str(item[name]["S"]) for name in KEYS.get(table_name, _VIEW_KEY))
        return self._items[table_name], key

    def _check(self, request: dict[str, Any], stored: Item | None) -> None:
        text = request.get("ConditionExpression")
        if text is None:
            return
        names = request.get("ExpressionAttributeNames", {})
        values = request.get("ExpressionAttributeValues", {})
        if not fake_dynamodb_expressions.condition(text)(stored or {}, names, values):
            wants_it = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            raise ConditionFailedError(stored if wants_it else None)


class _Connection(asyncio.Protocol):
    """One connection of a caller, a request at a time; HTTP as far as SDKs speak it."""

    def __init__(self, tables: Tables, answers_after_s: float) -> None:
        self._tables = tables
        self._answers_after_s = answers_after_s
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, blank, rest = self._received.partition(b"\r\n\r\n")
            if not blank:
                return
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
            }
            length = int(headers.get(b"content-length", b"0"))
            if headers.get(b"expect") and not rest and self._transport:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if len(rest) < length:
                return
            self._received = rest[length:]
            operation = headers.get(b"x-amz-target", b"").rpartition(b".")[2].decode()
            self._answer(operation, rest[:length])

    def _answer(self, operation: str, body: bytes) -> None:
        status, answer = self._do(operation, body)
        content = json.dumps(answer, separators=(",", ":")).encode()
        response = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        ).encode() + content
        asyncio.get_running_loop().call_later(self._answers_after_s, self._send, response)

    def _send(self, response: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(response)

    def _do(self, operation: str, body: bytes) -> tuple[str, dict[str, Any]]:
        do = self._tables.operation(operation)
        if do is None:
            return _refusal("UnknownOperationException", f"the stand-in knows no {operation}")
        try:
            return "200 OK", do(json.loads(body))
        except ConditionFailedError as failure:
            status, answer = _refusal("ConditionalCheckFailedException", "The conditional request failed")
            return status, answer | ({"Item": failure.item} if failure.item else {})
        except (UnknownExpressionError, KeyError, ValueError) as error:
            return _refusal("ValidationException", f"the stand-in cannot do this: {error!r}")


def _refusal(code: str, message: str) -> tuple[str, dict[str, Any]]:
    return "400 Bad Request", {"__type": _PREFIX + code, "message": message}


async def serve(port: int, answers_after_s: float) -> None:
    """Listen on 127.0.0.1 until cancelled; its address is the first line on standard output."""
    tables = Tables()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(tables, answers_after_s), "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one (the default)")
    parser.add_argument("--milliseconds", type=float, default=ANSWERS_AFTER_S * 1000, help="until an answer")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.port, options.milliseconds / 1000))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

"""The emulator's program: ministack, and what it lets through that AWS refuses. Run by the emulator's own interpreter.

It checks a signature by the scope that the signature itself names. AWS goes by where the request arrives (IAM user guide,
"Troubleshoot Signature Version 4": the scope must be of the service and of its region), so a signature for another
region or service is none here either.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from ministack import app as ministack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    App = Callable[[MutableMapping[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]

# How the API is reached: its path here, LocalStack's older one, and AWS's host.
_PATH = re.compile(r"/_aws/execute-api/|/restapis/[^/]+/[^/]+/_user_request_/")
_HOST = b".execute-api."
_SCOPE = re.compile(
    rb"Credential=[^,&]+?(?:/|%2F)\d{8}(?:/|%2F)([^/%]+)(?:/|%2F)([^/%]+)(?:/|%2F)aws4_request", re.IGNORECASE
)
_SIGNATURE = re.compile(rb"(Signature=)[0-9a-f]+")


def of_its_scope(app: App, region: str) -> App:
    """The app, to which a request for the API is signed wrongly unless it is signed for the API of this region."""
    wanted = (region.encode(), b"execute-api")

    def checked(signed: bytes) -> bytes:
        found = _SCOPE.search(signed)
        return signed if found is None or found.groups() == wanted else _SIGNATURE.sub(rb"\g<1>0", signed)

    async def check(
        scope: MutableMapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        if scope["type"] == "http" and (_PATH.match(scope["path"]) or _HOST in _host(scope)):
            headers = [
                (name, checked(value) if name.lower() == b"authorization" else value)
                for name, value in scope["headers"]
            ]
            scope = {**scope, "headers": headers, "query_string": checked(scope["query_string"])}
        await app(scope, receive, send)

    return check


def _host(scope: MutableMapping[str, Any]) -> bytes:
    return b"".join(value for name, value in scope["headers"] if name.lower() == b"host")


if __name__ == "__main__":
    ministack.app = of_its_scope(ministack.app, os.environ["MINISTACK_REGION"])
    sys.exit(ministack.main())

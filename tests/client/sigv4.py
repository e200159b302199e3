"""Signature Version 4 as AWS documents it, checked from the server's side and without botocore."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


def problem(target: str, headers: Mapping[str, str], *, secret: str, region: str) -> str | None:
    """Why API Gateway would refuse a GET of `target` (path and query as they arrived); None if it would not.

    `headers` by lower-case name.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        return "not signed"
    date, signed_region, service, end = match["scope"].split("/")
    if (signed_region, service, end) != (region, "execute-api", "aws4_request"):
        return f"wrong scope {match['scope']}"
    signed = match["headers"].split(";")
    unsigned = {"host", *(name for name in headers if name.startswith("x-"))} - set(signed)
    if unsigned:
        return f"{unsigned} not signed"
    parts = urlsplit(target)
    # Every service but S3 encodes the path, which is encoded already, once more.
    path = quote(parts.path, safe="/~")
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    canonical_headers = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed)
    canonical = "\n".join(
        ["GET", path, query, canonical_headers, match["headers"], hashlib.sha256(b"").hexdigest()]
    )
    to_sign = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            headers["x-amz-date"],
            match["scope"],
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return None if hmac.compare_digest(expected, match["signature"]) else "the signature does not fit"

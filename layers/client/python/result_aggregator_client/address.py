"""Where the API is: the ways to a private REST API, and any other URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from httpx2 import URL, InvalidURL

from result_aggregator_client import checks

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of all names that API Gateway answers to: …execute-api.<region>.amazonaws.com, …execute-api.<region>.vpce.amazonaws.com
_REGION_IN_HOST = re.compile(r"(?:^|\.)execute-api\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?$")

# A name or an IPv6 address; httpx2 takes more.
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL, stage included, and the headers that lead to the API from there. Raises ValueError for no http(s) URL, TypeError for no str.

    A plain URL serves a custom domain, a stack on this machine, and the `ApiUrl` output of the service's stack.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        # As it will be sent, for it is signed as it stands here: host in lower case, default port left out.
        checks.text("url", self.url)
        try:
            url = URL(self.url)
        except InvalidURL as error:
            raise ValueError(f"{self.url!r} is not the base URL of an API: {error}") from error
        is_sound = (
            url.scheme in ("http", "https")
            and _HOST.fullmatch(url.raw_host.decode())
            and (url.port is None or 0 < url.port < 2**16)
            and not (url.query or url.fragment or url.userinfo)
        )
        if not is_sound:
            raise ValueError(f"{self.url!r} is not the base URL of an API")
        object.__setattr__(self, "url", str(url).rstrip("/"))
        object.__setattr__(self, "headers", MappingProxyType(dict(self.headers)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A MappingProxyType cannot be pickled.
        return type(self), (self.url, dict(self.headers))

    @classmethod
    def private_dns(cls, api_id: str, *, region: str, stage: str) -> Self:
        """Through a VPC endpoint with private DNS, which answers to the API's own name."""
        return cls(f"https://{api_id}.execute-api.{region}.{_suffix(region)}/{stage}")

    @classmethod
    def endpoint_alias(cls, api_id: str, *, vpc_endpoint_id: str, region: str, stage: str) -> Self:
        """By the name that an API has for each endpoint associated with it; needs no private DNS."""
        return cls(f"https://{api_id}-{vpc_endpoint_id}.execute-api.{region}.{_suffix(region)}/{stage}")

    @classmethod
    def endpoint_dns(cls, dns_name: str, *, api_id: str, stage: str) -> Self:
        """By a VPC endpoint's own DNS name (`vpce-….execute-api.<region>.vpce.amazonaws.com`); a header names the API."""
        return cls(f"https://{dns_name}/{stage}", MappingProxyType({"x-apigw-api-id": api_id}))

    @property
    def region(self) -> str | None:
        """The region that an AWS host name tells; None for any other."""
        match = _REGION_IN_HOST.search(URL(self.url).host)
        return match[1] if match else None


def _suffix(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"

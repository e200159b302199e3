"""Requests to the API, signed with Signature Version 4 or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from ras.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping


SERVICE = "execute-api"


class CallerKeys(TypedDict):
    """Temporary keys of a caller, as they stand in the stack file."""

    access_key_id: str
    secret_access_key: str
    session_token: str


def prepare(
    url: str,
    *,
    region: str,
    credentials: CallerKeys | None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    service: str = SERVICE,
) -> requests.PreparedRequest:
    """A request without a body, signed as the owner of the credentials; None leaves it unsigned."""
    prepared = requests.Request(method, url, headers=dict(headers or {})).prepare()
    if credentials is not None:
        # Signed after requests has normalised the URL: what is signed must be what is sent.
        signed = AWSRequest(method, prepared.url, headers=dict(headers or {}))
        keys = Credentials(
            credentials["access_key_id"], credentials["secret_access_key"], credentials["session_token"]
        )
        SigV4Auth(keys, service, region).add_auth(signed)
        prepared.headers.update(dict(signed.headers.items()))
    return prepared


def send(
    prepared: requests.PreparedRequest,
    *,
    timeout_s: float = 30,
) -> requests.Response:
    """Send it as it is, on a connection of its own. Raises OperatorError when nothing answers there, or not in time."""
    try:
        with requests.Session() as session:
            # Proxies of the user's environment have no business between a program and its own machine.
            session.trust_env = False
            return session.send(prepared, timeout=timeout_s)
    except requests.Timeout as error:
        raise UnreachableError(f"no answer from {prepared.url} within {timeout_s:g} s") from error
    except requests.ConnectionError as error:
        raise UnreachableError(
            f"nothing answers at {prepared.url}", "Is the stack up? See `ras status`."
        ) from error


def get(
    url: str,
    *,
    region: str,
    credentials: CallerKeys | None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 30,
) -> requests.Response:
    """GET a URL, signed as the owner of the credentials; None sends it unsigned.

    Raises OperatorError when nothing answers there, or not in time.
    """
    prepared = prepare(url, region=region, credentials=credentials, headers=headers)
    return send(prepared, timeout_s=timeout_s)

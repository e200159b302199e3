"""GET requests to the API, signed with Signature Version 4 or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SigningKeys

from ras_local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras_local.callers import Credentials


def get(
    url: str,
    *,
    region: str,
    credentials: Credentials | None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 30,
) -> requests.Response:
    """GET a URL, signed as the owner of the credentials; None sends it unsigned.

    Raises StackError when nothing answers there.
    """
    prepared = requests.Request("GET", url, headers=dict(headers or {})).prepare()
    if credentials is not None:
        # Signed after requests has normalised the URL: what is signed must be what is sent.
        signed = AWSRequest("GET", prepared.url, headers=dict(headers or {}))
        keys = SigningKeys(
            credentials["access_key_id"], credentials["secret_access_key"], credentials["session_token"]
        )
        SigV4Auth(keys, "execute-api", region).add_auth(signed)
        prepared.headers.update(dict(signed.headers.items()))
    try:
        with requests.Session() as session:
            # Proxies of the user's environment have no business between a program and its own machine.
            session.trust_env = False
            return session.send(prepared, timeout=timeout_s)
    except requests.ConnectionError as error:
        raise StackError(f"nothing answers at {url}", "Is the stack up? See `ras status`.") from error

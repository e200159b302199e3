"""Keys of functions' execution roles, in whose name on-failure destinations are written.

Lambda writes to a destination as the function's execution role (developer guide, "Capturing discarded batches for
Amazon MSK": the role needs s3:PutObject and s3:ListBucket, sqs:SendMessage, or sns:Publish). So a right that the
template forgot is missing here too, where the emulator checks rights.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from .aws import AwsAccess

_SESSION_NAME = "event-source-mapping"
_SESSION_S = 3600
_RENEWED_BEFORE = timedelta(minutes=5)
_TRUST_SID = "LocalEventSourceMapping"


@dataclass(frozen=True)
class _Session:
    access: AwsAccess
    expires: datetime


class ExecutionRoles:
    """Assumed roles, kept until shortly before their keys expire.

    A deployed role trusts the Lambda service alone, and only that service can assume it. No emulator lets anybody call
    as the service: with `grant_trust`, a role that refuses trusts its account for the moment of the call. That changes
    the role's trust policy, and is nothing for AWS itself.
    """

    def __init__(self, aws: AwsAccess, *, grant_trust: bool = False) -> None:
        self._aws = aws
        self._grant_trust = grant_trust
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def client(self, service: str, function_arn: str) -> Any:
        """A client that signs as the function's role. Raises botocore's errors."""
        role_arn = self._aws.functions.get_function_configuration(FunctionName=function_arn)["Role"]
        with self._lock:
            session = self._sessions.get(role_arn)
            if session is None or session.expires - _RENEWED_BEFORE < datetime.now(UTC):
                session = self._sessions[role_arn] = self._assume(role_arn)
        # Emulators answer for every bucket at one address; AWS takes the path form too.
        return session.access.client(service, s3={"addressing_style": "path"})

    def forget(self) -> None:
        """Assume the roles anew: their keys may have been what a destination refused."""
        with self._lock:
            self._sessions.clear()

    def _assume(self, role_arn: str) -> _Session:
        try:
            return self._assume_as_it_is(role_arn)
        except ClientError as error:
            if not self._grant_trust or error.response["Error"]["Code"] != "AccessDenied":
                raise
        return self._assume_with_trust(role_arn)

    def _assume_as_it_is(self, role_arn: str) -> _Session:
        keys = self._aws.sts.assume_role(
            RoleArn=role_arn, RoleSessionName=_SESSION_NAME, DurationSeconds=_SESSION_S
        )["Credentials"]
        access = replace(
            self._aws,
            access_key_id=keys["AccessKeyId"],
            secret_access_key=keys["SecretAccessKey"],
            session_token=keys["SessionToken"],
        )
        return _Session(access, keys["Expiration"])

    def _assume_with_trust(self, role_arn: str) -> _Session:
        role = role_arn.rsplit("/", 1)[-1]
        policy: Any = self._aws.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        statements = [one for one in policy["Statement"] if one.get("Sid") != _TRUST_SID]
        account = {
            "Sid": _TRUST_SID,
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{role_arn.split(':')[4]}:root"},
            "Action": "sts:AssumeRole",
        }
        self._trust(role, policy, [*statements, account])
        try:
            return self._assume_as_it_is(role_arn)
        finally:
            self._trust(role, policy, statements)

    def _trust(self, role: str, policy: dict[str, Any], statements: list[Any]) -> None:
        self._aws.iam.update_assume_role_policy(
            RoleName=role, PolicyDocument=json.dumps({**policy, "Statement": statements})
        )

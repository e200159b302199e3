"""Who calls the API: roles in the emulated account, and keys to sign with as each of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from result_aggregator.names import ALLOWED_CALLERS

from ras_local.settings import ACCOUNT

if TYPE_CHECKING:
    from ras.aws import Cloud
    from ras.signed_http import CallerKeys

NOT_ALLOWED = "not-allowed"
"""A role of the same account that the API's resource policy does not name."""

CALLERS = (*ALLOWED_CALLERS, NOT_ALLOWED)

_LONGEST_ROLE_SESSION_S = 43_200  # IAM's own maximum
# The emulator grants any length, and a stack that stays up for weeks should keep answering.
_SESSION_S = 30 * 24 * 3600


def create_roles(cloud: Cloud) -> None:
    """Create the callers' roles, which the account itself may assume. Those that exist are left alone."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    for name in CALLERS:
        try:
            cloud.iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(trust),
                MaxSessionDuration=_LONGEST_ROLE_SESSION_S,
                Description="A caller of the Result Aggregator's API on this machine",
            )
        except cloud.iam.exceptions.EntityAlreadyExistsException:
            continue


def credentials(cloud: Cloud) -> dict[str, CallerKeys]:
    """Session keys of every caller, for as long as the emulator grants them."""
    return {name: _assume(cloud, name) for name in CALLERS}


def _assume(cloud: Cloud, role: str) -> CallerKeys:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    try:
        answer = cloud.sts.assume_role(RoleArn=arn, RoleSessionName=role, DurationSeconds=_SESSION_S)
    except ClientError:
        answer = cloud.sts.assume_role(
            RoleArn=arn, RoleSessionName=role, DurationSeconds=_LONGEST_ROLE_SESSION_S
        )
    keys = answer["Credentials"]
    return {
        "access_key_id": keys["AccessKeyId"],
        "secret_access_key": keys["SecretAccessKey"],
        "session_token": keys["SessionToken"],
    }

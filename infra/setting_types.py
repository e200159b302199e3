"""What single settings may hold: names as AWS, Kafka and GitHub write them, and the limits of AWS.

Nothing here imports the CDK, so a wrong setting is reported at once.
"""

import difflib
import ipaddress
from functools import cache
from typing import Annotated, Any, Literal

from botocore.loaders import create_loader
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

# Lambda's limits of a mapping: a batch, its window, retries, a record's age.
BATCH_LIMIT = 10_000
WINDOW_LIMIT_S = 300
RETRIES_LIMIT = 10_000
RECORD_AGE_LIMIT_S = 604_800
# MSK's, of a cluster ("CreateCluster": two or three).
CLUSTER_SUBNETS_LIMIT = 3

StageName = Literal["local", "dev", "staging", "prod"]

Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
# Of two letters each, but for the European Sovereign Cloud's.
_AREA = r"(eusc-)?[a-z]{2}(-[a-z]+)+-[0-9]"


@cache
def _regions() -> frozenset[str]:
    """Those of every partition, in the list of the AWS SDK that is pinned here."""
    partitions = create_loader().load_data("partitions")["partitions"]
    return frozenset(region for partition in partitions for region in partition["regions"])


def _known_region(value: str) -> str:
    if value not in _regions():
        near = difflib.get_close_matches(value, sorted(_regions()), 1)
        told = f"; near it: {near[0]}" if near else ""
        raise ValueError(
            f"no region that is known here{told}; a newer one needs a newer botocore (make lock)"
        )
    return value


Region = Annotated[str, StringConstraints(pattern=rf"^{_AREA}$"), AfterValidator(_known_region)]
ClusterArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:kafka:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+/[A-Za-z0-9-]+$"
    ),
]
RoleArnOrName = Annotated[
    str,
    # IAM's: a path of up to 512 characters, a name of up to 64 ("IAM and AWS STS quotas").
    StringConstraints(
        pattern=r"^(arn:aws[a-z-]*:iam::[0-9]{12}:role/)?([A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,64}$",
        max_length=640,
    ),
]
PollerGroup = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
# Kafka's own rule for a topic's name, without a dot in front, which Lambda refuses ("OnFailure").
TopicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,248}$")]


def _network(value: str) -> str:
    """Refuses what only looks like one, which the CDK would tell with a traceback that names no setting."""
    try:
        ipaddress.IPv4Network(value)
    except ValueError as error:
        raise ValueError(f"not an IPv4 network: {error}") from error
    return value


CIDR = r"^([0-9]{1,3}\.){3}[0-9]{1,3}/(1[6-9]|2[0-8])$"  # the sizes that a VPC can have
NEW_CIDR = (
    r"^([0-9]{1,3}\.){3}[0-9]{1,3}/(1[6-9]|2[0-4])$"  # the same, large enough to be shared by three zones
)
Cidr = Annotated[str, StringConstraints(pattern=CIDR), AfterValidator(_network)]
NewCidr = Annotated[str, StringConstraints(pattern=NEW_CIDR), AfterValidator(_network)]
# The families of MSK's standard brokers, sizes left open for those to come: developer guide, "Amazon MSK broker sizes".
BrokerType = Annotated[
    str,
    StringConstraints(pattern=r"^kafka\.(t3\.small|m[5-9][a-z]?\.(large|[1-9]?[0-9]?xlarge))$"),
]
# By names, or by names and ids: one without the other is in no token of GitHub's.
Repository = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9._-]+|@[0-9]+/[A-Za-z0-9._-]+@[0-9]+)$")
]
SubnetId = Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]+$")]
ZoneName = Annotated[str, StringConstraints(pattern=rf"^{_AREA}[a-z]$")]
RouteTableId = Annotated[str, StringConstraints(pattern=r"^rtb-[0-9a-f]+$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]


def _number(value: Any) -> Any:
    """`cdk -c` gives text, which is never equal to one of several numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


# The numbers of days that CloudWatch Logs has, as far as anybody needs them here.
LogRetentionDays = Annotated[Literal[1, 3, 7, 14, 30, 90, 365], BeforeValidator(_number)]


class Batching(BaseModel):
    """How many records one invocation gets, and how long a poller waits for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Lambda's own limits for Kafka; 0 seconds means "send what is there".
    batch_size: int = Field(ge=1, le=BATCH_LIMIT)
    window_seconds: int = Field(ge=0, le=WINDOW_LIMIT_S)


class ExistingVpc(BaseModel):
    """A VPC that the platform has already. All of it is said here, as a lookup would need credentials at synth time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vpc_id: str = Field(pattern=r"^vpc-[0-9a-f]+$")
    cidr: Cidr = Field(description="who may reach the API's endpoint")
    subnet_ids: tuple[SubnetId, ...] = Field(min_length=2, description="private ones, each in another zone")
    route_table_ids: tuple[RouteTableId, ...] = Field(
        default=(),
        description="get the gateway endpoints; none: the VPC has them already, or nobody in it needs them",
    )

    @field_validator("subnet_ids")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a subnet is named twice; allowed: distinct ones")
        return value

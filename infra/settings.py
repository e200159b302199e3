"""What differs between stages, in one typed object.

A value comes from, in this order: `cdk -c <setting>=<value>`, the environment (account and region only), the
stage's preset below, the field's default. Nothing here imports the CDK, so a wrong setting is told at once.

    SettingsError
"""

import difflib
import ipaddress
import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from result_aggregator.domain.phases import PHASE_NAMES
from result_aggregator.names import resource_name
from result_aggregator.topics import BATCHES, ESSAYS, RANKINGS, TOPICS

StageName = Literal["local", "dev", "staging", "prod"]

Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
# Of two letters each, but for the European Sovereign Cloud's.
_AREA = r"(eusc-)?[a-z]{2}(-[a-z]+)+-[0-9]"
Region = Annotated[str, StringConstraints(pattern=rf"^{_AREA}$")]
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

# Every emulator answers for this account.
LOCAL_ACCOUNT = "000000000000"
DEFAULT_REGION = "eu-north-1"
DEFAULT_STAGE = "dev"
GENERATIONS = ("table_generation", "second_generation", "write_second")
"""The settings that a rebuild of the view changes: docs/upgrades.md."""
# The CDK command line says CDK_DEFAULT_REGION=us-east-1 when nobody chose a region. Students' results must not
# move to another continent by that: whoever wants it says so with AWS_REGION or -c region.
_CLI_FALLBACK_REGION = "us-east-1"


_FIRST_WITH_SNAP_START = 12

# Whose ARNs begin otherwise than `arn:aws:`, by how a region's name begins: botocore's partitions.
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "eusc-": "aws-eusc",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
}

# Of the query function's environment, which is 4 KB in all: the rest is its table and its switches.
_CALLERS_LIMIT = 3000

# Lambda's limits of a mapping: a batch, its window, retries, a record's age.
BATCH_LIMIT = 10_000
WINDOW_LIMIT_S = 300
RETRIES_LIMIT = 10_000
RECORD_AGE_LIMIT_S = 604_800
# MSK's, of a cluster ("CreateCluster": two or three).
CLUSTER_SUBNETS_LIMIT = 3

RUNBOOK = "docs/runbook.md"
PROVISIONED_ONLY = (
    "minimum_pollers",
    "maximum_pollers",
    "poller_group",
    "retries",
    "max_record_age_seconds",
    "bisect",
)
"""What an on-demand mapping takes no part of, so that saying it there is a mistake."""
OF_NEW_BROKERS = ("kafka_version", "broker_instance_type", "broker_storage_gib", "topic_partitions")
"""What only a cluster of brokers takes that the stack makes."""


class SettingsError(Exception):
    """A setting is unknown or has a value that is not allowed; the message names the setting and its value."""


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


# A ranking carries up to 5,000 essays in one record, so a few of them are a full payload (6 MB) and there is
# nothing to wait for; essay results are small, many, and cheaper together.
BATCHING: dict[str, Batching] = {
    BATCHES: Batching(batch_size=100, window_seconds=1),
    ESSAYS: Batching(batch_size=500, window_seconds=1),
    RANKINGS: Batching(batch_size=10, window_seconds=0),
}


def _number(value: Any) -> Any:
    """`cdk -c` gives text, which is never equal to one of several numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Settings(BaseModel):
    """One stage of the service. Frozen; unknown keys are refused.

    None is a secret, as an output of the data stack tells them (`as_context`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: StageName
    account: Account | None = Field(default=None, description="None: the account of whoever deploys")
    region: Region = DEFAULT_REGION

    # --- around the service
    private_network: bool = Field(default=True, description="make the VPC, unless given, and its endpoints")
    vpc: ExistingVpc | None = Field(
        default=None,
        description="an existing VPC; None: make one",
        examples=['{"vpc_id": "vpc-0a", "cidr": "10.20.0.0/16", "subnet_ids": ["subnet-0a", "subnet-1a"]}'],
    )
    new_vpc_cidr: NewCidr = "10.0.0.0/16"
    # MSK Serverless wants two zones; each costs the endpoint's hourly price.
    availability_zones: int = Field(default=2, ge=2, le=3)
    zone_names: tuple[ZoneName, ...] = Field(
        default=(),
        description="zones of the VPC that is made, instead of the region's first; none: those",
        examples=['["eu-north-1a", "eu-north-1c"]'],
    )
    operator_endpoints: bool = Field(
        default=False,
        description="doors to CloudFormation, Lambda and STS, so that `ras` runs inside the VPC",
    )
    restrict_to_vpc_endpoint: bool = Field(default=True, description="refuse what enters by any other door")
    callers: dict[str, RoleArnOrName] = Field(
        default={
            "api-gateway-service": "api-gateway-service",
            "admin-dashboard-service": "admin-dashboard-service",
        },
        min_length=1,
        description="service name -> its role: an ARN, or the name of a role in the stack's own account",
        examples=['{"api-gateway-service": "its-role"}'],
    )

    compress_answers: bool = Field(
        default=True, description="on request; false: for an emulator whose API Gateway passes on no bytes"
    )
    serve_unidentified: bool = Field(
        default=False,
        description="answer those of whom API Gateway tells no identity: for an emulator that tells nobody's",
    )

    # --- events in
    cluster_arn: ClusterArn | None = Field(
        default=None,
        description="an existing MSK cluster; None: make one in our VPC",
        examples=[
            "arn:aws:kafka:eu-north-1:111122223333:cluster/platform/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-2"
        ],
    )
    # A cluster is expensive and holds the events, so that nobody gets one by leaving a setting out.
    new_cluster: Literal["serverless", "provisioned"] | None = Field(
        default=None, description="make a cluster of this kind; None: cluster_arn names one"
    )
    # As MSK names them: the oldest line that AWS::MSK::Topic works with is 3.6, and 4 is without ZooKeeper alone.
    kafka_version: Annotated[
        str, StringConstraints(pattern=r"^(3\.6\.[0-9]|3\.[7-9]\.x(\.kraft)?|4\.[0-9]\.x\.kraft)$")
    ] = Field(default="3.8.x", examples=["3.8.x", "3.9.x.kraft", "4.1.x.kraft"])
    broker_instance_type: BrokerType = "kafka.m7g.large"
    broker_storage_gib: int = Field(default=100, ge=1, le=16_384)
    topic_partitions: int = Field(default=6, ge=1, le=1000, description="of each topic that the stack makes")
    consumer_group_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = (
        Field(default=None, description="first part of every consumer group's name; None: ras-<stage>-")
    )
    mapping_mode: Literal["provisioned", "on_demand"] = "provisioned"
    minimum_pollers: int = Field(default=1, ge=1, le=200)
    maximum_pollers: int = Field(default=10, ge=1, le=2000)
    poller_group: PollerGroup | None = Field(
        default=None, description="mappings of one group share pollers; None: ras-<stage>-pollers"
    )
    # The function retries inside its own time first, and sets poison aside itself: what reaches these retries
    # is an outage. -1 would be silently capped at 10 by Lambda, because there is an on-failure destination.
    retries: int = Field(default=100, ge=0, le=RETRIES_LIMIT)
    # -1 is "no limit". An age limit also drops records that were never tried, so a first deployment and a
    # rewound consumer group would lose everything older than it.
    max_record_age_seconds: int = Field(default=-1, ge=-1, le=RECORD_AGE_LIMIT_S)
    bisect: bool = True
    on_failure: bool = Field(
        default=True, description="keep what the retries gave up in the dead-letter bucket"
    )
    on_failure_topic: TopicName | None = Field(
        default=None,
        description="publish what the retries gave up to this topic of the cluster instead",
        examples=["ras.given-up"],
    )
    mappings_as_output: bool = Field(
        default=False, description="tell what the mappings would be: for an emulator that makes none for MSK"
    )
    topic_batching: dict[str, Batching] = Field(
        default={},
        description="topic -> its own batching, instead of its function's",
        examples=['{"huleedu.essay.nlp.completed.v1": {"batch_size": 100, "window_seconds": 1}}'],
    )

    # --- functions
    runtime: Literal["python3.11", "python3.12", "python3.13", "python3.14"] = "python3.13"
    architecture: Literal["arm64", "x86_64"] = "arm64"
    functions_on_host: bool = Field(
        default=False, description="functions run in this machine's interpreter: the emulator's"
    )
    layers_in_code: bool = Field(
        default=False, description="functions bring what their layers hold: for an emulator that applies none"
    )
    ingest_memory_mb: int = Field(default=512, ge=128, le=10_240)
    query_memory_mb: int = Field(default=512, ge=128, le=10_240)
    ingest_timeout_seconds: int = Field(
        default=60, ge=1, le=840, description="an MSK mapping allows 14 minutes"
    )
    # None: what the account has left. A number also takes that much away from the account's other functions.
    ingest_concurrency: int | None = Field(default=None, ge=1, le=1000, description="reserved, per function")
    query_concurrency: int | None = Field(default=None, ge=1, le=1000, description="reserved")
    snap_start: bool = Field(default=True, description="the query function starts from a snapshot")
    query_timeout_seconds: int = Field(default=15, ge=1, le=29, description="API Gateway gives up after 29")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # The numbers of days that CloudWatch Logs has, as far as anybody needs them here.
    log_retention_days: Annotated[Literal[1, 3, 7, 14, 30, 90, 365], BeforeValidator(_number)] = 30
    tracing: bool = True
    default_pipeline: Annotated[str, StringConstraints(pattern=r"^[a-z_]+(,[a-z_]+)*$")] = (
        "spellcheck,cj_assessment"
    )

    # --- API
    # An account has 10,000 a second and a burst of 5,000 unless AWS was asked for more ("Amazon API Gateway quotas").
    api_rate_limit: int = Field(
        default=200, ge=1, le=1_000_000, description="requests a second, all callers together"
    )
    api_burst_limit: int = Field(default=400, ge=1, le=1_000_000)
    api_access_logs: bool = True
    # An account has one such role per region, and API Gateway writes no logs without it.
    api_log_role: bool = Field(default=True, description="make the account's API Gateway logging role")

    # --- data
    # Rebuilding the view into another table is a change of these three (GENERATIONS).
    table_generation: int = Field(
        default=1, ge=1, le=999, description="the table that queries are answered from"
    )
    second_generation: int | None = Field(
        default=None, ge=1, le=999, description="a second table beside it; None: there is one table"
    )
    write_second: bool = Field(default=True, description="false: the second table stays as it is")
    deletion_protection: bool = True
    removal_policy: Literal["retain", "destroy"] = "retain"
    dead_letter_days: int = Field(default=90, ge=1, le=3650)
    tls_only: bool = Field(default=True, description="the dead-letter bucket refuses plain HTTP")
    own_key: bool = Field(default=True, description="a KMS key of the stage's own for logs and alarms")

    # --- GitHub
    github_repository: Repository | None = Field(
        default=None,
        description="owner/name, or owner@id/name@id, as its tokens write it: make the roles of its workflows; None: none",
    )
    # As with the API's log role: an account has one.
    github_provider: bool = Field(default=True, description="make the account's OIDC provider for GitHub")

    # --- on call
    operations: bool = Field(default=True, description="dashboard and alarms")
    alarm_emails: tuple[Email, ...] = Field(
        default=(),
        description="who is told; others subscribe themselves",
        examples=['["on-call@example.com"]'],
    )
    runbook_url: str | None = Field(
        default=None,
        min_length=1,
        description="where the runbook is read; #<alarm> is appended; None: in github_repository",
    )
    lag_floor: int = Field(
        default=1000, ge=0, description="records behind, below which a growing lag is no alarm"
    )
    slow_answer_ms: int = Field(
        default=1000, ge=1, description="p99 of the API above which there is an alarm"
    )

    @field_validator("topic_batching")
    @classmethod
    def _known_topics(cls, value: dict[str, Batching]) -> dict[str, Batching]:
        unknown = sorted(value.keys() - TOPICS.keys())
        if unknown:
            raise ValueError(
                f"not a topic of this service: {', '.join(unknown)}; allowed: {', '.join(TOPICS)}"
            )
        return value

    @field_validator("default_pipeline")
    @classmethod
    def _known_phases(cls, value: str) -> str:
        unknown = [phase for phase in value.split(",") if phase not in PHASE_NAMES]
        if unknown:
            raise ValueError(f"not a phase: {', '.join(unknown)}; allowed: {', '.join(PHASE_NAMES)}")
        return value

    @field_validator("on_failure_topic")
    @classmethod
    def _not_a_source(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("__"):
            raise ValueError("a topic of Kafka's own; allowed: any other")
        if value in TOPICS:
            raise ValueError(
                "a topic that the service consumes would feed its own failures back; allowed: any other"
            )
        return value

    @field_validator("max_record_age_seconds")
    @classmethod
    def _record_age(cls, value: int) -> int:
        if -1 < value < 60:
            raise ValueError("allowed: -1 (no limit) or 60 to 604800")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.minimum_pollers > self.maximum_pollers:
            raise ValueError(
                f"minimum_pollers: {self.minimum_pollers} is more than maximum_pollers ({self.maximum_pollers})"
            )
        if self.second_generation == self.table_generation:
            raise ValueError(
                f"second_generation: {self.second_generation} is table_generation; allowed: any other generation"
            )
        if not self.write_second and self.second_generation is None:
            raise ValueError(
                "write_second: false, but there is no second_generation; allowed: true, or name one"
            )
        self._check_callers()
        self._check_cluster()
        self._check_on_call()
        if self.cluster_arn is None and not self.private_network:
            raise ValueError(
                "cluster_arn: needed where private_network is false, as a cluster lives in a VPC"
            )
        if self.vpc and not self.private_network:
            raise ValueError(
                f"vpc: {self.vpc.vpc_id}, but private_network is false, so that nothing would be put there;"
                " allowed: leave it out, or private_network=true"
            )
        self._check_zones()
        if self.operator_endpoints and not self.private_network:
            raise ValueError("operator_endpoints: true needs private_network, which they are a part of")
        if self.restrict_to_vpc_endpoint and not self.private_network:
            raise ValueError("restrict_to_vpc_endpoint: true needs private_network, which makes the endpoint")
        if self.snap_start and int(self.runtime.removeprefix("python3.")) < _FIRST_WITH_SNAP_START:
            raise ValueError(
                f"snap_start: true, but runtime is {self.runtime}; allowed: python3.{_FIRST_WITH_SNAP_START} or newer"
            )
        if self.stage != "local":
            opened = [
                name
                for name in ("restrict_to_vpc_endpoint", "private_network", "tls_only", "compress_answers")
                if not getattr(self, name)
            ]
            if opened:
                raise ValueError(f"{opened[0]}: false is for the local stage only; allowed: true")
            for name in ("functions_on_host", "layers_in_code", "mappings_as_output", "serve_unidentified"):
                if getattr(self, name):
                    raise ValueError(f"{name}: true is for the local stage only; allowed: false")
        return self

    def _check_callers(self) -> None:
        # The function knows a caller by account and name of its role (`result_aggregator.api`), so that the last of
        # several services would be all of them. A name alone is of the stacks' own account, which may be unknown yet.
        roles = Counter(
            (role.split(":")[4] if ":" in role else self.account, role.rpartition("/")[2])
            for role in self.callers.values()
        )
        if shared := sorted(name for (_, name), n in roles.items() if n > 1):
            raise ValueError(
                f"callers: role {shared[0]} stands for several services; allowed: a role of its own for each"
            )
        for role in self.callers.values():
            if ":" in role and role.split(":")[1] != self.partition:
                raise ValueError(
                    f"callers: {role!r} is of partition {role.split(':')[1]}; allowed: that of {self.region},"
                    f" {self.partition}"
                )
        prefix = len(f"arn:{self.partition}:iam::{'0' * 12}:role/")
        size = sum(
            len(json.dumps({role: service})) + (0 if ":" in role else prefix)
            for service, role in self.callers.items()
        )
        if size > _CALLERS_LIMIT:
            raise ValueError(
                f"callers: {len(self.callers)} of them take {size} bytes of the query function's environment;"
                f" allowed: {_CALLERS_LIMIT}"
            )

    def _check_zones(self) -> None:
        if not self.zone_names:
            return
        if self.vpc or not self.private_network:
            raise ValueError(
                f"zone_names: {', '.join(self.zone_names)}, but no VPC is made; allowed: leave it out"
            )
        elsewhere = [name for name in self.zone_names if name[:-1] != self.region]
        if elsewhere:
            raise ValueError(f"zone_names: {elsewhere[0]!r} is not in the stacks' region, {self.region}")
        if len(set(self.zone_names)) != len(self.zone_names) or len(self.zone_names) not in (2, 3):
            raise ValueError(f"zone_names: {', '.join(self.zone_names)}; allowed: two or three, each once")

    def _check_cluster(self) -> None:
        # The local stage's cluster is a placeholder.
        if self.cluster_arn is not None and not self.is_local:
            if self.new_cluster is not None:
                raise ValueError(f"new_cluster: {self.new_cluster!r} beside cluster_arn; say one of them")
            _, partition, _, region, account, _ = self.cluster_arn.split(":", 5)
            if region != self.region:
                raise ValueError(
                    f"cluster_arn: {self.cluster_arn!r} is in {region}; allowed: the stacks' region, {self.region}"
                )
            if partition != self.partition:
                raise ValueError(
                    f"cluster_arn: {self.cluster_arn!r} is of partition {partition}; allowed: that of {region},"
                    f" {self.partition}"
                )
            if self.account not in (None, account):
                # Another account's cluster is read through an MSK VPC connection, which has an ARN of its own.
                raise ValueError(
                    f"cluster_arn: {self.cluster_arn!r} is in account {account};"
                    f" allowed: the stacks' account, {self.account}"
                )
        if self.cluster_arn is None and self.new_cluster is None:
            raise ValueError(
                "cluster_arn: not given, and neither is new_cluster;"
                " say the ARN of an existing MSK cluster, or new_cluster=serverless or provisioned to make one"
            )
        if self.cluster_arn is None and self.vpc and len(self.vpc.subnet_ids) > CLUSTER_SUBNETS_LIMIT:
            raise ValueError(
                f"vpc.subnet_ids: {len(self.vpc.subnet_ids)} of them, but a cluster made there takes"
                f" two or three; allowed: at most {CLUSTER_SUBNETS_LIMIT}"
            )
        if self.on_failure_topic is not None and not self.on_failure:
            raise ValueError(
                f"on_failure_topic: {self.on_failure_topic!r}, but on_failure is false; allowed: leave one out"
            )
        if self.on_failure_topic is not None and not self.provisioned:
            raise ValueError(f"on_failure_topic: {self.on_failure_topic!r} needs mapping_mode provisioned")

    def _check_on_call(self) -> None:
        if self.runbook_url is not None and not self.runbook_url.startswith("https://"):
            raise ValueError(
                f"runbook_url: {self.runbook_url!r} cannot be followed from a mail; allowed: https://…"
            )
        if self.stage in ("local", "dev"):
            return
        if not self.on_failure:
            raise ValueError(
                "on_failure: false loses what the retries gave up; allowed in local and dev only"
            )
        for name, lost in (("own_key", "the stage's own encryption"), ("api_access_logs", "who asked what")):
            if not getattr(self, name):
                raise ValueError(f"{name}: false gives up {lost}; allowed in local and dev only")
        if self.alarm_emails and self.runbook == RUNBOOK:
            raise ValueError(
                "runbook_url: not given, but alarm_emails is, whose readers follow a link;"
                " allowed: https://…, or github_repository (with github_provider as it was deployed)"
            )

    @property
    def runbook(self) -> str:
        """Where the runbook is read, to which an alarm's section is appended as a fragment."""
        if self.runbook_url is not None:
            return self.runbook_url
        if self.github_repository is not None:
            # Its address has no ids.
            name = re.sub(r"@[0-9]+", "", self.github_repository)
            return f"https://github.com/{name}/blob/main/{RUNBOOK}"
        return RUNBOOK

    @property
    def partition(self) -> str:
        """What the region's ARNs begin with, after `arn:`."""
        return next((name for area, name in _PARTITIONS.items() if self.region.startswith(area)), "aws")

    @property
    def is_local(self) -> bool:
        return self.stage == "local"

    @property
    def provisioned(self) -> bool:
        return self.mapping_mode == "provisioned"

    @property
    def partial_batch_response(self) -> bool:
        """Whether Lambda honours a list of failed records; elsewhere returning one loses them."""
        return self.provisioned

    @property
    def keeps_given_up(self) -> bool:
        """Whether what the retries gave up goes into the dead-letter bucket."""
        return self.on_failure and self.on_failure_topic is None

    @property
    def generations(self) -> list[int]:
        """The tables that there are, newest first."""
        return sorted({self.table_generation, self.second_generation or self.table_generation}, reverse=True)

    @property
    def written_generations(self) -> list[int]:
        """The tables that events go into, newest first, which is the order of writing."""
        return self.generations if self.write_second else [self.table_generation]

    def batching(self, topic: str) -> Batching:
        return self.topic_batching.get(topic) or BATCHING[TOPICS[topic].function]

    def name(self, part: str) -> str:
        """`ras-<stage>-<part>`, for what callers and operators know by name."""
        return resource_name(self.stage, part)


_MACHINE: dict[str, Literal["arm64", "x86_64"]] = {"aarch64": "arm64", "arm64": "arm64"}


def _presets(stage: StageName, region: str) -> dict[str, Any]:
    match stage:
        case "local":
            return {
                "account": LOCAL_ACCOUNT,
                # Functions run in the emulator's own interpreter, which `make setup` makes from this one.
                "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
                "architecture": _MACHINE.get(platform.machine(), "x86_64"),
                "functions_on_host": True,
                # No emulator has a cluster or a VPC: mappings name a placeholder, which the local poller serves.
                "cluster_arn": f"arn:aws:kafka:{region}:{LOCAL_ACCOUNT}:cluster/ras-local/{'0' * 8}-local-1",
                "private_network": False,
                "restrict_to_vpc_endpoint": False,
                "tls_only": False,
                # No emulated function is restored from a snapshot, and the emulator refuses alarms over several metrics.
                "snap_start": False,
                "own_key": False,
                "operations": False,
                "api_log_role": False,
                "api_access_logs": False,
                "tracing": False,
                "deletion_protection": False,
                "removal_policy": "destroy",
                "retries": 3,
                "log_retention_days": 1,
                "dead_letter_days": 1,
            }
        case "dev":
            return {
                "new_cluster": "serverless",
                "deletion_protection": False,
                "removal_policy": "destroy",
                "log_level": "DEBUG",
                "log_retention_days": 7,
                "dead_letter_days": 14,
            }
        case "staging":
            return {}
        case "prod":
            # Where MSK takes two subnets only (its developer guide, on creating a cluster).
            zones = 2 if region == "us-west-1" else 3
            return {"availability_zones": zones, "log_retention_days": 90, "dead_letter_days": 365}


def load_settings(context: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings of the stage that the CDK context names (`stage`, default dev).

    `context` is what `cdk -c` and `cdk.json` gave; structured values may be JSON text. Raises SettingsError.
    """
    given = {key: value for key, value in context.items() if _is_setting_key(key)}
    unknown = sorted(given.keys() - Settings.model_fields.keys())
    if unknown:
        raise SettingsError(
            f"setting {unknown[0]!r} is unknown{_meant(unknown[0])};"
            f" allowed: {', '.join(sorted(Settings.model_fields))}"
        )
    values = {key: _from_text(key, value) for key, value in given.items()}
    stage = values.setdefault("stage", DEFAULT_STAGE)
    if stage not in ("local", "dev", "staging", "prod"):
        raise SettingsError(f"setting 'stage': {stage!r} is not one of local, dev, staging, prod")
    values = _from_environment(environ) | values
    preset = _presets(stage, values.get("region", DEFAULT_REGION))
    if values.get("cluster_arn") is not None:
        preset.pop("new_cluster", None)
    if values.get("mapping_mode", preset.get("mapping_mode")) == "on_demand":
        _refuse_ignored(values, PROVISIONED_ONLY, "mapping_mode on_demand", "mapping_mode provisioned")
    said = values
    values = preset | said
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from error
    if settings.vpc:
        _refuse_ignored(said, ("new_vpc_cidr", "availability_zones"), "vpc", "no vpc")
    if settings.zone_names:
        _refuse_ignored(said, ("availability_zones",), "zone_names", "no zone_names")
    if not settings.is_local and (settings.cluster_arn or settings.new_cluster != "provisioned"):
        other = "cluster_arn" if settings.cluster_arn else f"new_cluster {settings.new_cluster}"
        _refuse_ignored(said, OF_NEW_BROKERS, other, "new_cluster provisioned")
    return settings


def _refuse_ignored(given: Mapping[str, Any], keys: Sequence[str], chosen: str, needed: str) -> None:
    """Only what somebody said: presets and defaults are of the other choice. Raises SettingsError."""
    ignored = [
        f"setting {key!r}: {given[key]!r} would be ignored with {chosen}; allowed: leave it out, or {needed}"
        for key in keys
        if key in given
    ]
    if ignored:
        raise SettingsError("\n".join(ignored))


def as_context(settings: Settings) -> dict[str, str]:
    """What `cdk -c` has to say beside the stage, for the same settings again: those that its preset does not give.

    Always the region, as it would otherwise be that of whoever deploys. Never the account, which their credentials
    decide, nor the generations of the table, which are told apart (`infra.stacks`).
    """
    values = settings.model_dump(mode="json", exclude={"stage", "account", *GENERATIONS})
    given = _presets(settings.stage, settings.region)
    # A stage without either is none, so the settings' own cluster stands in where the preset has none.
    cluster = {"cluster_arn": settings.cluster_arn, "new_cluster": settings.new_cluster}
    preset = Settings.model_validate(
        {**given, **cluster, "stage": settings.stage, "region": settings.region}
    ).model_dump(mode="json")
    preset |= {name: given.get(name) for name, value in cluster.items() if value is not None}
    return {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in values.items()
        if name == "region" or value != preset[name]
    }


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Account and region of whoever runs the CDK command line, where they are known."""
    region = (
        environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or environ.get("CDK_DEFAULT_REGION")
    )
    found = {"account": environ.get("CDK_DEFAULT_ACCOUNT"), "region": region}
    if region == _CLI_FALLBACK_REGION and region not in (
        environ.get("AWS_REGION"),
        environ.get("AWS_DEFAULT_REGION"),
    ):
        found["region"] = None
    return {key: value for key, value in found.items() if value}


def passed_over(context: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """What to tell whoever gets another region than the command line named; empty where it is the same."""
    named = environ.get("CDK_DEFAULT_REGION")
    if not named or "region" in context or "region" in _from_environment(environ):
        return ""
    return (
        f"region: {DEFAULT_REGION}, not {named}, which the command line also names where nobody chose one;"
        f" for that say AWS_REGION={named} or -c region={named}"
    )


_PARTS = {
    part: name
    for name, of in (("topic_batching", Batching), ("vpc", ExistingVpc))
    for part in of.model_fields
}


def _meant(key: str) -> str:
    """Which setting somebody may have meant, said behind the name that is unknown."""
    first, *inside = re.split(r"\W", key.replace("-", "_"))
    if first in _PARTS:
        return f"; it is a part of {_PARTS[first]!r}, which is given as JSON"
    near = difflib.get_close_matches(first, Settings.model_fields, 1)
    if not near:
        return ""
    return f"; {near[0]!r} is one{', given as JSON with what it has inside' if inside else ''}"


# All that the CDK's command line writes into cdk.json without a colon, a slash or an at sign in its name.
_KEYS_OF_THE_CDK = {"acknowledged-issue-numbers", "cli-telemetry"}


def _is_setting_key(key: str) -> bool:
    """The context also holds the CDK's own keys; what is none of them is a setting, or was meant to be one."""
    return key not in _KEYS_OF_THE_CDK and not set(key) & set(":/@")


def _from_text(key: str, value: Any) -> Any:
    """`cdk -c` gives text only, so objects come as JSON."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise SettingsError(
            f"setting {key!r}: {value!r} is not JSON: {error}; the shell may have taken its quotes, see docs/deploy.md"
        ) from error


def _explain(problem: Mapping[str, Any]) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    # In the words of who types them.
    if problem["type"] in ("bool_parsing", "bool_type"):
        message = "allowed: true or false"
    message = message.partition(" or instance of")[0]
    message = message.replace("a valid tuple", "a list, as JSON").replace(
        "a valid dictionary", "an object, as JSON"
    )
    if not problem["loc"]:
        return f"setting {message}"
    where = ".".join(str(part) for part in problem["loc"])
    field = Settings.model_fields.get(str(problem["loc"][0]))
    # Of a part of a structure the whole is no example.
    if field is not None and field.examples and len(problem["loc"]) == 1:
        message += f"; such as {' or '.join(map(str, field.examples))}"
    return f"setting {where!r}: {problem['input']!r}: {message}"

"""What differs between stages, in one typed object, which says what fits together.

The types of its values are in `infra.setting_types`, the stages' presets in `infra.stages`; `infra.context` reads it from
what the CDK command line gives. Nothing here imports the CDK, so a wrong setting is reported at once.

    SettingsError
"""

import json
import re
from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from result_aggregator.domain.phases import PHASE_NAMES
from result_aggregator.names import ALLOWED_CALLERS, resource_name
from result_aggregator.topics import BATCHES, ESSAYS, RANKINGS, TOPICS

from infra.setting_types import (
    CLUSTER_SUBNETS_LIMIT,
    RECORD_AGE_LIMIT_S,
    RETRIES_LIMIT,
    Account,
    Batching,
    BrokerType,
    ClusterArn,
    Email,
    ExistingVpc,
    LogRetentionDays,
    NewCidr,
    PollerGroup,
    Region,
    Repository,
    RoleArnOrName,
    StageName,
    TopicName,
    ZoneName,
)

DEFAULT_REGION = "eu-north-1"

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

RUNBOOK = "docs/runbook.md"


class SettingsError(Exception):
    """A setting is unknown or has a value that is not allowed; the message names the setting and its value."""


# A ranking carries up to 5,000 essays in one record, so a few of them are a full payload (6 MB) and there is
# nothing to wait for; essay results are small, many, and cheaper together.
BATCHING: dict[str, Batching] = {
    BATCHES: Batching(batch_size=100, window_seconds=1),
    ESSAYS: Batching(batch_size=500, window_seconds=1),
    RANKINGS: Batching(batch_size=10, window_seconds=0),
}


class Settings(BaseModel):
    """One stage of the service. Frozen; unknown keys are refused.

    None is a secret, as an output of the data stack tells them (`infra.context.as_context`).
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
        default={service: service for service in ALLOWED_CALLERS},
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
    # As MSK names them: 3.6 is out of support since June 2026, and 4 is without ZooKeeper alone.
    kafka_version: Annotated[
        str, StringConstraints(pattern=r"^(3\.[7-9]\.x(\.kraft)?|4\.[0-9]\.x\.kraft)$")
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
    byte_code: Literal["required", "optional"] = Field(
        default="optional",
        description="required: nothing is synthesised without an interpreter of the runtime's version, which compiles",
    )
    byte_code_python: str | None = Field(
        default=None,
        min_length=1,
        description="path of that interpreter; None: the first on the PATH, of pyenv's or of uv's",
        examples=["/opt/python/3.13/bin/python3"],
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
    log_retention_days: LogRetentionDays = 30
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

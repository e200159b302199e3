"""What differs between stages, in one typed object.

A value comes from, in this order: `cdk -c <setting>=<value>`, the environment (account and region only), the
stage's preset below, the field's default. Nothing here imports the CDK, so a wrong setting is told at once.

    SettingsError
"""

import json
import platform
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from result_aggregator.topics import BATCHES, ESSAYS, RANKINGS, TOPICS

StageName = Literal["local", "dev", "staging", "prod"]

Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
ClusterArn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:kafka:[a-z0-9-]+:[0-9]{12}:cluster/[A-Za-z0-9_-]+/[A-Za-z0-9-]+$"
    ),
]
RoleArnOrName = Annotated[
    str, StringConstraints(pattern=r"^(arn:aws[a-z-]*:iam::[0-9]{12}:role/)?[A-Za-z0-9_+=,.@/-]{1,512}$")
]
PollerGroup = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]

# Every emulator answers for this account.
LOCAL_ACCOUNT = "000000000000"
DEFAULT_REGION = "eu-north-1"
DEFAULT_STAGE = "dev"
# The CDK command line says CDK_DEFAULT_REGION=us-east-1 when nobody chose a region. Students' results must not
# move to another continent by that: whoever wants it says so with AWS_REGION or -c region.
_CLI_FALLBACK_REGION = "us-east-1"


class SettingsError(Exception):
    """A setting is unknown or has a value that is not allowed; the message names the setting and its value."""


class Batching(BaseModel):
    """How many records one invocation gets, and how long a poller waits for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Lambda's own limits for Kafka; 0 seconds means "send what is there".
    batch_size: int = Field(ge=1, le=10_000)
    window_seconds: int = Field(ge=0, le=300)


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
    """One stage of the service. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: StageName
    account: Account | None = Field(default=None, description="None: the account of whoever deploys")
    region: Region = DEFAULT_REGION

    # --- around the service
    private_network: bool = Field(default=True, description="make the VPC and its endpoints")
    # MSK Serverless wants two zones; each costs the endpoint's hourly price.
    availability_zones: int = Field(default=2, ge=2, le=3)
    restrict_to_vpc_endpoint: bool = Field(default=True, description="refuse what enters by any other door")
    callers: dict[str, RoleArnOrName] = Field(
        default={
            "api-gateway-service": "api-gateway-service",
            "admin-dashboard-service": "admin-dashboard-service",
        },
        min_length=1,
        description="service name -> its role: an ARN, or the name of a role in the stack's own account",
    )

    # --- events in
    cluster_arn: ClusterArn | None = Field(
        default=None, description="an existing MSK cluster; None: make a Serverless one in our VPC"
    )
    mapping_mode: Literal["provisioned", "on_demand"] = "provisioned"
    minimum_pollers: int = Field(default=1, ge=1, le=200)
    maximum_pollers: int = Field(default=10, ge=1, le=2000)
    poller_group: PollerGroup | None = Field(
        default=None, description="mappings of one group share pollers; None: ras-<stage>-pollers"
    )
    # The function retries inside its own time first, and sets poison aside itself: what reaches these retries
    # is an outage. -1 would be silently capped at 10 by Lambda, because there is an on-failure destination.
    retries: int = Field(default=100, ge=0, le=10_000)
    # -1 is "no limit". An age limit also drops records that were never tried, so a first deployment and a
    # rewound consumer group would lose everything older than it.
    max_record_age_seconds: int = Field(default=-1, ge=-1, le=604_800)
    bisect: bool = True
    on_failure: bool = Field(
        default=True, description="keep what the retries gave up in the dead-letter bucket"
    )
    topic_batching: dict[str, Batching] = Field(
        default={}, description="topic -> its own batching, instead of its function's"
    )

    # --- functions
    runtime: Annotated[str, StringConstraints(pattern=r"^python3\.[0-9]+$")] = "python3.13"
    architecture: Literal["arm64", "x86_64"] = "arm64"
    functions_on_host: bool = Field(
        default=False, description="functions run in this machine's interpreter: the emulator's"
    )
    ingest_memory_mb: int = Field(default=512, ge=128, le=10_240)
    query_memory_mb: int = Field(default=512, ge=128, le=10_240)
    ingest_timeout_seconds: int = Field(
        default=60, ge=1, le=840, description="an MSK mapping allows 14 minutes"
    )
    query_timeout_seconds: int = Field(default=15, ge=1, le=29, description="API Gateway gives up after 29")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # The numbers of days that CloudWatch Logs has, as far as anybody needs them here.
    log_retention_days: Annotated[Literal[1, 3, 7, 14, 30, 90, 365], BeforeValidator(_number)] = 30
    tracing: bool = True
    default_pipeline: Annotated[str, StringConstraints(pattern=r"^[a-z_]+(,[a-z_]+)*$")] = (
        "spellcheck,cj_assessment"
    )

    # --- API
    api_rate_limit: int = Field(default=200, ge=1, description="requests a second, all callers together")
    api_burst_limit: int = Field(default=400, ge=1)
    api_access_logs: bool = True
    # An account has one such role per region, and API Gateway writes no logs without it.
    api_log_role: bool = Field(default=True, description="make the account's API Gateway logging role")

    # --- data
    deletion_protection: bool = True
    removal_policy: Literal["retain", "destroy"] = "retain"
    dead_letter_days: int = Field(default=90, ge=1, le=3650)
    tls_only: bool = Field(default=True, description="the dead-letter bucket refuses plain HTTP")

    @field_validator("topic_batching")
    @classmethod
    def _known_topics(cls, value: dict[str, Batching]) -> dict[str, Batching]:
        unknown = sorted(value.keys() - TOPICS.keys())
        if unknown:
            raise ValueError(
                f"not a topic of this service: {', '.join(unknown)}; allowed: {', '.join(TOPICS)}"
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
        if self.cluster_arn is None and not self.private_network:
            raise ValueError(
                "cluster_arn: needed where private_network is false, as a cluster lives in a VPC"
            )
        if self.restrict_to_vpc_endpoint and not self.private_network:
            raise ValueError("restrict_to_vpc_endpoint: true needs private_network, which makes the endpoint")
        if self.stage != "local":
            opened = [
                name
                for name in ("restrict_to_vpc_endpoint", "private_network", "tls_only")
                if not getattr(self, name)
            ]
            if opened:
                raise ValueError(f"{opened[0]}: false is for the local stage only")
            if self.functions_on_host:
                raise ValueError("functions_on_host: true is for the local stage only")
        return self

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

    def batching(self, topic: str) -> Batching:
        return self.topic_batching.get(topic) or BATCHING[TOPICS[topic].function]

    def name(self, part: str) -> str:
        """`ras-<stage>-<part>`, for what callers and operators know by name."""
        return f"ras-{self.stage}-{part}"


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
                "deletion_protection": False,
                "removal_policy": "destroy",
                "log_level": "DEBUG",
                "log_retention_days": 7,
                "dead_letter_days": 14,
            }
        case "staging":
            return {}
        case "prod":
            return {"availability_zones": 3, "log_retention_days": 90, "dead_letter_days": 365}


def load_settings(context: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """The settings of the stage that the CDK context names (`stage`, default dev).

    `context` is what `cdk -c` and `cdk.json` gave; structured values may be JSON text. Raises SettingsError.
    """
    given = {key: value for key, value in context.items() if _is_setting_key(key)}
    unknown = sorted(given.keys() - Settings.model_fields.keys())
    if unknown:
        raise SettingsError(
            f"setting {unknown[0]!r} is unknown; allowed: {', '.join(sorted(Settings.model_fields))}"
        )
    values = {key: _from_text(key, value) for key, value in given.items()}
    stage = values.setdefault("stage", DEFAULT_STAGE)
    if stage not in ("local", "dev", "staging", "prod"):
        raise SettingsError(f"setting 'stage': {stage!r} is not one of local, dev, staging, prod")
    values = _from_environment(environ) | values
    values = _presets(stage, values.get("region", DEFAULT_REGION)) | values
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from error


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


def _is_setting_key(key: str) -> bool:
    """The context also holds the CDK's own keys, which carry a colon, slash, at sign or hyphen."""
    return key.isidentifier()


def _from_text(key: str, value: Any) -> Any:
    """`cdk -c` gives text only, so objects come as JSON."""
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise SettingsError(f"setting {key!r}: {value!r} is not JSON: {error}") from error


def _explain(problem: Mapping[str, Any]) -> str:
    if not problem["loc"]:
        return f"setting {problem['msg'].removeprefix('Value error, ')}"
    where = ".".join(str(part) for part in problem["loc"])
    return f"setting {where!r}: {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"

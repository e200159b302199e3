"""Names that several parts of the project must agree on: `infra/` gives them, functions and operators look them up.

Everything may import this module, so it imports nothing. The statuses of a batch are in `domain.statuses`, the folders of
the ingest functions in `topics`, the metrics in `metrics`.
"""

from __future__ import annotations

# --- what a stage's resources are called


def resource_name(stage: str, part: str) -> str:
    """`ras-<stage>-<part>`; with an empty part, the beginning of every name of a stage."""
    return f"ras-{stage}-{part}"


def stack_name(stage: str, part: str) -> str:
    """A CloudFormation stack; `part` is `data`, `network`, `msk`, `ingest`, `api`, `operations`, `client` or `github`."""
    return resource_name(stage, part)


def function_name(stage: str, folder: str) -> str:
    """The Lambda function of a folder under `functions/`: `ras-dev-ingest-essays` for `ingest_essays`."""
    return resource_name(stage, folder.replace("_", "-"))


def log_group_name(function: str) -> str:
    """Where the output of a function of this name goes in CloudWatch Logs: the group that Lambda itself would choose."""
    return f"/aws/lambda/{function}"


LIVE_ALIAS = "live"
"""The alias of the newest version of a function that starts from a snapshot."""

USER_INDEX = "user-batches"
"""The table's index that lists a user's batches."""

# --- the prefixes of the dead-letter bucket; each ends with a slash

REJECTED_PREFIX = "rejected/"
"""Records that a function rejected."""
DISCARDED_BATCH_PREFIX = "aws/lambda/"
"""Batches that a mapping discarded after its retries. Lambda chooses this prefix."""
GIVEN_UP_PREFIX = "given-up/"
"""Single records out of such batches, which operators' commands write."""
REPLAYED_PREFIX = "replayed/"
"""Before the prefix of a record that was published to Kafka again."""
REBUILDS_PREFIX = "rebuilds/"
"""How far rebuilds of the view are."""
PAUSED_MAPPINGS_PREFIX = "paused-mappings/"
"""Which mappings a replay has disabled."""

# --- the environment variables that `infra/` sets and the functions read

ENV_TABLE_NAME = "TABLE_NAME"
ENV_DEAD_LETTER_BUCKET = "DEAD_LETTER_BUCKET"
ENV_PARTIAL_BATCH_RESPONSE = "PARTIAL_BATCH_RESPONSE"
ENV_ALLOWED_CALLERS = "ALLOWED_CALLERS"
ENV_DEFAULT_PIPELINE = "DEFAULT_PIPELINE"
ENV_COMPRESS_ANSWERS = "COMPRESS_ANSWERS"
ENV_METRICS_NAMESPACE = "POWERTOOLS_METRICS_NAMESPACE"
ENV_TRACE_DISABLED = "POWERTOOLS_TRACE_DISABLED"

# --- the API

GATEWAY_CALLER = "api-gateway-service"
DASHBOARD_CALLER = "admin-dashboard-service"
ALLOWED_CALLERS = (GATEWAY_CALLER, DASHBOARD_CALLER)
"""The services that may call the API. A service's role has its name, unless the setting `callers` gives another."""

RETRY_AFTER_S = 2
"""`Retry-After` of every 503, and of what API Gateway itself refuses for a passing reason. Long enough for a throttled
table to have recovered; by then the function has tried twice already (`store.aws.ATTEMPTS`)."""

"""The settings of one mapping, read from Lambda's own description of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .errors import InvalidMappingError, PatternError
from .filters import FilterCriteria

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BATCH_SIZE = 100
DEFAULT_WINDOW_S = 0.5
"""Used where no MaximumBatchingWindowInSeconds was ever set ("Batching behavior")."""

RETRIES_WITH_DESTINATION = 10
"""Endless retries and an on-failure destination together mean ten ("Configuring retries": Kafka)."""

ON_DEMAND_CONCURRENCY = 1
CONCURRENCY_PER_POLLER = 5
"""Invocations at a time that one provisioned poller supports ("Kafka event poller scaling modes")."""

INFINITE = -1

KAFKA_SCHEME = "kafka://"
"""How an on-failure destination names a topic ("Using a Kafka topic as an on-failure destination")."""


@dataclass(frozen=True)
class MappingSettings:
    """One mapping's settings, in the units of the Lambda API; -1 is endless."""

    uuid: str
    topic: str
    function_arn: str
    event_source_arn: str = ""
    consumer_group_id: str = ""
    enabled: bool = True
    batch_size: int = DEFAULT_BATCH_SIZE
    window_s: float = DEFAULT_WINDOW_S
    starting_position: str = "TRIM_HORIZON"
    starting_timestamp_ms: int | None = None
    provisioned: bool = False
    minimum_pollers: int = 1
    maximum_retry_attempts: int = INFINITE
    maximum_record_age_s: int = INFINITE
    bisect: bool = False
    report_batch_item_failures: bool = False
    on_failure_arn: str | None = None
    filters: tuple[str, ...] = ()

    @classmethod
    def from_api(cls, described: Mapping[str, Any]) -> MappingSettings:
        """Read what `GetEventSourceMapping` answers.

        The consumer group is the mapping's own id where none was given ("Customizable consumer group ID").
        Retries, record age, bisecting and partial responses exist in provisioned mode alone ("Configuring error
        handling controls for Kafka event sources"): without it they are not applied, whatever the mapping says.
        Raises InvalidMappingError for what Lambda never answers.
        """
        try:
            return cls(**_identity(described), **_reading(described), **_error_handling(described))
        except KeyError as error:
            raise InvalidMappingError(f"a mapping without {error.args[0]}") from error
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise InvalidMappingError(f"mapping {described.get('UUID')}: {error}") from error

    @property
    def refusal(self) -> str:
        """Why Lambda would never have made this mapping; empty where it would.

        An emulator takes anything, so a mapping that could not exist is not polled here, and its status says why.
        """
        if not self.topic:
            return "it names no topic"
        if self.destination_topic is not None and not self.provisioned:
            return "a Kafka topic as on-failure destination needs provisioned mode"
        if self.destination_topic in ("", self.topic):
            return "its on-failure destination must be another topic than its source"
        if self.starting_position == "AT_TIMESTAMP" and self.starting_timestamp_ms is None:
            return "AT_TIMESTAMP needs a StartingPositionTimestamp"
        try:
            FilterCriteria(self.filters)
        except PatternError as error:
            return str(error)
        return ""

    @property
    def mode(self) -> str:
        return "provisioned" if self.provisioned else "on-demand"

    @property
    def destination_topic(self) -> str | None:
        """The topic that discarded records go to, if the destination is one."""
        arn = self.on_failure_arn or ""
        return arn.removeprefix(KAFKA_SCHEME) if arn.startswith(KAFKA_SCHEME) else None

    @property
    def function_name(self) -> str:
        return self.function_arn.split(":function:")[-1].split(":")[0]

    @property
    def qualified_function_arn(self) -> str:
        qualified = ":" in self.function_arn.split(":function:")[-1]
        return self.function_arn if qualified else f"{self.function_arn}:$LATEST"

    @property
    def retry_limit(self) -> int:
        """Retries after the first attempt; -1 is endless.

        Chosen: the limit of ten that a destination brings is applied in on-demand mode as well, because nothing
        would ever reach the destination otherwise.
        """
        if self.maximum_retry_attempts == INFINITE and self.on_failure_arn:
            return RETRIES_WITH_DESTINATION
        return self.maximum_retry_attempts

    def concurrency(self, partitions: int) -> int:
        """Invocations at a time: no more than partitions, as a partition has one batch in flight at most."""
        pollers = min(self.minimum_pollers, max(partitions, 1))
        wanted = CONCURRENCY_PER_POLLER * pollers if self.provisioned else ON_DEMAND_CONCURRENCY
        return max(1, min(wanted, partitions))


def _identity(described: Mapping[str, Any]) -> dict[str, Any]:
    source = described.get("AmazonManagedKafkaEventSourceConfig") or {}
    return {
        "uuid": described["UUID"],
        "topic": (described.get("Topics") or [""])[0],
        "function_arn": described["FunctionArn"],
        "event_source_arn": described.get("EventSourceArn", ""),
        "consumer_group_id": source.get("ConsumerGroupId") or described["UUID"],
        "enabled": described.get("State", "Enabled") not in ("Disabled", "Disabling", "Deleting"),
    }


def _reading(described: Mapping[str, Any]) -> dict[str, Any]:
    window = described.get("MaximumBatchingWindowInSeconds")
    filters = (described.get("FilterCriteria") or {}).get("Filters") or []
    return {
        "batch_size": int(described.get("BatchSize") or DEFAULT_BATCH_SIZE),
        "window_s": DEFAULT_WINDOW_S if window is None else float(window),
        "starting_position": described.get("StartingPosition") or "TRIM_HORIZON",
        "starting_timestamp_ms": _milliseconds(described.get("StartingPositionTimestamp")),
        "filters": tuple(entry["Pattern"] for entry in filters if entry.get("Pattern")),
    }


def _error_handling(described: Mapping[str, Any]) -> dict[str, Any]:
    pollers = described.get("ProvisionedPollerConfig") or {}
    destination = (described.get("DestinationConfig") or {}).get("OnFailure") or {}
    found: dict[str, Any] = {"provisioned": bool(pollers), "on_failure_arn": destination.get("Destination")}
    if pollers:
        found |= {
            "minimum_pollers": int(pollers.get("MinimumPollers") or 1),
            "maximum_retry_attempts": _given(described, "MaximumRetryAttempts"),
            "maximum_record_age_s": _given(described, "MaximumRecordAgeInSeconds"),
            "bisect": bool(described.get("BisectBatchOnFunctionError")),
            "report_batch_item_failures": "ReportBatchItemFailures"
            in (described.get("FunctionResponseTypes") or []),
        }
    return found


def _milliseconds(moment: datetime | float | str | None) -> int | None:
    """A time as boto3 reads it, as templates have it (seconds), or as the AWS command line prints it (ISO 8601)."""
    if moment is None:
        return None
    if isinstance(moment, str) and "T" in moment:
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    return int(float(moment) * 1000)


def _given(described: Mapping[str, Any], name: str) -> int:
    value = described.get(name)
    return INFINITE if value is None else int(value)

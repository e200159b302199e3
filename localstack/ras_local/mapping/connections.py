"""What the mappings of one poller share: the brokers, AWS, and a gate for each function."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from .destinations import OnFailure
from .events import EventSource
from .gate import Gate
from .invoke import invoke
from .records import Nulls
from .roles import ExecutionRoles
from .running import RunningMapping
from .topic_ids import TopicIds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .aws import AwsAccess
    from .settings import MappingSettings

FUNCTION_CONCURRENCY = 2
"""Invocations of one function at a time, unless told otherwise."""


class Connections:
    """Builds mappings that can be started."""

    def __init__(
        self,
        bootstrap_servers: str,
        aws: AwsAccess,
        *,
        kafka_options: Mapping[str, str] | None = None,
        nulls: Nulls = Nulls.ABSENT,
        function_concurrency: int = FUNCTION_CONCURRENCY,
        grant_trust: bool = False,
    ) -> None:
        """`bootstrap_servers` is one comma-joined string; `kafka_options` are librdkafka's settings by their names.

        `function_concurrency` is how many invocations of one function may run at a time. For `grant_trust` see
        `ExecutionRoles`.
        """
        self._bootstrap_servers = bootstrap_servers
        self._aws = aws
        self._kafka_options = kafka_options or {}
        self._nulls = nulls
        self._topic_ids = TopicIds(bootstrap_servers, self._kafka_options)
        self._roles = ExecutionRoles(aws, grant_trust=grant_trust)
        self._gates: defaultdict[str, Gate] = defaultdict(lambda: Gate(function_concurrency))

    def mapping(self, settings: MappingSettings) -> RunningMapping:
        """The mapping of these settings, not started yet."""
        source = EventSource(settings.event_source_arn, self._bootstrap_servers)
        return RunningMapping(
            settings,
            self._bootstrap_servers,
            invoke=partial(invoke, self._aws.functions, settings.function_arn),
            destination=OnFailure(self._roles, settings, source, self._kafka_options),
            gate=self._gates[settings.function_name],
            nulls=self._nulls,
            kafka_options=self._kafka_options,
            topic_ids=self._topic_ids,
        )

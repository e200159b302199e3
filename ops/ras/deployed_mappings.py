"""What is deployed: the event source mappings, as Lambda describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from result_aggregator.names import stack_name

from ras.state_folder import LOCAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ras.aws import Cloud

_TYPE = "AWS::Lambda::EventSourceMapping"
_FORGOTTEN = (
    "Topics",
    "AmazonManagedKafkaEventSourceConfig",
    "ProvisionedPollerConfig",
    "StartingPositionTimestamp",
)
_INVENTED: dict[str, int] = {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0}
"""What the emulator says where nothing was set. AWS's own defaults for Kafka are 100 records and half a second."""


def outputs(cloud: Cloud, stack_name: str) -> dict[str, str] | None:
    """What a stack tells; None where there is no such stack. Raises botocore's errors when that cannot be told."""
    try:
        (stack,) = cloud.stacks.describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ValidationError":
            raise
        return None
    return {one.get("OutputKey", ""): one.get("OutputValue", "") for one in stack.get("Outputs", [])}


@dataclass(frozen=True)
class DeployedMapping:
    """One event source mapping, in the fields that operators' commands use."""

    uuid: str
    topic: str
    function_arn: str
    event_source_arn: str = ""
    consumer_group_id: str = ""
    enabled: bool = True
    described: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The whole answer of Lambda's GetEventSourceMapping, in the API's own names."""

    @classmethod
    def from_api(cls, described: Mapping[str, Any]) -> DeployedMapping:
        """Read an answer of GetEventSourceMapping. Where it names no consumer group, the group is the mapping's id."""
        source = described.get("AmazonManagedKafkaEventSourceConfig") or {}
        return cls(
            uuid=described["UUID"],
            topic=(described.get("Topics") or [""])[0],
            function_arn=described["FunctionArn"],
            event_source_arn=described.get("EventSourceArn", ""),
            consumer_group_id=source.get("ConsumerGroupId") or described["UUID"],
            enabled=described.get("State", "Enabled") not in ("Disabled", "Disabling", "Deleting"),
            described=described,
        )

    @property
    def function_name(self) -> str:
        return self.function_arn.split(":function:")[-1].split(":")[0]


class DeployedMappings:
    """Reads the Kafka mappings; keeps what it read of templates, which is slow, until a mapping is modified."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        # mapping id -> (when it was modified, its properties in the template)
        self._templates: dict[str, Mapping[str, Any]] = {}
        self._forgotten: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def read(self) -> list[DeployedMapping]:
        """Every Kafka mapping, by topic. Raises botocore's errors when Lambda or CloudFormation do not answer.

        Where an emulator makes no mappings for MSK, an output of the local stage tells what they would be
        (`infra.settings`, mappings_as_output).
        """
        found = []
        for page in self._cloud.functions.get_paginator("list_event_source_mappings").paginate():
            for mapping in page["EventSourceMappings"]:
                if ":kafka:" in mapping.get("EventSourceArn", ""):
                    found.append(DeployedMapping.from_api(self._complete(dict(mapping))))
        # AWS itself, which has no endpoint of its own here, makes them.
        if not found and self._cloud.endpoint_url:
            found = [DeployedMapping.from_api(told) for told in self._told()]
        return sorted(found, key=lambda mapping: mapping.topic)

    def _told(self) -> list[Mapping[str, Any]]:
        told = outputs(self._cloud, stack_name(LOCAL, "ingest")) or {}  # it is not deployed yet, or has none
        mappings: list[Mapping[str, Any]] = json.loads(told.get("Mappings", "[]"))
        return mappings

    def _complete(self, mapping: dict[str, Any]) -> Mapping[str, Any]:
        """A mapping with everything that AWS's own answer holds.

        ministack 1.5 forgets Topics, the consumer group and the poller settings of what CloudFormation creates, so
        they are taken from the deployed template, which it does keep; and it has defaults of its own, which are left
        out where the template sets nothing.
        """
        if mapping.get("Topics"):
            return mapping
        modified = str(mapping.get("LastModified"))
        known = self._forgotten.get(mapping["UUID"])
        if known is None or known[0] != modified:
            if known is not None:
                self._templates.pop(mapping["UUID"], None)  # deployed again since
            known = modified, self._template_properties(mapping["UUID"])
            self._forgotten[mapping["UUID"]] = known
        properties = known[1]
        forgotten = {name: properties[name] for name in _FORGOTTEN if name in properties}
        told = {
            name: value
            for name, value in mapping.items()
            if name in properties or _INVENTED.get(name, ...) != value
        }
        return {**forgotten, **told}

    def _template_properties(self, mapping_id: str) -> Mapping[str, Any]:
        if mapping_id not in self._templates:
            self._templates = self._read_templates()
        return self._templates.get(mapping_id, {})

    def _read_templates(self) -> dict[str, Mapping[str, Any]]:
        """The template properties of every deployed mapping, by its id."""
        stacks = self._cloud.stacks
        found: dict[str, Mapping[str, Any]] = {}
        for page in stacks.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                name = stack["StackName"]
                template: Any = stacks.get_template(StackName=name)["TemplateBody"]
                for listed in stacks.get_paginator("list_stack_resources").paginate(StackName=name):
                    for resource in listed["StackResourceSummaries"]:
                        if resource["ResourceType"] == _TYPE:
                            properties = template["Resources"][resource["LogicalResourceId"]]["Properties"]
                            found[resource.get("PhysicalResourceId", "")] = properties
        return found

"""Reading the deployed mappings' settings, also from an emulator that forgets some of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from ras.deployed_mappings import DeployedMapping, DeployedMappings
from ras_local.mapping.settings import MappingSettings

ARN = "arn:aws:kafka:eu-north-1:000000000000:cluster/ras-local/1"


class Pages:
    """A paginator of one page."""

    def __init__(self, page: dict[str, Any]) -> None:
        self._page = page

    def paginate(self, **_: object) -> list[dict[str, Any]]:
        return [self._page]


class Cloud:
    """Lambda and CloudFormation with one stack of one mapping; `calls` counts template reads."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self.listed = listed
        self.outputs: list[dict[str, str]] = []
        self.refusal = ""
        self.endpoint_url = "http://127.0.0.1:4566"
        self.calls: Counter[str] = Counter()
        self.properties = {
            "Topics": ["essays"],
            "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "ras-local-essays"},
            "ProvisionedPollerConfig": {"MinimumPollers": 2},
            "BatchSize": 1,
            "DestinationConfig": {"OnFailure": {"Destination": {"Fn::ImportValue": "x"}}},
        }

    @property
    def functions(self) -> Cloud:
        return self

    @property
    def stacks(self) -> Cloud:
        return self

    def get_paginator(self, name: str) -> Pages:
        return Pages(
            {
                "list_event_source_mappings": {"EventSourceMappings": self.listed},
                "describe_stacks": {"Stacks": [{"StackName": "ras-local-ingest"}]},
                "list_stack_resources": {
                    "StackResourceSummaries": [
                        {"ResourceType": "AWS::IAM::Role", "LogicalResourceId": "Role"},
                        {
                            "ResourceType": "AWS::Lambda::EventSourceMapping",
                            "LogicalResourceId": "Mapping",
                            "PhysicalResourceId": "uuid-1",
                        },
                    ]
                },
            }[name]
        )

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 (boto3's own spelling)
        assert StackName == "ras-local-ingest"
        if self.refusal:
            raise ClientError({"Error": {"Code": self.refusal, "Message": "no"}}, "DescribeStacks")
        return {"Stacks": [{"Outputs": self.outputs}]}

    def get_template(self, StackName: str) -> dict[str, Any]:  # noqa: N803 (boto3's own spelling)
        self.calls[StackName] += 1
        resource = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": self.properties}
        return {"TemplateBody": {"Resources": {"Mapping": resource, "Role": {}}}}


def mapping(**more: Any) -> dict[str, Any]:
    return {
        "UUID": "uuid-1",
        "FunctionArn": "f",
        "EventSourceArn": ARN,
        "LastModified": "t1",
        "BatchSize": 500,
        **more,
    }


def deployed(cloud: Cloud) -> DeployedMappings:
    return DeployedMappings(cast("Any", cloud))


def test_what_lambda_answers_in_full_is_taken_as_it_is() -> None:
    cloud = Cloud([mapping(Topics=["scores"])])
    [settings] = deployed(cloud).read()

    assert (settings.topic, settings.consumer_group_id) == ("scores", "uuid-1")
    assert not cloud.calls


def test_what_the_emulator_forgets_comes_from_the_template_and_nothing_else() -> None:
    destination = {"OnFailure": {"Destination": "arn:aws:s3:::letters"}}
    [found] = deployed(Cloud([mapping(DestinationConfig=destination)])).read()
    settings = MappingSettings.from_api(found.described)

    assert (found.topic, found.consumer_group_id) == ("essays", "ras-local-essays")
    assert (settings.provisioned, settings.minimum_pollers) == (True, 2)
    assert (settings.batch_size, settings.on_failure_arn) == (500, "arn:aws:s3:::letters")


def test_templates_are_read_again_only_when_a_mapping_was_modified() -> None:
    cloud = Cloud([mapping()])
    reader = deployed(cloud)
    reader.read()
    reader.read()

    assert cloud.calls.total() == 1

    cloud.listed = [mapping(LastModified="t2")]
    cloud.properties["Topics"] = ["other"]

    assert [settings.topic for settings in reader.read()] == ["other"]


def test_mappings_of_other_sources_are_left_alone() -> None:
    queue = "arn:aws:sqs:eu-north-1:000000000000:queue"

    assert deployed(Cloud([mapping(EventSourceArn=queue)])).read() == []


def test_mappings_that_the_emulator_could_not_make_are_read_from_the_stacks_output() -> None:
    """Only where Lambda has none; in the words in which it would tell them."""
    told = mapping(Topics=["essays"], AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": "told"})
    cloud = Cloud([])
    cloud.outputs = [{"OutputKey": "Mappings", "OutputValue": json.dumps([told])}]
    assert [one.consumer_group_id for one in deployed(cloud).read()] == ["told"]
    cloud.listed = [mapping()]

    assert [one.consumer_group_id for one in deployed(cloud).read()] == ["ras-local-essays"]


def test_before_the_stack_is_there_it_has_no_mappings() -> None:
    """CloudFormation's word for a stack that it does not know."""
    cloud = Cloud([])
    cloud.refusal = "ValidationError"

    assert deployed(cloud).read() == []


@pytest.mark.parametrize("code", ["Throttling", "InternalFailure"])
def test_a_stack_that_is_not_told_has_not_gone(code: str) -> None:
    """Without mappings the poller would stop, and nothing would count as consumed: a passing error is one."""
    cloud = Cloud([])
    cloud.refusal = code

    with pytest.raises(ClientError, match=code):
        deployed(cloud).read()


def test_aws_itself_is_not_asked_for_the_local_stage() -> None:
    """It makes mappings; whose role reads one stage's stacks alone would be refused."""
    cloud = Cloud([])
    cloud.endpoint_url = ""
    cloud.refusal = "AccessDenied"

    assert deployed(cloud).read() == []


def test_the_emulators_own_defaults_are_not_taken_for_settings() -> None:
    """AWS Lambda developer guide, batching behavior: without a setting it is 100 records and 500 ms for Kafka."""
    cloud = Cloud([mapping(BatchSize=10, MaximumBatchingWindowInSeconds=0)])
    del cloud.properties["BatchSize"]
    [unset] = (MappingSettings.from_api(one.described) for one in deployed(cloud).read())
    cloud = Cloud([mapping(BatchSize=10, MaximumBatchingWindowInSeconds=0)])
    cloud.properties |= {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0}
    [set_so] = (MappingSettings.from_api(one.described) for one in deployed(cloud).read())

    assert (unset.batch_size, unset.window_s) == (100, 0.5)
    assert (set_so.batch_size, set_so.window_s) == (10, 0)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"Topics": ["scores"], "FunctionArn": "arn:aws:lambda:eu-north-1:1:function:f:live"},
        {"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "readers"}},
        {"AmazonManagedKafkaEventSourceConfig": None, "Topics": []},
        *(
            {"State": state}
            for state in ("Enabled", "Creating", "Updating", "Disabling", "Disabled", "Deleting")
        ),
    ],
)
def test_operators_and_the_local_event_source_mapping_read_an_answer_alike(more: dict[str, Any]) -> None:
    described = mapping(**more)
    found, settings = DeployedMapping.from_api(described), MappingSettings.from_api(described)

    for name in ("uuid", "topic", "function_arn", "function_name", "event_source_arn", "consumer_group_id"):
        assert getattr(found, name) == getattr(settings, name), name
    assert found.enabled == settings.enabled
    assert found.described == described

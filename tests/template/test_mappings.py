"""Event source mappings: one per topic, each as its plan says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from result_aggregator.topics import TOPICS

from tests.template.given import CLUSTER_ARN, GIVEN_VPC
from tests.template.policies import allows
from tests.template.synth import Assembly, assembly

KIND = "AWS::Lambda::EventSourceMapping"
PROVISIONED_ONLY = (
    "BisectBatchOnFunctionError",
    "FunctionResponseTypes",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ProvisionedPollerConfig",
)


def by_topic(stage: Assembly) -> dict[str, dict[str, Any]]:
    mappings = stage.properties("ingest", KIND)
    return {mapping["Topics"][0]: mapping for mapping in mappings}


def test_every_topic_has_one_mapping(stage: Assembly) -> None:
    """The routing table decides; a mapping takes exactly one topic."""
    mappings = stage.properties("ingest", KIND)

    assert sorted(mapping["Topics"] for mapping in mappings) == sorted([name] for name in TOPICS)


def test_mapping_feeds_the_topics_function(stage: Assembly) -> None:
    """Each topic goes to the function that the routing table names."""
    for topic, mapping in by_topic(stage).items():
        function = stage.settings.name(TOPICS[topic].function.replace("_", "-"))

        assert mapping["FunctionName"].endswith(f":function:{function}")


def test_provisioned_mapping_says_everything(stage: Assembly) -> None:
    """By default a mapping retries, bisects, hears of single records, and gives up into the dead-letter bucket."""
    bucket = stage.resolve(
        "data", {"Fn::GetAtt": [next(iter(stage.resources("data", "AWS::S3::Bucket"))), "Arn"]}
    )
    for topic, mapping in by_topic(stage).items():
        settings = stage.settings

        assert mapping["StartingPosition"] == "TRIM_HORIZON"
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["MaximumRetryAttempts"] == settings.retries >= 0
        assert mapping["MaximumRecordAgeInSeconds"] == settings.max_record_age_seconds == -1
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["ProvisionedPollerConfig"] == {
            "MinimumPollers": settings.minimum_pollers,
            "MaximumPollers": settings.maximum_pollers,
            "PollerGroupName": settings.name("pollers"),
        }
        assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": bucket}}
        assert mapping["BatchSize"] == settings.batching(topic).batch_size
        assert mapping["MaximumBatchingWindowInSeconds"] == settings.batching(topic).window_seconds


def test_consumer_groups_are_named_and_apart(stage: Assembly) -> None:
    """An operator finds a topic's lag by name; two mappings of one group would share its partitions."""
    groups = {
        topic: mapping["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"]
        for topic, mapping in by_topic(stage).items()
    }

    assert groups["huleedu.essay.nlp.completed.v1"] == f"ras-{stage.settings.stage}-essay.nlp.completed.v1"
    assert len(set(groups.values())) == len(TOPICS)
    assert max(map(len, groups.values())) <= 200


def test_on_demand_mode_leaves_out_what_needs_pollers() -> None:
    """Only the S3 destination also works on demand; the rest would be refused when it is deployed."""
    on_demand = assembly("prod", mapping_mode="on_demand", cluster_arn=CLUSTER_ARN)

    for mapping in by_topic(on_demand).values():
        assert not mapping.keys() & set(PROVISIONED_ONLY)
        assert mapping["DestinationConfig"]["OnFailure"]


@pytest.mark.parametrize("mode", ["provisioned", "on_demand"])
def test_function_answers_as_its_mapping_reads(mode: str) -> None:
    """A list of failed records is returned only where it is honoured: elsewhere it would lose them."""
    made = assembly("prod", mapping_mode=mode, cluster_arn=CLUSTER_ARN)
    reported = {"FunctionResponseTypes" in mapping for mapping in by_topic(made).values()}
    told = {
        function["Environment"]["Variables"]["PARTIAL_BATCH_RESPONSE"]
        for function in made.properties("ingest", "AWS::Lambda::Function")
    }

    assert (reported, told) == (({True}, {"true"}) if mode == "provisioned" else ({False}, {"false"}))


def test_existing_cluster_is_used_as_it_is() -> None:
    """A given cluster is consumed, and none is made."""
    existing = assembly("prod", cluster_arn=CLUSTER_ARN)

    assert {mapping["EventSourceArn"] for mapping in by_topic(existing).values()} == {CLUSTER_ARN}
    assert "msk" not in existing.templates


def test_batching_of_one_topic_by_setting() -> None:
    """One topic's batching changes, and no other's."""
    override = '{"huleedu.essay.nlp.completed.v1": {"batch_size": 7, "window_seconds": 30}}'
    mappings = by_topic(assembly("prod", topic_batching=override))

    sizes = {topic: mapping["BatchSize"] for topic, mapping in mappings.items() if mapping["BatchSize"] == 7}
    assert sizes == {"huleedu.essay.nlp.completed.v1": 7}
    assert mappings["huleedu.essay.nlp.completed.v1"]["MaximumBatchingWindowInSeconds"] == 30


def test_mappings_told_are_the_mappings_made(local: Assembly) -> None:
    """For an emulator that makes none, the output says of every topic what would be made, and nothing is made."""
    without = assembly("local", mappings_as_output="true")
    told = {mapping["Topics"][0]: mapping for mapping in json.loads(without.outputs("ingest")["Mappings"])}
    made = by_topic(local)

    assert without.resources("ingest", KIND) == {}
    assert told.keys() == made.keys()
    for topic, mapping in told.items():
        renamed = {"UUID": made[topic]["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"]}
        properties = {name: value for name, value in made[topic].items() if name != "Tags"}
        renamed["FunctionArn"] = properties.pop("FunctionName")
        assert mapping == properties | renamed


def test_no_destination_by_setting() -> None:
    """Without the on-failure destination the role may not write Lambda's prefix either."""
    bare = assembly("dev", on_failure=False)

    assert not any("DestinationConfig" in mapping for mapping in by_topic(bare).values())
    statements = [
        statement
        for policy in bare.properties("ingest", "AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    (bucket,) = bare.resources("data", "AWS::S3::Bucket")
    objects = f"arn:aws:s3:::{bucket.lower()}"
    assert allows(statements, "s3:PutObject", f"{objects}/rejected/x")
    assert not allows(statements, "s3:PutObject", f"{objects}/aws/lambda/x")


def test_destination_is_a_topic_by_setting() -> None:
    """What is given up is published in the cluster; the role may write that topic and no bucket prefix for it."""
    stage = assembly("prod", vpc=GIVEN_VPC, cluster_arn=CLUSTER_ARN, on_failure_topic="ras.given-up")
    destinations = {m["DestinationConfig"]["OnFailure"]["Destination"] for m in by_topic(stage).values()}
    (bucket,) = stage.resources("data", "AWS::S3::Bucket")
    topics = CLUSTER_ARN.replace(":cluster/", ":topic/")

    assert destinations == {"kafka://ras.given-up"}
    roles: dict[str, list[dict[str, Any]]] = {}
    for policy in stage.properties("ingest", "AWS::IAM::Policy"):
        roles.setdefault(policy["Roles"][0], []).extend(policy["PolicyDocument"]["Statement"])
    assert len(roles) == 3
    for may in roles.values():
        assert allows(may, "kafka-cluster:WriteData", f"{topics}/ras.given-up")
        assert not allows(may, "kafka-cluster:WriteData", f"{topics}/huleedu.essay.nlp.completed.v1")
        assert not allows(may, "s3:PutObject", f"arn:aws:s3:::{bucket.lower()}/aws/lambda/x")

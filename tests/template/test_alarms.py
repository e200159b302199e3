"""The alarms: each has its page, goes somewhere, and watches what exists."""

from __future__ import annotations

import json
from typing import Any

from result_aggregator.domain.outcomes import HANDED_BACK
from result_aggregator.metrics import DLQ_MESSAGES_SENT, RECORDS, SERVICE, SERVICE_DIMENSION
from result_aggregator.topics import TOPICS

from tests.template.given import ACCOUNT, CLUSTER_ARN, GIVEN_VPC, REGION
from tests.template.synth import Assembly, assembly
from tests.template.test_runbook import SECTIONS
from tests.template.watched import (
    ALARM,
    MAPPING,
    alarms_of,
    metrics_of,
    metrics_of_alarms,
    only_table,
    sections_of,
)

# What Lambda counts of a mapping, and the group by which it has to be asked to.
COUNTED = {
    "DroppedEventCount": "EventCount",
    "OnFailureDestinationDeliveredEventCount": "EventCount",
    "PollingErrorCount": "ErrorCount",
}


def of_group(mapping: dict[str, Any]) -> dict[str, str]:
    """By what MSK knows the group of a mapping on its topic."""
    return {
        "Cluster Name": mapping["EventSourceArn"].split("/")[1],
        "Consumer Group": mapping["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"],
        "Topic": mapping["Topics"][0],
    }


def test_every_alarm_has_its_section_and_every_section_its_alarm(aws_stage: Assembly) -> None:
    """The link in an alarm's description leads to a heading of the runbook, and none of them is for nothing."""
    linked = sections_of(aws_stage)

    assert set(linked) == set(SECTIONS)
    for section, names in linked.items():
        assert all(name.startswith(aws_stage.settings.name(f"{section}-")) for name in names)


def test_what_is_deployed_is_watched(aws_stage: Assembly) -> None:
    """Each function, topic, mapping, table and index, and the API, by what can go wrong with it; whatever is added, too."""
    ingest, (query,) = (
        [one["FunctionName"] for one in aws_stage.properties(part, "AWS::Lambda::Function")]
        for part in ("ingest", "api")
    )
    mappings = aws_stage.properties("ingest", MAPPING)
    table, (index,) = only_table(aws_stage)
    api = {
        "ApiName": aws_stage.only("api", "AWS::ApiGateway::RestApi")["Name"],
        "Stage": aws_stage.only("api", "AWS::ApiGateway::Stage")["StageName"],
    }
    wanted = [
        *(("Throttles", {"FunctionName": function}) for function in (*ingest, query)),
        *((name, {"FunctionName": function}) for function in ingest for name in ("Errors", "OffsetLag")),
        *(
            (metric.name, {"function": function, SERVICE_DIMENSION: SERVICE})
            for function in ingest
            for metric in (DLQ_MESSAGES_SENT, RECORDS[HANDED_BACK])
        ),
        *(("SumOffsetLag", of_group(mapping)) for mapping in mappings),
        *(
            (name, {"EventSourceMappingUUID": mapping})
            for mapping in aws_stage.resources("ingest", MAPPING)
            for name in COUNTED
        ),
        *(
            (f"{what}ThrottleEvents", {"TableName": table, **dimension})
            for what in ("Read", "Write")
            for dimension in ({}, {"GlobalSecondaryIndexName": index})
        ),
        *((name, api) for name in ("5XXError", "Latency")),
    ]
    watched = [(name, dimensions) for _, name, dimensions in metrics_of_alarms(aws_stage)]

    assert {mapping["Topics"][0] for mapping in mappings} == set(TOPICS)
    assert [one for one in wanted if one not in watched] == []


def test_a_second_table_is_watched_while_it_is_written() -> None:
    """A fill that throttles it rings, too; afterwards nothing of the operations stack holds on to it."""
    filling = assembly("prod", second_generation=2)
    left = assembly("prod", table_generation=2, second_generation=1, write_second="false")
    both = {
        f"ras-prod-throttles-{table}-{what}s"
        for table in ("table", "second-table")
        for what in ("read", "write")
    }
    names = {
        alarm["AlarmName"]: json.dumps(alarm["Dimensions"])
        for alarm in filling.properties("operations", ALARM)
        if alarm["AlarmName"] in both
    }

    assert names.keys() == both
    assert names["ras-prod-throttles-table-writes"] != names["ras-prod-throttles-second-table-writes"]
    assert not any("second-table" in alarm["AlarmName"] for alarm in left.properties("operations", ALARM))


def test_alarms_tell_somebody_and_say_when_it_is_over(aws_stage: Assembly) -> None:
    """Both go to the topic; a stretch without data is no alarm."""
    (topic,) = aws_stage.outputs("operations").values()

    named = f"arn:aws:sns:{REGION}:{ACCOUNT}:{aws_stage.settings.name('alarms')}"
    assert aws_stage.only("operations", "AWS::SNS::Topic")["TopicName"] == named.rsplit(":", 1)[1]
    for alarm in alarms_of(aws_stage):
        assert alarm["AlarmActions"] == alarm["OKActions"]
        assert alarm["AlarmActions"] in ([topic], [named])
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]
        # The CDK's default is "or equal", and most thresholds are 0.
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"


def test_mappings_are_watched_by_what_lambda_counts_of_them() -> None:
    """Each provisioned one by its id, wherever it keeps what it gave up; on demand Lambda counts nothing of it."""
    elsewhere = assembly("prod", vpc=GIVEN_VPC, cluster_arn=CLUSTER_ARN, on_failure_topic="ras.given-up")
    on_demand = assembly("prod", mapping_mode="on_demand", cluster_arn=CLUSTER_ARN)
    watched: dict[str, set[str]] = {}
    for alarm in elsewhere.properties("ingest", ALARM):
        (dimension,) = alarm["Dimensions"]
        watched.setdefault(dimension["Value"], set()).add(alarm["MetricName"])

    assert watched.keys() == elsewhere.resources("ingest", MAPPING).keys()
    for made_as, mapping in elsewhere.resources("ingest", MAPPING).items():
        asked_for = set(mapping["Properties"]["MetricsConfig"]["Metrics"])
        assert {COUNTED[metric] for metric in watched[made_as]} <= asked_for
    assert not on_demand.resources("ingest", ALARM)
    assert not any("MetricsConfig" in mapping for mapping in on_demand.properties("ingest", MAPPING))


def test_thresholds_by_setting() -> None:
    """What is slow and what is far behind differs between platforms."""
    settings = {
        "slow_answer_ms": 250,
        "lag_floor": 7,
        "alarm_emails": '["on-call@example.com"]',
        "runbook_url": "https://wiki/x",
    }
    stage = assembly("prod", **settings)
    alarms = {alarm["AlarmName"]: alarm for alarm in stage.properties("operations", ALARM)}
    subscription = stage.only("operations", "AWS::SNS::Subscription")

    assert alarms["ras-prod-api-p99-api"]["Threshold"] == 250
    assert "lag > 7" in json.dumps(alarms["ras-prod-offset-lag-growing-ingest-essays"])
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "on-call@example.com")


def test_given_up_batches_are_counted_where_lambda_puts_them(prod: Assembly) -> None:
    """By the bucket, under the prefix that functions may write; where they go elsewhere there is nothing to count."""
    (metered,) = prod.only("data", "AWS::S3::Bucket")["MetricsConfigurations"]
    elsewhere = assembly("prod", vpc=GIVEN_VPC, cluster_arn=CLUSTER_ARN, on_failure_topic="ras.given-up")

    assert metered == {"Id": "given-up", "Prefix": "aws/lambda/"}
    for stage in (elsewhere, assembly("dev", on_failure="false")):
        assert f"{stage.settings.name('given-up-batches')}-bucket" not in str(sections_of(stage))
        assert "MetricsConfigurations" not in stage.only("data", "AWS::S3::Bucket")
        assert "AWS/S3" not in {namespace for namespace, _, _ in metrics_of(stage)}
    assert "given-up-batches" in sections_of(elsewhere)
    assert "given-up-batches" not in sections_of(stage)

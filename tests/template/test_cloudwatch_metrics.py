"""The metrics that alarms and the dashboard read are of what is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from result_aggregator.topics import TOPICS

from tests.template.watched import MAPPING, metrics_of, only_table

if TYPE_CHECKING:
    from tests.template.synth import Assembly


def test_metrics_are_of_what_is_deployed(aws_stage: Assembly) -> None:
    """Functions, API, table, consumer groups: every dimension names one of this stage's."""
    table, indexes = only_table(aws_stage)
    metered = aws_stage.only("data", "AWS::S3::Bucket")
    bucket = aws_stage.outputs("data")["DeadLetterBucketName"]
    functions = {
        function["FunctionName"]: function["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
        for part in ("ingest", "api")
        for function in aws_stage.properties(part, "AWS::Lambda::Function")
    }
    mappings = aws_stage.properties("ingest", MAPPING)
    (cluster,) = {mapping["EventSourceArn"].split("/")[1] for mapping in mappings}
    known = {
        "FunctionName": set(functions),
        "function": set(functions),
        "service": {"result-aggregator"},
        "TableName": {table},
        "GlobalSecondaryIndexName": set(indexes),
        "EventSourceMappingUUID": set(aws_stage.resources("ingest", MAPPING)),
        "BucketName": {bucket},
        "FilterId": {one["Id"] for one in metered["MetricsConfigurations"]},
        "ApiName": {aws_stage.only("api", "AWS::ApiGateway::RestApi")["Name"]},
        "Stage": {aws_stage.only("api", "AWS::ApiGateway::Stage")["StageName"]},
        "Cluster Name": {cluster},
        "Consumer Group": {m["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"] for m in mappings},
        "Topic": set(TOPICS),
    }
    found = list(metrics_of(aws_stage))

    emitted_into = {namespace for namespace, _, _ in found if not namespace.startswith("AWS/")}
    assert emitted_into == set(functions.values())
    for _, name, dimensions in found:
        assert dimensions, name
        for dimension, value in dimensions.items():
            assert value in known[dimension], f"{name}: {dimension} {value}"

"""Every metric that alarms and the dashboard read, by the names of whoever counts it.

Metrics of ours are named as the functions emit them (`result_aggregator.metrics`, which a test holds this against), the
others as AWS names them. A metric that is never emitted makes an alarm that never rings.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from result_aggregator.metrics import SERVICE, SERVICE_DIMENSION, Metric, namespace
from result_aggregator.names import USER_INDEX, function_name
from result_aggregator.topics import BATCHES, ESSAYS, RANKINGS

from infra.data import GIVEN_UP_METRICS
from infra.mapping_plans import consumer_group
from infra.settings import Settings

INGEST = (BATCHES, ESSAYS, RANKINGS)

MINUTE = Duration.minutes(1)
FIVE_MINUTES = Duration.minutes(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMetrics:
    """The metrics of one stage. `tables` are those that events go into, by the names that alarms give them."""

    settings: Settings
    tables: Mapping[str, dynamodb.ITable]
    bucket: s3.IBucket
    cluster_name: str

    def function(self, folder: str) -> str:
        """The name of a function, by its folder."""
        return function_name(self.settings.stage, folder)

    def emitted(self, metric: Metric, dimensions: dict[str, str], period: Duration) -> cloudwatch.Metric:
        """A sum of a count that our functions emit; Powertools adds the service to what they say."""
        return cloudwatch.Metric(
            namespace=namespace(self.settings.stage),
            metric_name=metric.name,
            dimensions_map={SERVICE_DIMENSION: SERVICE, **dimensions},
            statistic="Sum",
            period=period,
        )

    def of_function(self, folder: str, name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
        function = self.function(folder)
        return cloudwatch.Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={"FunctionName": function},
            statistic=statistic,
            period=period,
            label=f"{function} {name}",
        )

    def of_api(self, name: str, statistic: str, period: Duration) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/ApiGateway",
            metric_name=name,
            dimensions_map={"ApiName": self.function("query"), "Stage": self.settings.stage},
            statistic=statistic,
            period=period,
            label=f"{name} {statistic}",
        )

    def counted_apart(self) -> list[tuple[str, dynamodb.ITable, str | None]]:
        """Name, table and index of everything that DynamoDB counts by itself."""
        return [
            (f"{part}-index" if index else part, table, index)
            for part, table in self.tables.items()
            for index in (None, USER_INDEX)
        ]

    def of_table(
        self,
        name: str,
        statistic: str,
        period: Duration,
        table: dynamodb.ITable,
        index: str | None,
    ) -> cloudwatch.Metric:
        """A metric of DynamoDB, of a table, or of its index where that is named.

        DynamoDB guide, "WriteThrottleEvents": "The TableName dimension returns" those "for the table, but not for any
        global secondary indexes"; consumed units are told apart likewise.
        """
        return cloudwatch.Metric(
            namespace="AWS/DynamoDB",
            metric_name=name,
            dimensions_map={
                "TableName": table.table_name,
                **({"GlobalSecondaryIndexName": index} if index else {}),
            },
            statistic=statistic,
            period=period,
        )

    def of_tables(self, name: str, period: Duration) -> list[cloudwatch.IMetric]:
        """The sum of each table and of each index."""
        return [self.of_table(name, "Sum", period, table, index) for _, table, index in self.counted_apart()]

    def given_up(self, period: Duration) -> cloudwatch.Metric:
        """What Lambda has put into the bucket, for all mappings together."""
        return cloudwatch.Metric(
            namespace="AWS/S3",
            metric_name="PutRequests",
            dimensions_map={"BucketName": self.bucket.bucket_name, "FilterId": GIVEN_UP_METRICS},
            statistic="Sum",
            period=period,
            label="batches given up",
        )

    def of_group(self, topic: str, name: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/Kafka",
            metric_name=name,
            dimensions_map={
                "Cluster Name": self.cluster_name,
                "Consumer Group": consumer_group(self.settings, topic),
                "Topic": topic,
            },
            statistic="Maximum",
            period=MINUTE,
            label=topic,
        )


def of_mapping(mapping_id: str, name: str) -> cloudwatch.Metric:
    """A count of one provisioned mapping by its id.

    Lambda guide, "Event source mapping metrics": EventCount and ErrorCount have to be asked for (`infra.mappings`), and
    carry the dimension EventSourceMappingUUID.
    """
    return cloudwatch.Metric(
        namespace="AWS/Lambda",
        metric_name=name,
        dimensions_map={"EventSourceMappingUUID": mapping_id},
        statistic="Sum",
        period=FIVE_MINUTES,
    )

"""Being on call: the alarms, the topic that they go to, and the dashboard of one stage."""

from aws_cdk import Fn
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.alarms import add_alarm, watches
from infra.cloudwatch_dashboard import add_dashboard
from infra.cloudwatch_metrics import StageMetrics
from infra.settings import Settings


class Operations(Construct):
    """The alarms' topic, the alarms and the dashboard of one stage."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        table: dynamodb.ITable,
        second: dynamodb.ITable | None,
        bucket: s3.IBucket,
        cluster_arn: str,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, construct_id)
        metrics = StageMetrics(
            settings=settings,
            tables={"table": table, **({"second-table": second} if second else {})},
            bucket=bucket,
            cluster_name=Fn.select(1, Fn.split("/", cluster_arn)),
        )
        self.topic = self._topic(settings, key)
        for watch in watches(metrics):
            add_alarm(self, settings, watch, self.topic)
        add_dashboard(self, metrics)

    def _topic(self, settings: Settings, key: kms.IKey | None) -> sns.Topic:
        topic = sns.Topic(
            self, "Alarms", topic_name=settings.name("alarms"), master_key=key, enforce_ssl=True
        )
        # Said out loud, because a topic that has a policy of its own loses the default one.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisStage",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": topic.stack.account}},
            )
        )
        for address in settings.alarm_emails:
            topic.add_subscription(subscriptions.EmailSubscription(address))
        return topic

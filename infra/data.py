"""Where the service keeps things: the view's table, the bucket of what could not be applied, the key of the logs."""

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from result_aggregator.domain.table_layout import STANDING
from result_aggregator.names import DISCARDED_BATCH_PREFIX, REBUILDS_PREFIX, USER_INDEX

from infra.nag import acknowledge
from infra.settings import Settings

# The name of the bucket's metrics of the batches that Lambda puts there.
GIVEN_UP_METRICS = "given-up"


def removal(settings: Settings, *, guarded: bool = False) -> RemovalPolicy:
    """What is kept when its stack goes is still taken back where its own creation fails.

    Otherwise a name that is already there fails the next try (CloudFormation guide, "DeletionPolicy attribute":
    RetainExceptOnCreate). What is `guarded` against deletion by itself would refuse that, and stays.
    """
    if settings.removal_policy != "retain":
        return RemovalPolicy.DESTROY
    return RemovalPolicy.RETAIN if guarded else RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE


class ViewTable(Construct):
    """A table of the view: `pk`/`sk`, and a sparse index that lists a user's batches newest first.

    There is one, and while the view is rebuilt or just was, a second of another generation beside it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            # The AWS-managed key: its use is in CloudTrail like that of a key of ours, it has no monthly price,
            # no role needs rights on it, and nobody can lock the view out by deleting it. The view can be
            # rebuilt from the topics, so what a key of our own adds (shutting the data off) buys little.
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires_at",
            deletion_protection=settings.deletion_protection,
            removal_policy=removal(settings, guarded=settings.deletion_protection),
        )
        # Only batch items carry both keys. Beside them only how a batch ended: a listing reads the items themselves,
        # so what essays' results change of a batch never costs an index write.
        self.table.add_global_secondary_index(
            index_name=USER_INDEX,
            partition_key=dynamodb.Attribute(name="user_id", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="created_at", type=dynamodb.AttributeType.STRING),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=[STANDING],
        )


class DeadLetters(Construct):
    """A private bucket: `rejected/` from the functions, `aws/lambda/` from Lambda.

    Operators' replays write `given-up/` and `replayed/` beside them, and note under `paused-mappings/` what they disable; a
    rebuild notes under `rebuilds/` how far it is, with the operators' own rights.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        expiry = Duration.days(settings.dead_letter_days)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            # The AWS-managed key for the table's reasons; the bucket key saves a KMS call per object.
            encryption=s3.BucketEncryption.KMS_MANAGED,
            bucket_key_enabled=True,
            enforce_ssl=settings.tls_only,
            minimum_tls_version=1.2 if settings.tls_only else None,
            # A topic that is made again counts its offsets from zero: the older record must not be overwritten.
            versioned=True,
            # S3 counts what arrives, of on-demand mappings too, of which Lambda counts nothing.
            metrics=[s3.BucketMetrics(id=GIVEN_UP_METRICS, prefix=DISCARDED_BATCH_PREFIX)]
            if settings.operations and settings.keeps_given_up
            else None,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire",
                    expiration=expiry,
                    noncurrent_version_expiration=expiry,
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                ),
                # Only the last note counts. Of rules that overlap S3 honours the shorter one (user guide, "How Amazon
                # S3 handles conflicts in lifecycle configurations").
                s3.LifecycleRule(
                    id="notes", prefix=REBUILDS_PREFIX, noncurrent_version_expiration=Duration.days(1)
                ),
            ],
            removal_policy=removal(settings),
        )
        acknowledge(
            self.bucket,
            "S1",
            "Access logs would be a second bucket of personal data that nothing logs in turn, delivered on best effort;"
            " who reads a dead letter is told by CloudTrail's data events, which the account switches on.",
        )


class OperationsKey(Construct):
    """The key of what operators read: log groups and the alarms' topic.

    A key of our own, because neither works with one that AWS manages: CloudWatch Logs takes only customers' keys, and
    an alarm may not publish to a topic under `alias/aws/sns`.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        self.key = kms.Key(
            self,
            "Key",
            description=f"Logs and alarms of the Result Aggregator Service ({settings.stage})",
            enable_key_rotation=True,
            removal_policy=removal(settings),
        )
        groups = (
            f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws/*/{settings.name('*')}"
        )
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Logs",
                principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
                actions=[
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:Encrypt",
                    "kms:GenerateDataKey*",
                    "kms:ReEncrypt*",
                ],
                resources=["*"],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
            )
        )
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Alarms",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )

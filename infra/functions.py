"""One Lambda function with its own role, log group and layers: what all functions of the service share."""

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Acknowledgment, AssetHashType, CfnOutput, Duration, RemovalPolicy, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct
from result_aggregator.metrics import namespace
from result_aggregator.names import (
    ENV_METRICS_NAMESPACE,
    ENV_TRACE_DISABLED,
    LIVE_ALIAS,
    function_name,
    log_group_name,
)

from infra.layers import Artefacts
from infra.nag import acknowledge
from infra.settings import Settings

_RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
}


def retention(settings: Settings) -> logs.RetentionDays:
    return _RETENTION[settings.log_retention_days]


def architecture(settings: Settings) -> lambda_.Architecture:
    return lambda_.Architecture.ARM_64 if settings.architecture == "arm64" else lambda_.Architecture.X86_64


def runtime(settings: Settings) -> lambda_.Runtime:
    # By name, as settings also allow ones that this CDK has no constant for; it then asks what each can do.
    return lambda_.Runtime(
        settings.runtime, lambda_.RuntimeFamily.PYTHON, supports_snap_start=settings.snap_start
    )


def layers(scope: Construct, settings: Settings, artefacts: Artefacts) -> list[lambda_.LayerVersion]:
    """The two layers, made in each stack that has functions; none where the functions' code brings what they hold.

    A layer version is replaced by every change, and CloudFormation refuses to change a value that another
    stack imports; the files behind them are uploaded once all the same.
    """
    if artefacts.shared is None:
        return []
    made = {
        "Dependencies": (artefacts.dependencies, "Pinned run-time dependencies"),
        "Shared": (artefacts.shared, "The result_aggregator package"),
    }
    return [
        lambda_.LayerVersion(
            scope,
            name,
            code=asset(folder),
            compatible_runtimes=[runtime(settings)],
            compatible_architectures=[architecture(settings)],
            description=description,
        )
        for name, (folder, description) in made.items()
    ]


def asset(folder: Path) -> lambda_.Code:
    """A built folder as code. Its name is the hash of what went into it: hashing megabytes again would say the same."""
    return lambda_.Code.from_asset(str(folder), asset_hash_type=AssetHashType.CUSTOM, asset_hash=folder.name)


class ServiceFunction(Construct):
    """The function of one folder under `functions/`, named `ras-<stage>-<folder>`.

    `target` is what is invoked: the function itself, or with a snapshot the alias `live` of its newest version, as
    only published versions have one.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        folder: str,
        code: lambda_.Code,
        description: str,
        memory_mb: int,
        timeout_seconds: int,
        environment: Mapping[str, str],
        function_layers: list[lambda_.LayerVersion],
        key: kms.IKey | None,
        concurrency: int | None = None,
        snap_start: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        name = function_name(settings.stage, folder)
        log_group = self._log_group(name, settings, key)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What {name} may do, and nothing else",
        )
        # Instead of the managed policy for basic execution, which may write to every log group.
        log_group.grant_write(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            description=description,
            code=code,
            handler="handler.lambda_handler",
            runtime=runtime(settings),
            architecture=architecture(settings),
            layers=list(function_layers),
            role=self.role,
            log_group=log_group,
            # Else an uncaught error comes as text between the lines of JSON.
            logging_format=lambda_.LoggingFormat.JSON,
            # Lambda drops lines below this level, and takes the metrics' lines, which have none, for INFO.
            application_log_level_v2=(
                lambda_.ApplicationLogLevel.DEBUG
                if settings.log_level == "DEBUG"
                else lambda_.ApplicationLogLevel.INFO
            ),
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            memory_size=memory_mb,
            timeout=Duration.seconds(timeout_seconds),
            reserved_concurrent_executions=concurrency,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
            tracing=lambda_.Tracing.ACTIVE if settings.tracing else lambda_.Tracing.DISABLED,
            environment={**_of_every_function(settings), **environment},
        )
        acknowledge(
            self.function,
            "L1",
            "The layers' wheels are built and checked for the runtime that settings name, and python3.13 is supported"
            " until June 2029; a newer one is a change of that setting, tested like any other.",
        )
        self.target = self._target(snap_start=snap_start)

    def _log_group(self, function: str, settings: Settings, key: kms.IKey | None) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            "Logs",
            log_group_name=log_group_name(function),
            retention=retention(settings),
            encryption_key=key,
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _target(self, *, snap_start: bool) -> lambda_.IFunction:
        if not snap_start:
            return self.function
        Validations.of(self.function).acknowledge(
            Acknowledgment(
                id="Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish",
                reason="Every deployment publishes a version, and callers use the alias that points to it.",
            )
        )
        return lambda_.Alias(self, "Live", alias_name=LIVE_ALIAS, version=self.function.current_version)

    def allow_apart(self, sid: str, *, actions: list[str], resources: list[str]) -> None:
        """A right in a policy of its own. CloudFormation removes it after, not before, the function is done with it."""
        statement = iam.PolicyStatement(sid=sid, actions=actions, resources=resources)
        policy = iam.Policy(self, sid, statements=[statement], roles=[self.role])
        self.function.node.add_dependency(policy)

    def allow(self, sid: str, *, actions: list[str], resources: list[str]) -> None:
        self.role.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=resources))


def _of_every_function(settings: Settings) -> dict[str, str]:
    """The part of the environment that all functions have in common."""
    return {
        "LOG_LEVEL": settings.log_level,
        ENV_METRICS_NAMESPACE: namespace(settings.stage),
        # Powertools traces wherever it finds itself in Lambda, an emulated one too.
        ENV_TRACE_DISABLED: "false" if settings.tracing else "true",
    }


def output(scope: Construct, name: str, value: str, description: str) -> None:
    """A stack output under exactly this name, which scripts and other teams read."""
    CfnOutput(scope, name, value=value, description=description)

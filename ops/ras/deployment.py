"""Which deployment a command works on: the stack on this machine, or a stage in AWS with the user's own credentials.

AWS is never touched unless a stage is named. There, everything is found from names: the bucket in the outputs of
`ras-<stage>-data`, functions by `ras-<stage>-…`, brokers and consumer groups from the event source mappings.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import (
    NoCredentialsError,
    NoRegionError,
)
from result_aggregator.names import LIVE_ALIAS, function_name, resource_name, stack_name
from result_aggregator.store.aws import AccessKeys
from result_aggregator.store.dynamodb_client import DynamoDB

from ras import stack_file
from ras.aws import Cloud
from ras.dead_letters.bucket import DeadLetterBucket
from ras.deployed_mappings import DeployedMapping, DeployedMappings, outputs
from ras.errors import NotFoundError, SettingError
from ras.invoke import Invoke, of_lambda
from ras.kafka.msk_iam import Brokers, msk_iam
from ras.replay.paused import PausedMappings
from ras.state_folder import LOCAL, StateDir

if TYPE_CHECKING:
    from mypy_boto3_lambda.type_defs import FunctionConfigurationResponseTypeDef

_CHANGE_WAIT_S = 120


@dataclass(frozen=True)
class Account(Cloud):
    """AWS as the user's credentials reach it, in place of the emulator."""

    retries: int = 5
    profile: str | None = None

    def _client(self, service: str, **options: Any) -> Any:
        made: Any = self.session.client  # its stubs ask for a literal name
        return made(service, config=self._config(**options))

    @cached_property
    def session(self) -> boto3.session.Session:
        return boto3.session.Session(profile_name=self.profile, region_name=self.region)

    @cached_property
    def view_client(self) -> DynamoDB:
        found = self.session.get_credentials()
        if found is None:
            raise NoCredentialsError

        def credentials() -> AccessKeys:
            # Each time, because the SDK refreshes them.
            now = found.get_frozen_credentials()
            return AccessKeys(str(now.access_key), str(now.secret_key), now.token)

        return DynamoDB(self.dynamodb.meta.endpoint_url, self.region, credentials)

    def bootstrap_servers(self, cluster_arn: str) -> str:
        """The brokers of a cluster, for IAM authentication. Raises OperatorError where it has none."""
        answer = self._client("kafka").get_bootstrap_brokers(ClusterArn=cluster_arn)
        servers: str = answer.get("BootstrapBrokerStringSaslIam", "")
        if not servers:
            raise SettingError(
                f"{cluster_arn} offers no IAM authentication", "Name its brokers with --bootstrap-servers."
            )
        return servers


@dataclass(frozen=True)
class Deployment:
    """One deployed service: `stage` as in the names of its functions, `state` where runs note how far they are."""

    stage: str
    cloud: Cloud
    bucket_name: str
    state: StateDir
    given_brokers: Brokers | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is the stack on this machine."""
        return not isinstance(self.cloud, Account)

    @property
    def dead_letters(self) -> DeadLetterBucket:
        return DeadLetterBucket(self.cloud.s3, self.bucket_name)

    @property
    def paused_mappings(self) -> PausedMappings:
        """The notes on mappings that a replay has disabled."""
        return PausedMappings(self.cloud.s3, self.bucket_name, self.cloud.functions)

    @property
    def invoke(self) -> Invoke:
        return of_lambda(self.cloud.functions, self.stage)

    def mappings(self) -> list[DeployedMapping]:
        """The event source mappings of this stage's functions."""
        return [
            mapping
            for mapping in DeployedMappings(self.cloud).read()
            if mapping.function_name.startswith(resource_name(self.stage, ""))
        ]

    @property
    def profile(self) -> str | None:
        """The AWS profile that was named, if any."""
        return self.cloud.profile if isinstance(self.cloud, Account) else None

    def outputs(self) -> dict[str, str]:
        """What the stack of the view and the dead letters tells. Raises OperatorError where there is none."""
        return _outputs(self.cloud, stack_name(self.stage, "data"))

    def environment(self, folder: str) -> dict[str, str]:
        """What a deployed function finds in its environment, see `configuration`."""
        return dict(self.configuration(folder).get("Environment", {}).get("Variables", {}))

    def code(self, folder: str) -> list[str]:
        """What a deployed function runs: the hash of its code and its layers' versions, see `configuration`."""
        found = self.configuration(folder)
        return [found["CodeSha256"], *(layer["Arn"] for layer in found.get("Layers", []))]

    def configuration(self, folder: str) -> FunctionConfigurationResponseTypeDef:
        """A deployed function as Lambda has it, once a change that is under way is through.

        Where callers use an alias, that is the version behind it.
        """
        name = function_name(self.stage, folder)
        lambda_ = self.cloud.functions
        lambda_.get_waiter("function_updated").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": _CHANGE_WAIT_S}
        )
        try:
            return lambda_.get_function_configuration(FunctionName=name, Qualifier=LIVE_ALIAS)
        except lambda_.exceptions.ResourceNotFoundException:
            return lambda_.get_function_configuration(FunctionName=name)

    def brokers(self) -> Brokers:
        """The cluster that the mappings read, unless one was given. Raises OperatorError where none can be told."""
        if self.given_brokers is not None:
            return self.given_brokers
        clusters = {mapping.event_source_arn for mapping in self.mappings()}
        if len(clusters) != 1 or not isinstance(self.cloud, Account):
            raise SettingError(
                f"the mappings of stage {self.stage} read {len(clusters)} clusters",
                "Name the brokers with --bootstrap-servers.",
            )
        servers = self.cloud.bootstrap_servers(clusters.pop())
        return Brokers(servers, msk_iam(self.cloud.region, self.cloud.profile))


def choose(
    stage: str | None = None,
    *,
    profile: str | None = None,
    region: str | None = None,
    bootstrap_servers: str | None = None,
    plaintext: bool = False,
    state: StateDir | None = None,
) -> Deployment:
    """The deployment that a command's options name; without a stage, the running stack of the state folder.

    `plaintext` leaves authentication out where `bootstrap_servers` name the brokers of a stage in AWS.
    Raises OperatorError.
    """
    state = state or StateDir.default()
    if stage in (None, LOCAL):
        if profile or region:
            raise SettingError(
                "--profile and --region go with --stage", "Without it, the local stack is meant."
            )
        stack = stack_file.load(state)
        brokers = Brokers(bootstrap_servers or stack.bootstrap_servers)
        return Deployment(LOCAL, stack.cloud, stack.dead_letter_bucket, state, brokers)
    try:
        # What AWS's command line reads first, and the SDK not at all.
        named = region or os.environ.get("AWS_REGION")
        session = boto3.session.Session(profile_name=profile, region_name=named)
        if not session.region_name:
            raise NoRegionError
    except NoRegionError:
        raise SettingError("no AWS region is set", "Name it with --region, or set AWS_REGION.") from None
    account = Account("", session.region_name, profile=profile)
    letters = stack_output(account, stack_name(stage or LOCAL, "data"), "DeadLetterBucketName")
    given = None
    if bootstrap_servers:
        given = Brokers(bootstrap_servers, {} if plaintext else msk_iam(account.region, profile))
    return Deployment(stage or LOCAL, account, letters, state, given)


def stack_output(cloud: Cloud, stack_name: str, key: str) -> str:
    """An output of a stack in AWS. Raises OperatorError where there is no such stack, or it lacks the output."""
    value = _outputs(cloud, stack_name).get(key)
    if not value:
        raise NotFoundError(f"stack {stack_name} has no output {key}")
    return value


def _outputs(cloud: Cloud, stack_name: str) -> dict[str, str]:
    told = outputs(cloud, stack_name)
    if told is None:
        raise NotFoundError(
            f"there is no stack {stack_name} in {cloud.region}",
            "Name another --stage, --profile or --region.",
        )
    return told

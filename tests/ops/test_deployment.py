"""What a command works on: the stack on this machine, or a stage in AWS that is found by its names."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import boto3
import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError, ProfileNotFound
from botocore.stub import Stubber
from click.testing import CliRunner
from confluent_kafka import Consumer
from ras.cli import main
from ras.deployed_mappings import DeployedMappings
from ras.deployment import Account, Deployment, choose
from ras.errors import OperatorError
from ras.kafka.client import quiet_client
from ras.kafka.msk_iam import Brokers, msk_iam
from ras.state_folder import StateDir, write_private

from tests.dynamodb import REGION
from tests.ops.made import DEPLOYED

if TYPE_CHECKING:
    from pathlib import Path

ARN = "arn:aws:kafka:eu-north-1:123456789012:cluster/c/1"


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """The state folder of a stack that runs."""
    stack = {
        "region": REGION,
        "endpoint_url": "http://127.0.0.1:1",
        "bootstrap_servers": "127.0.0.1:2",
        "api_url": "",
        "table_name": "table",
        "dead_letter_bucket": "local-letters",
        "callers": {},
        "dashboard_url": "",
    }
    found = StateDir(tmp_path)
    write_private(found.stack_file, json.dumps(stack))
    return found


@pytest.mark.parametrize("stage", [None, "local"])
def test_without_a_stage_it_is_the_stack_on_this_machine(state: StateDir, stage: str | None) -> None:
    """Its bucket, its broker, its emulator; other brokers where they are named."""
    found = choose(stage, state=state)

    assert (found.stage, found.bucket_name) == ("local", "local-letters")
    assert found.brokers() == Brokers("127.0.0.1:2")
    assert not isinstance(found.cloud, Account)
    assert choose(stage, bootstrap_servers="x:1", state=state).brokers() == Brokers("x:1")


def test_aws_is_never_meant_by_accident(state: StateDir, tmp_path: Path) -> None:
    """A profile without a stage is a mistake; and so is no stack."""
    with pytest.raises(OperatorError, match="--stage"):
        choose(None, profile="production", state=state)
    with pytest.raises(OperatorError, match="not up"):
        choose(None, state=StateDir(tmp_path / "other"))


class Stacks:
    """CloudFormation with one stack."""

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - its name there
        if StackName == "ras-dev-data":
            output = {"OutputKey": "DeadLetterBucketName", "OutputValue": "dev-letters"}
            return {"Stacks": [{"Outputs": [{"OutputKey": "TableName", "OutputValue": "t"}, output]}]}
        if StackName == "ras-old-data":
            return {"Stacks": [{}]}
        code = "AccessDenied" if StackName == "ras-secret-data" else "ValidationError"
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeStacks")


@pytest.fixture
def stage(aws: None, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: ARG001 - credentials
    """A stage in AWS, as far as its data stack goes."""
    real = Account._client

    def client(self: Account, service: str, **options: Any) -> Any:
        return Stacks() if service == "cloudformation" else real(self, service, **options)

    monkeypatch.setattr(Account, "_client", client)
    return "dev"


def test_a_stage_is_found_in_its_stacks_outputs(stage: str, state: StateDir) -> None:
    """With the user's own credentials and region."""
    found = choose(stage, state=state)

    boto3.client("s3").create_bucket(
        Bucket="dev-letters", CreateBucketConfiguration={"LocationConstraint": REGION}
    )

    assert (found.stage, found.bucket_name, found.cloud.region) == ("dev", "dev-letters", REGION)
    assert found.dead_letters.counts().total() == 0


def test_the_region_may_be_named_as_awss_command_line_has_it(
    stage: str, state: StateDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_REGION, which the SDK does not read, comes before AWS_DEFAULT_REGION, and --region before both."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")

    assert choose(stage, state=state).cloud.region == "eu-west-1"
    assert choose(stage, region="us-east-1", state=state).cloud.region == "us-east-1"


@pytest.mark.usefixtures("stage")
def test_a_stage_that_is_not_there_is_told(state: StateDir) -> None:
    """By its stack's name and the region."""
    with pytest.raises(OperatorError, match="no stack ras-prod-data in eu-north-1"):
        choose("prod", state=state)
    with pytest.raises(OperatorError, match="no output DeadLetterBucketName"):
        choose("old", state=state)
    with pytest.raises(ClientError, match="AccessDenied"):
        choose("secret", state=state)


@pytest.mark.usefixtures("aws")
def test_a_region_has_to_be_known(state: StateDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a profile to exist."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(OperatorError, match="no AWS region"):
        choose("dev", state=state)
    with pytest.raises(ProfileNotFound):
        choose("dev", profile="unknown", state=state)


class Msk:
    def __init__(self, answer: dict[str, str]) -> None:
        self.answer = answer

    def get_bootstrap_brokers(self, *, ClusterArn: str) -> dict[str, str]:  # noqa: N803 - its name there
        assert ClusterArn == ARN
        return self.answer


def mapped(monkeypatch: pytest.MonkeyPatch, state: StateDir, answer: dict[str, str]) -> Deployment:
    """A stage whose mappings read one cluster, among those of another stage."""
    arn = DEPLOYED.function_arn.replace("local", "dev")
    ours = replace(DEPLOYED, function_arn=arn, event_source_arn=ARN)
    monkeypatch.setattr(DeployedMappings, "read", lambda _: [ours, replace(DEPLOYED, uuid="other")])
    monkeypatch.setattr(Account, "_client", lambda *_, **__: Msk(answer))
    return Deployment("dev", Account("", REGION), "bucket", state)


@pytest.mark.usefixtures("aws")
def test_brokers_are_those_that_the_mappings_read(monkeypatch: pytest.MonkeyPatch, state: StateDir) -> None:
    """Of this stage, with IAM authentication."""
    found = mapped(monkeypatch, state, {"BootstrapBrokerStringSaslIam": "b-1:9098,b-2:9098"})

    assert [mapping.uuid for mapping in found.mappings()] == [DEPLOYED.uuid]
    assert found.brokers().bootstrap_servers == "b-1:9098,b-2:9098"
    assert found.brokers().settings["sasl.mechanisms"] == "OAUTHBEARER"


def test_a_cluster_without_iam_is_told(monkeypatch: pytest.MonkeyPatch, state: StateDir) -> None:
    """Its brokers have to be named then."""
    with pytest.raises(OperatorError, match="no IAM authentication"):
        mapped(monkeypatch, state, {"BootstrapBrokerString": "b-1:9092"}).brokers()


def test_named_brokers_of_a_stage_want_authentication(stage: str, state: StateDir) -> None:
    """Unless that is switched off."""
    named = choose(stage, bootstrap_servers="b:9098", state=state).brokers()
    plain = choose(stage, bootstrap_servers="b:9092", plaintext=True, state=state).brokers()

    assert (named.bootstrap_servers, named.settings["security.protocol"]) == ("b:9098", "SASL_SSL")
    assert plain == Brokers("b:9092")
    assert "oauth" not in repr(named)


@pytest.mark.usefixtures("aws")
def test_a_token_is_a_signed_request_to_connect() -> None:
    """As MSK reads it: a presigned URL for kafka-cluster:Connect, and when it expires."""
    token, expires = msk_iam(REGION, None)["oauth_cb"]("")
    url = urlparse(urlsafe_b64decode(token + "==").decode())
    query: dict[str, list[Any]] = parse_qs(url.query)

    assert url.netloc == f"kafka.{REGION}.amazonaws.com"
    assert query["Action"] == ["kafka-cluster:Connect"]
    assert "X-Amz-Signature" in query
    assert expires > 1_700_000_000


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, **told: str) -> Path:
    """A profile `on-call` whose credentials a program tells, a line in `asked` each time; the file with what it tells."""
    kept = folder / "credentials.json"
    keys = {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "secret", **told}
    kept.write_text(json.dumps(keys))
    command = f"sh -c 'echo >> {folder}/asked; cat {kept}'"
    (folder / "config").write_text(f"[profile on-call]\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    return kept


def soon(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


EXPIRED = {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "secret", "Expiration": soon(-1)}


@pytest.mark.parametrize("then", [None, "no JSON", json.dumps(EXPIRED)], ids=["gone", "no JSON", "expired"])
def test_credentials_that_go_leave_the_last_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str | None
) -> None:
    """Which the brokers refuse in time; a client would break on a callback that raises."""
    kept = program(tmp_path, monkeypatch, Expiration=soon(5))
    token = msk_iam(REGION, "on-call")["oauth_cb"]
    last, expires = token("")

    if then is None:
        kept.unlink()
    else:
        kept.write_text(then)

    assert token("") == (last, expires)
    with pytest.raises(CredentialRetrievalError):
        msk_iam(REGION, "on-call")


def test_credentials_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tokens are signed with them."""
    program(tmp_path, monkeypatch)
    token = msk_iam(REGION, "on-call")["oauth_cb"]
    for _ in range(3):
        token("")

    assert len((tmp_path / "asked").read_text().splitlines()) == 1


def test_credentials_are_renewed_before_they_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command may take longer than a session of its role lasts."""
    kept = program(tmp_path, monkeypatch, Expiration=soon(5))
    token = msk_iam(REGION, "on-call")["oauth_cb"]

    kept.write_text(kept.read_text().replace("AKIA", "ASIA"))

    assert "Credential=ASIA" in urlsafe_b64decode(token("")[0] + "==").decode()


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where the SDK finds no credentials; its file for them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    kept = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(kept))
    return kept


@pytest.mark.parametrize("kept", ["", "[default]\naws_access_key_id =\naws_secret_access_key =\n"])
def test_without_credentials_there_is_no_token(nobody: Path, kept: str) -> None:
    """None at all, or empty ones: said as everywhere else, and before a client would ask for it."""
    nobody.write_text(kept)

    with pytest.raises(NoCredentialsError):
        msk_iam(REGION, None)


@pytest.mark.usefixtures("stage")
def test_a_command_without_credentials_says_so(nobody: Path) -> None:
    """In a line."""
    nobody.touch()
    command = [
        "replay",
        "--stage",
        "dev",
        "--region",
        REGION,
        "--bootstrap-servers",
        "b:9098",
        "--all-topics",
    ]
    result = CliRunner().invoke(main, [*command, "--from", "beginning"])

    assert result.exit_code == 1
    assert "Unable to locate credentials Are there credentials" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("aws")
def test_another_ca_store_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenSSL has it; without, librdkafka looks for the machine's."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert "ssl.ca.location" not in msk_iam(REGION, None)
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.pem")
    assert msk_iam(REGION, None)["ssl.ca.location"] == "/etc/ca.pem"


@pytest.mark.usefixtures("aws")
def test_clients_ask_for_a_token_by_themselves() -> None:
    """Also those that are never polled, as for commits."""
    asked = []

    def token(_: str) -> tuple[str, float]:
        asked.append(True)
        made: tuple[str, float] = msk_iam(REGION, None)["oauth_cb"]("")
        return made

    settings = {**msk_iam(REGION, None), "oauth_cb": token}
    Consumer({**quiet_client("127.0.0.1:1", group_id="g"), **settings}).close()

    assert asked


@pytest.mark.parametrize("aliased", [True, False], ids=["with a snapshot", "without"])
def test_a_functions_environment_is_that_of_what_is_called(
    monkeypatch: pytest.MonkeyPatch,
    state: StateDir,
    aws: None,  # noqa: ARG001 - credentials
    *,
    aliased: bool,
) -> None:
    """Once a change is through: behind the alias where there is one, else the function's own."""
    functions = boto3.client("lambda")
    name = {"FunctionName": "ras-dev-ingest-essays"}
    variables = {"Environment": {"Variables": {"TABLE_NAME": "view"}}, "CodeSha256": "hash"}
    with Stubber(functions) as answers:
        for status in ("InProgress", "Successful"):
            answers.add_response("get_function_configuration", {"LastUpdateStatus": status}, name)
        if aliased:
            answers.add_response("get_function_configuration", variables, {**name, "Qualifier": "live"})
        else:
            answers.add_client_error(
                "get_function_configuration",
                "ResourceNotFoundException",
                expected_params={**name, "Qualifier": "live"},
            )
            answers.add_response("get_function_configuration", variables, name)
        monkeypatch.setattr(Account, "_client", lambda *_, **__: functions)
        found = Deployment("dev", Account("", REGION), "bucket", state)

        assert found.environment("ingest_essays") == {"TABLE_NAME": "view"}
        answers.assert_no_pending_responses()


@pytest.mark.usefixtures("aws")
def test_what_a_function_runs_is_its_code_and_its_layers(
    monkeypatch: pytest.MonkeyPatch, state: StateDir
) -> None:
    """By their hash and versions, as most of the service is in a layer."""
    functions = boto3.client("lambda")
    layers = [{"Arn": "arn:aws:lambda:eu-north-1:123456789012:layer:Shared:7"}]
    with Stubber(functions) as answers:
        answers.add_response("get_function_configuration", {"LastUpdateStatus": "Successful"})
        answers.add_response("get_function_configuration", {"CodeSha256": "hash", "Layers": layers})
        monkeypatch.setattr(Account, "_client", lambda *_, **__: functions)

        found = Deployment("dev", Account("", REGION), "bucket", state).code("ingest_essays")

    assert found == ["hash", layers[0]["Arn"]]


def test_the_profile_is_the_one_that_was_named(state: StateDir) -> None:
    """What is told to be run elsewhere runs as the same."""
    assert Deployment("dev", Account("", REGION, profile="p"), "bucket", state).profile == "p"
    assert choose(state=state).profile is None

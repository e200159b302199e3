"""AWS's limits of size and number, held against what the largest settings really deploy.

"Lambda quotas", "IAM and AWS STS quotas", "Amazon API Gateway quotas", "AWS PrivateLink quotas", "AWS CloudFormation quotas",
read in November 2026. Limits that settings or the build refuse by themselves are tested where they do.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator.names import ENV_ALLOWED_CALLERS
from result_aggregator.topics import TOPICS

from infra import layers
from infra.byte_code import Compiler, find_compiler
from infra.context import load_settings
from infra.layers import UNZIPPED_LIMIT_BYTES, Target, check_size
from infra.settings import SettingsError
from tests.template.given import ACCOUNT, NEW_CLUSTER
from tests.template.synth import Assembly, assembly

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT_BYTES = 4096
TRUST_POLICY_CHARACTERS = 2048
ROLE_POLICIES_CHARACTERS = 10_240
API_POLICY_BYTES = 8192
ENDPOINT_POLICY_CHARACTERS = 20_480
KEY_POLICY_BYTES = 32 * 1024
BUCKET_POLICY_BYTES = 20 * 1024
LAMBDA_CONTROL_REQUESTS_A_SECOND = 15
STACK_RESOURCES = 500
STACK_OUTPUTS = 200
TEMPLATE_BYTES = 1024 * 1024
LAYERS_OF_A_FUNCTION = 5

# CloudFormation names what has no name `<stack>-<logical id>-<12 characters>`; here it is the logical id alone.
LONGER_NAME = len("ras-staging-data--") + 12


def _most_callers() -> str:
    """As many services as the settings take, with role names as long as IAM has them."""
    given: dict[str, str] = {}
    while True:
        more = {**given, f"service-{len(given)}": f"{len(given):0>64}"}
        try:
            load_settings({"stage": "staging", **NEW_CLUSTER["staging"], "callers": json.dumps(more)}, {})
        except SettingsError:
            return json.dumps(given)
        given = more


@pytest.fixture(scope="module")
def largest() -> Assembly:
    """A stage with everything that adds to something."""
    return assembly(
        "staging",
        account=ACCOUNT,
        new_cluster="provisioned",
        callers=_most_callers(),
        second_generation="2",
        on_failure_topic="t" * 249,
        operator_endpoints="true",
        github_repository=f"{'o' * 39}@123456789/{'r' * 100}@1234567890",
        alarm_emails=json.dumps(["on-call@example.com"]),
        default_pipeline="spellcheck,cj_assessment,nlp,ai_feedback",
        consumer_group_prefix="p" * 64,
    )


def _size(policy: Any) -> int:
    """Without white space, which IAM does not count."""
    return len(json.dumps(policy, separators=(",", ":"), ensure_ascii=False).encode())


def _policies(stage: Assembly, kind: str, name: str) -> Iterator[tuple[str, Any]]:
    for part in stage.templates:
        for properties in stage.properties(part, kind):
            if name in properties:
                yield part, properties[name]


def test_environments_fit(largest: Assembly) -> None:
    """Names and values of a function's variables, as JSON, with the names that CloudFormation gives."""
    for part in ("ingest", "api"):
        for function in largest.properties(part, "AWS::Lambda::Function"):
            variables = function["Environment"]["Variables"]
            longer = LONGER_NAME * sum(
                "," in value or "View" in value or "bucket" in value for value in variables.values()
            )

            assert _size(variables) + longer <= ENVIRONMENT_BYTES, function["FunctionName"]
            if part == "api":
                # It is the largest there is: else the callers' own limit would be out of date.
                assert len(variables[ENV_ALLOWED_CALLERS]) > ENVIRONMENT_BYTES / 2


def test_role_policies_fit(largest: Assembly) -> None:
    """All inline policies of a role together, and who may assume it."""
    for part in largest.templates:
        by_role: dict[str, int] = {}
        for policy in largest.properties(part, "AWS::IAM::Policy"):
            for role in policy["Roles"]:
                by_role[role] = by_role.get(role, 0) + _size(policy["PolicyDocument"])
        for role in largest.properties(part, "AWS::IAM::Role"):
            assert sum(_size(one["PolicyDocument"]) for one in role.get("Policies", ())) == 0
            assert _size(role["AssumeRolePolicyDocument"]) <= TRUST_POLICY_CHARACTERS

        for role, size in by_role.items():
            assert size <= ROLE_POLICIES_CHARACTERS * 0.9, (part, role)


@pytest.mark.parametrize(
    ("kind", "name", "limit"),
    [
        ("AWS::ApiGateway::RestApi", "Policy", API_POLICY_BYTES),
        ("AWS::EC2::VPCEndpoint", "PolicyDocument", ENDPOINT_POLICY_CHARACTERS),
        ("AWS::KMS::Key", "KeyPolicy", KEY_POLICY_BYTES),
        ("AWS::S3::BucketPolicy", "PolicyDocument", BUCKET_POLICY_BYTES),
    ],
)
def test_resource_policies_fit(largest: Assembly, kind: str, name: str, limit: int) -> None:
    """With every caller by its ARN."""
    found = list(_policies(largest, kind, name))

    assert found
    for part, policy in found:
        assert _size(policy) <= limit, part


def test_layers_are_no_more_than_a_function_takes(largest: Assembly) -> None:
    for part in ("ingest", "api"):
        for function in largest.properties(part, "AWS::Lambda::Function"):
            assert 0 < len(function["Layers"]) <= LAYERS_OF_A_FUNCTION


def test_stacks_fit(largest: Assembly) -> None:
    for part, template in largest.templates.items():
        assert len(template["Resources"]) <= STACK_RESOURCES
        assert len(template.get("Outputs", {})) <= STACK_OUTPUTS
        assert len(json.dumps(template)) <= TEMPLATE_BYTES, part


def test_mappings_that_are_made_at_once_are_no_more_than_lambda_takes(largest: Assembly) -> None:
    """CloudFormation begins all that wait for nothing: one mapping a topic, beside the functions that are done by then."""
    mappings = largest.resources("ingest", "AWS::Lambda::EventSourceMapping")

    assert len(mappings) == len(TOPICS)
    assert len(mappings) <= LAMBDA_CONTROL_REQUESTS_A_SECOND


def test_layers_and_code_fit() -> None:
    """As they are built for Lambda, byte code included, with room for what comes."""
    python = "3.13"
    target = Target(python, "arm64", compiler=find_compiler(python) or Compiler.running())
    built = layers.build(target, client=False)
    assert built.shared is not None

    for function in built.functions.values():
        assert check_size([built.dependencies, built.shared, function]) < UNZIPPED_LIMIT_BYTES / 4

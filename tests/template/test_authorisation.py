"""Who gets to the API, by evaluating the synthesised policies: the resource policy and that of the VPC endpoint.

No emulator knows the endpoint that a request came by, so this is where that is decided. `tests/e2e/test_authorisation`
has what signatures decide.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.template.given import ACCOUNT, REGION
from tests.template.policies import ANONYMOUS, Request, Statement, at_gateway, decide
from tests.template.synth import Assembly, assembly

if TYPE_CHECKING:
    from collections.abc import Callable

GATEWAY = f"arn:aws:iam::{ACCOUNT}:role/api-gateway-service"
DASHBOARD = f"arn:aws:iam::{ACCOUNT}:role/admin-dashboard-service"
STRANGER = f"arn:aws:iam::{ACCOUNT}:role/not-allowed"
NAMED = (GATEWAY, DASHBOARD)
OTHERS = (
    ANONYMOUS,
    STRANGER,
    f"{GATEWAY}-2",
    f"arn:aws:iam::{ACCOUNT}:role/other/api-gateway-service",  # the name under another path is another role
    f"arn:aws:iam::{ACCOUNT}:user/api-gateway-service",
    f"arn:aws:iam::{ACCOUNT}:root",
    "arn:aws:iam::444455556666:role/api-gateway-service",
    "arn:aws:iam::444455556666:root",
)

STATUS = "GET/internal/v1/batches/b-1/status"
LISTING = "GET/internal/v1/batches/user/u-1"
DATA = (
    STATUS,
    LISTING,
    "GET/metrics",
    "POST/internal/v1/batches/b-1/status",
    "GET/internal/v1/batches/healthz/status",
)
HEALTH = "GET/healthz"
PROBE = "HEAD/healthz"
NOTHING_THERE = ("GET/other", "GET/healthz/../internal")

# What an identity policy may say of the caller: nothing, or what an administrator's does.
SILENT: list[Statement] = []
ADMINISTRATOR: list[Statement] = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]

ANOTHER_ENDPOINT = "vpce-other"
NO_ENDPOINT = None


@dataclass
class Gates:
    """The two policies of a stage that stand before every request."""

    stage: str
    resource: list[Statement]
    endpoint: list[Statement]
    endpoint_id: str | None

    @classmethod
    def of(cls, stage: Assembly) -> Gates:
        api = stage.only("api", "AWS::ApiGateway::RestApi")
        # The short ARNs are spelt out as API Gateway does when it saves a policy.
        text = json.dumps(api["Policy"]["Statement"])
        text = text.replace('"execute-api:/', f'"arn:aws:execute-api:{REGION}:{ACCOUNT}:api/')
        if stage.settings.is_local:
            return cls(stage.settings.stage, json.loads(text), [], None)
        (endpoint,) = (
            properties
            for properties in stage.properties("network", "AWS::EC2::VPCEndpoint")
            if properties["ServiceName"].endswith(".execute-api")
        )
        (endpoint_id,) = api["EndpointConfiguration"]["VpcEndpointIds"]
        statements = endpoint["PolicyDocument"]["Statement"]
        return cls(stage.settings.stage, json.loads(text), copy.deepcopy(statements), endpoint_id)

    def request(self, who: str, what: str, door: str | None) -> Request:
        # A method without authorisation has no identity, however the request is signed.
        caller = ANONYMOUS if what.endswith("/healthz") else who
        resource = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:api/{self.stage}/{what}"
        return Request("execute-api:Invoke", resource, caller, {"aws:SourceVpce": door} if door else {})

    def gateway_opens(self, who: str, what: str, identity: list[Statement], door: str | None) -> bool:
        """Whether API Gateway calls the function."""
        request = self.request(who, what, door)
        if what.endswith("/healthz"):
            return decide(self.resource, request) == "allow"
        # Unsigned requests are refused before any policy is asked.
        return who != ANONYMOUS and at_gateway(identity, self.resource, request) == "allow"

    def endpoint_opens(self, who: str, what: str) -> bool:
        """Whether our VPC endpoint lets the request through, whatever API it is for."""
        return decide(self.endpoint, self.request(who, what, self.endpoint_id)) == "allow"

    def named(self, sid: str) -> Statement:
        (found,) = (statement for statement in self.resource if statement["Sid"] == sid)
        return found


def faults(gates: Gates) -> list[str]:
    """Every request that a gate decides otherwise than it should, each gate by itself.

    Data: the named roles and nobody else, by our endpoint and no other, whatever their identity policies allow.
    Health: anybody by our endpoint. What is not there: nobody else whom no identity policy helps; the function refuses
    those whom one does.
    """
    found = []
    doors = (gates.endpoint_id, ANOTHER_ENDPOINT, NO_ENDPOINT)
    for who, door in product((*NAMED, *OTHERS), doors):
        ours = door == gates.endpoint_id
        asked = [
            *(
                (what, identity, ours and who in NAMED)
                for what in DATA
                for identity in (SILENT, ADMINISTRATOR)
            ),
            *((what, SILENT, ours and who in NAMED) for what in NOTHING_THERE),
            (HEALTH, SILENT, ours),
            (PROBE, SILENT, ours),
            ("POST/healthz", SILENT, False),
        ]
        for what, identity, wanted in asked:
            if gates.gateway_opens(who, what, identity, door) != wanted:
                found.append(f"gateway: {who} by {door}: {what} {'administrator' if identity else ''}")
    for who in (*NAMED, *OTHERS):
        for what in (*DATA, *NOTHING_THERE, HEALTH, PROBE):
            wanted = who in NAMED or what in (HEALTH, PROBE)
            if gates.endpoint_opens(who, what) != wanted:
                found.append(f"endpoint: {who}: {what}")
    return found


def test_a_named_role_by_our_endpoint_and_nothing_else(aws_stage: Assembly) -> None:
    """An identity alone, an endpoint alone, another of either, and an administrator open nothing."""
    gates = Gates.of(aws_stage)

    assert gates.gateway_opens(GATEWAY, STATUS, SILENT, gates.endpoint_id)
    assert gates.endpoint_opens(GATEWAY, STATUS)
    assert faults(gates) == []


def _drop(sid: str) -> Callable[[Gates], None]:
    def weaken(gates: Gates) -> None:
        gates.resource.remove(gates.named(sid))

    return weaken


def _set(sid: str, **elements: Any) -> Callable[[Gates], None]:
    def weaken(gates: Gates) -> None:
        statement = gates.named(sid)
        statement.update(elements)
        for name in [name for name, value in elements.items() if value is None]:
            del statement[name]

    return weaken


def _endpoint(**elements: Any) -> Callable[[Gates], None]:
    def weaken(gates: Gates) -> None:
        (statement,) = (one for one in gates.endpoint if one["Sid"] == "NamedCallers")
        statement.update(elements)

    return weaken


EVERYTHING = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:api/prod/*"
WEAKENINGS = {
    "anybody signed": _set("NamedCallers", Principal="*"),
    "the account": _set("NamedCallers", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}),
    "all but one": _set("NamedCallers", Principal=None, NotPrincipal={"AWS": STRANGER}),
    "one more": _set("NamedCallers", Principal={"AWS": [*NAMED, STRANGER]}),
    "one fewer": _set("NamedCallers", Principal={"AWS": GATEWAY}),
    "health is everything": _set("Health", Resource=EVERYTHING),
    "health by any method": _set("Health", Resource=EVERYTHING.replace("*", "*/healthz")),
    "no health": _drop("Health"),
    "any endpoint": _drop("OnlyByOurEndpoint"),
    "any endpoint for health": _set("OnlyByOurEndpoint", Resource=EVERYTHING.replace("*", "*/internal/*")),
    "not our endpoint": _set(
        "OnlyByOurEndpoint", Condition={"StringNotEquals": {"aws:SourceVpce": ANOTHER_ENDPOINT}}
    ),
    "administrators": _drop("OnlyNamedCallers"),
    "administrators of one route": _set("OnlyNamedCallers", Resource=EVERYTHING.replace("*", "*/user/*")),
    "a denial that spares no session": _set(
        "OnlyNamedCallers", Principal=None, NotPrincipal={"AWS": list(NAMED)}, Condition={}
    ),
    "an endpoint for all": _endpoint(Condition={}),
    "an endpoint for the account": _endpoint(
        Condition={"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/*"}}
    ),
    "an endpoint for the name": _endpoint(
        Condition={"ArnLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/api-gateway-service", DASHBOARD]}}
    ),
}


@pytest.mark.parametrize("weaken", WEAKENINGS.values(), ids=WEAKENINGS.keys())
def test_every_weaker_policy_is_found_out(prod: Assembly, weaken: Callable[[Gates], None]) -> None:
    """The check above fails for each of these changes of the policies alone."""
    gates = Gates.of(prod)
    weaken(gates)

    assert faults(gates)


def test_endpoint_in_the_policy_is_ours(aws_stage: Assembly) -> None:
    """The policy, the API's alias and the output name the endpoint that the network stack makes."""
    logical_ids = [
        name
        for name, resource in aws_stage.resources("network", "AWS::EC2::VPCEndpoint").items()
        if "ExecuteApi" in name and resource
    ]
    endpoint_id = Gates.of(aws_stage).endpoint_id

    assert endpoint_id == f"vpce-{logical_ids[0].lower()}"
    assert endpoint_id in aws_stage.outputs("api")["ApiUrl"]


def test_local_policy_has_the_same_allowances(local: Assembly, prod: Assembly) -> None:
    """What no emulator evaluates is left out, which is denials only: who is allowed stays the same."""
    gates = Gates.of(local)

    assert {statement["Sid"] for statement in gates.resource} == {"NamedCallers", "Health"}
    assert {one["Sid"] for one in Gates.of(prod).resource if one["Effect"] == "Allow"} == {
        "NamedCallers",
        "Health",
    }
    assert [who for who in (*NAMED, *OTHERS) if gates.gateway_opens(who, STATUS, SILENT, None)] == list(NAMED)
    assert gates.gateway_opens(ANONYMOUS, HEALTH, SILENT, None)
    assert gates.gateway_opens(ANONYMOUS, PROBE, SILENT, None)


def test_other_callers_by_setting() -> None:
    """The settings' roles replace the default ones everywhere, and the API is deployed again for it."""
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    changed = assembly("prod", callers=json.dumps({"other": "other"}))
    gates = Gates.of(changed)
    opened = {
        who: (gates.gateway_opens(who, STATUS, SILENT, gates.endpoint_id), gates.endpoint_opens(who, STATUS))
        for who in (other, GATEWAY)
    }

    assert opened == {other: (True, True), GATEWAY: (False, False)}
    kind = "AWS::ApiGateway::Deployment"
    assert changed.resources("api", kind).keys() != assembly("prod").resources("api", kind).keys()

"""Settings: where values come from, and that a wrong one is told by its name before anything is synthesised."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from typing import Any

import pytest

from infra.context import load_settings
from infra.settings import Settings, SettingsError
from infra.stages import LOCAL_ACCOUNT
from tests.template.given import ACCOUNT, CLUSTER_ARN, GIVEN_VPC, NEW_CLUSTER, ROOT, STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_needs_little_else(stage: str) -> None:
    """A name, and where data is kept a cluster: account and region may be unknown, as without credentials."""
    settings = load_settings({"stage": stage, **NEW_CLUSTER.get(stage, {})}, {})

    assert settings.stage == stage
    assert settings.region == "eu-north-1"
    assert settings.account == (LOCAL_ACCOUNT if stage == "local" else None)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_retries_alike(stage: str) -> None:
    """A machine under load is slow for minutes, as AWS may be: no good event is discarded sooner there."""
    settings = load_settings({"stage": stage, **NEW_CLUSTER.get(stage, {})}, {})

    assert settings.retries == Settings.model_fields["retries"].default == 100


BROKERS = {"new_cluster": "provisioned"}
GOVERNMENT_CLUSTER = CLUSTER_ARN.replace("arn:aws:", "arn:aws-us-gov:").replace("eu-north-1", "us-gov-west-1")
# Of other paths, which the function is not told.
SAME_ROLE = f'{{"a": "arn:aws:iam::{ACCOUNT}:role/x/r", "b": "arn:aws:iam::{ACCOUNT}:role/y/r"}}'
MANY_SUBNETS = GIVEN_VPC.replace('"subnet-0a1b2c3d"', '"subnet-0", "subnet-1", "subnet-2"')


@pytest.mark.parametrize(
    "context",
    [
        {"mapping_mode": "on_demand"},
        {"mapping_mode": "provisioned", "retries": "5", "bisect": "true"},
        {"default_pipeline": "nlp,spellcheck"},
        {"cluster_arn": CLUSTER_ARN, "vpc": MANY_SUBNETS},
        {**BROKERS, "broker_instance_type": "kafka.m5.xlarge", "kafka_version": "4.1.x.kraft"},
        {"on_failure": "false", "runbook_url": "https://wiki"},
        {"stage": "prod", "cluster_arn": CLUSTER_ARN},
        {"callers": SAME_ROLE.replace(ACCOUNT, "444455556666", 1)},
        {**BROKERS, "kafka_version": "3.9.x", "topic_partitions": "12", "broker_storage_gib": "500"},
        {**BROKERS, "kafka_version": "3.7.x"},
        {"on_failure_topic": "_given.up"},
        {"own_key": "false", "api_access_logs": "false"},
        {"region": "eusc-de-east-1", "callers": '{"a": "arn:aws-eusc:iam::111122223333:role/a/b"}'},
        {"region": "us-gov-west-1", "cluster_arn": GOVERNMENT_CLUSTER},
        {"callers": json.dumps({"a": "x" * 64})},
        {"callers": json.dumps({f"service-{n}": f"role-of-service-{n}" for n in range(30)})},
        {"zone_names": '["eu-north-1a", "eu-north-1b"]', "new_vpc_cidr": "10.9.0.0/16"},
    ],
)
def test_neighbours_of_wrong_settings_are_accepted(context: dict[str, Any]) -> None:
    """What differs from a refused one in what makes it wrong."""
    load_settings(context, {})


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"github_repository": "owner/name"}, "https://github.com/owner/name/blob/main/docs/runbook.md"),
        (
            {"github_repository": "owner@12/name@34"},
            "https://github.com/owner/name/blob/main/docs/runbook.md",
        ),
        ({"github_repository": "owner/name", "runbook_url": "https://wiki/x"}, "https://wiki/x"),
        ({}, "docs/runbook.md"),
    ],
)
def test_the_runbook_is_where_the_repository_is(given: dict[str, str], where: str) -> None:
    """Whoever is woken by a mail has a link to follow, unless somebody said a better one."""
    assert load_settings({"stage": "prod", **NEW_CLUSTER["prod"], **given}, {}).runbook == where


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ({"stage": "production"}, "setting 'stage': 'production'"),
        ({"cluster_am": "x"}, "setting 'cluster_am' is unknown"),
        ({"cluster_arn": "arn:aws:kafka:eu-north-1:1:cluster/a/b"}, "setting 'cluster_arn': 'arn:aws:kafka"),
        ({"cluster_arn": "arn:aws:sqs:eu-north-1:111122223333:queue"}, "setting 'cluster_arn'"),
        ({"account": "1234"}, "setting 'account': '1234'"),
        ({"region": "Stockholm"}, "setting 'region': 'Stockholm'"),
        ({"mapping_mode": "lazy"}, "setting 'mapping_mode': 'lazy'"),
        ({"retries": "-1"}, "setting 'retries': '-1'"),
        ({"retries": "10001"}, "setting 'retries': '10001'"),
        ({"max_record_age_seconds": "30"}, "setting 'max_record_age_seconds': '30'"),
        ({"minimum_pollers": "0"}, "setting 'minimum_pollers': '0'"),
        (
            {"minimum_pollers": "9", "maximum_pollers": "8"},
            "setting minimum_pollers: 9 is more than maximum_pollers",
        ),
        ({"callers": "{"}, "setting 'callers': '{' is not JSON"),
        ({"callers": "{}"}, "setting 'callers'"),
        ({"callers": '{"a": "arn:aws:iam::1:user/a"}'}, "setting 'callers.a'"),
        (
            {"topic_batching": '{"nobody.sends.this": {"batch_size": 1, "window_seconds": 0}}'},
            "nobody.sends.this",
        ),
        (
            {
                "topic_batching": '{"huleedu.essay.nlp.completed.v1": {"batch_size": 10001, "window_seconds": 0}}'
            },
            "setting 'topic_batching.huleedu.essay.nlp.completed.v1.batch_size': 10001",
        ),
        (
            {
                "topic_batching": '{"huleedu.essay.nlp.completed.v1": {"batch_size": 1, "window_seconds": 301}}'
            },
            "window_seconds': 301",
        ),
        (
            {
                "topic_batching": '{"huleedu.essay.nlp.completed.v1": {"batch_size": 1, "window_seconds": 0, "x": 1}}'
            },
            "setting 'topic_batching.huleedu.essay.nlp.completed.v1.x'",
        ),
        (
            {"cluster_arn": CLUSTER_ARN, "region": "eu-west-1"},
            f"setting cluster_arn: {CLUSTER_ARN!r} is in eu-north-1; allowed: the stacks' region, eu-west-1",
        ),
        (
            {"cluster_arn": CLUSTER_ARN, "account": "444455556666"},
            f"setting cluster_arn: {CLUSTER_ARN!r} is in account {ACCOUNT}; allowed: the stacks' account, 444455556666",
        ),
        (
            {"cluster_arn": CLUSTER_ARN, "new_cluster": "provisioned"},
            "setting new_cluster: 'provisioned' beside cluster_arn",
        ),
        ({"new_cluster": "express"}, "setting 'new_cluster': 'express'"),
        ({"kafka_version": "3.5.1"}, "setting 'kafka_version': '3.5.1'"),
        (
            {"region": "eu-nroth-1"},
            "setting 'region': 'eu-nroth-1': no region that is known here; near it: eu-north-1",
        ),
        ({"region": "eu-north-9"}, "setting 'region': 'eu-north-9': no region"),
        (
            {"on_failure_topic": "huleedu.essay.nlp.completed.v1"},
            "setting 'on_failure_topic': 'huleedu.essay.nlp.completed.v1': a topic that the service consumes",
        ),
        (
            {"on_failure_topic": "ras.given-up", "mapping_mode": "on_demand"},
            "setting on_failure_topic: 'ras.given-up' needs mapping_mode provisioned",
        ),
        (
            {"on_failure_topic": "ras.given-up", "on_failure": "false"},
            "setting on_failure_topic: 'ras.given-up', but on_failure is false",
        ),
        ({"vpc": '{"vpc_id": "vpc-1", "cidr": "10.0.0.0/16", "subnet_ids": []}'}, "setting 'vpc.subnet_ids'"),
        ({"vpc": GIVEN_VPC.replace("/16", "/8")}, "setting 'vpc.cidr': '10.20.0.0/8'"),
        ({"new_vpc_cidr": "10.0.0.0/28"}, "setting 'new_vpc_cidr': '10.0.0.0/28'"),
        ({"stage": "local", "vpc": GIVEN_VPC}, "setting vpc: vpc-0a1b2c3d, but private_network is false"),
        ({"runtime": "python3.11"}, "setting snap_start: true, but runtime is python3.11"),
        ({"query_concurrency": "0"}, "setting 'query_concurrency': '0'"),
        ({"alarm_emails": '["nobody"]'}, "setting 'alarm_emails.0': 'nobody'"),
        ({"query_timeout_seconds": "30"}, "setting 'query_timeout_seconds': '30'"),
        ({"log_retention_days": "2"}, "setting 'log_retention_days': 2: Input should be 1, 3, 7"),
        (
            {"stage": "prod", **NEW_CLUSTER["prod"], "restrict_to_vpc_endpoint": "false"},
            "setting restrict_to_vpc_endpoint",
        ),
        ({"stage": "prod", **NEW_CLUSTER["prod"], "tls_only": "false"}, "setting tls_only"),
        (
            {"stage": "prod", "private_network": "false", "cluster_arn": CLUSTER_ARN},
            "setting restrict_to_vpc_endpoint",
        ),
        ({"private_network": "false"}, "setting cluster_arn"),
        ({"stage": "staging"}, "setting cluster_arn: not given, and neither is new_cluster"),
        ({"stage": "prod"}, "setting cluster_arn: not given, and neither is new_cluster"),
        *(
            (
                {"mapping_mode": "on_demand", name: value},
                f"setting {name!r}: {value!r} would be ignored with mapping_mode on_demand",
            )
            for name, value in {
                "minimum_pollers": "2",
                "maximum_pollers": "3",
                "poller_group": "shared",
                "retries": "5",
                "max_record_age_seconds": "600",
                "bisect": "true",
            }.items()
        ),
        ({"default_pipeline": "spelchek"}, "setting 'default_pipeline': 'spelchek': not a phase: spelchek"),
        ({"new_cluster": "provisioned", "vpc": MANY_SUBNETS}, "setting vpc.subnet_ids: 4 of them"),
        ({"vpc": GIVEN_VPC.replace("subnet-1a", "subnet-0a")}, "a subnet is named twice"),
        ({"vpc": GIVEN_VPC.replace("10.20", "300.20")}, "setting 'vpc.cidr': '300.20.0.0/16': not an IPv4"),
        ({"new_vpc_cidr": "999.1.0.0/16"}, "setting 'new_vpc_cidr': '999.1.0.0/16': not an IPv4 network"),
        ({"broker_instance_type": "kafka.foo.bar"}, "setting 'broker_instance_type': 'kafka.foo.bar'"),
        ({"kafka_version": "9.9.9"}, "setting 'kafka_version': '9.9.9'"),
        ({"kafka_version": "3.6.0"}, "setting 'kafka_version': '3.6.0': String should match"),
        ({"kafka_version": "4.1.x"}, "such as 3.8.x or 3.9.x.kraft or 4.1.x.kraft"),
        ({"alarm_emails": "me@example.com"}, 'such as ["on-call@example.com"]'),
        (
            {"topic_partitions": "50"},
            "setting 'topic_partitions': '50' would be ignored with new_cluster serverless",
        ),
        (
            {"cluster_arn": CLUSTER_ARN, "kafka_version": "3.9.x"},
            "setting 'kafka_version': '3.9.x' would be ignored with cluster_arn; allowed: leave it out, or new_cluster",
        ),
        ({"callers": '{"a": "r", "b": "r"}'}, "setting callers: role r stands for several services"),
        ({"callers": SAME_ROLE}, "setting callers: role r stands for several services"),
        ({"on_failure_topic": ".."}, "setting 'on_failure_topic': '..': String should match"),
        ({"on_failure_topic": ".given-up"}, "such as ras.given-up"),
        (
            {"on_failure_topic": "__consumer_offsets"},
            "setting 'on_failure_topic': '__consumer_offsets': a topic of Kafka's own; allowed: any other",
        ),
        ({"cluster-arn": CLUSTER_ARN}, "setting 'cluster-arn' is unknown; 'cluster_arn' is one; allowed: "),
        ({"max-pollers": "4"}, "setting 'max-pollers' is unknown; 'maximum_pollers' is one"),
        (
            {"vpc.vpc_id": "vpc-1"},
            "setting 'vpc.vpc_id' is unknown; 'vpc' is one, given as JSON with what it",
        ),
        ({"batch_size": "10"}, "setting 'batch_size' is unknown; it is a part of 'topic_batching', which is"),
        ({"snap_start": "flase"}, "setting 'snap_start': 'flase': allowed: true or false"),
        ({"alarm_emails": "me@example.com"}, "Input should be a list, as JSON; such as"),
        ({"runbook_url": "http://wiki"}, "setting runbook_url: 'http://wiki' cannot be followed"),
        (
            {"topic_batching.huleedu.essay.nlp.completed.v1.batch_size": "10"},
            "v1.batch_size' is unknown; 'topic_batching' is one, given as JSON",
        ),
        ({"quux-frobnicate": "1"}, "setting 'quux-frobnicate' is unknown; allowed: account, "),
        (
            {"cluster_arn": CLUSTER_ARN.replace("arn:aws:", "arn:aws-cn:")},
            "is of partition aws-cn; allowed: that of eu-north-1, aws",
        ),
        (
            {"callers": '{"a": "arn:aws-cn:iam::111122223333:role/a"}'},
            "setting callers: 'arn:aws-cn:iam::111122223333:role/a' is of partition aws-cn; allowed: that of",
        ),
        *(
            ({"callers": json.dumps({"a": role})}, f"setting 'callers.a': {role!r}")
            for role in ("x/", "/x", "x" * 65)
        ),
        (
            {"callers": json.dumps({f"service-{n}": f"role-of-service-{n}" for n in range(50)})},
            "setting callers: 50 of them take",
        ),
        ({"callers": "foo"}, 'should be an object, as JSON; such as {"api-gateway-service": "its-role"}'),
        ({"vpc": "foo"}, 'Input should be an object, as JSON; such as {"vpc_id"'),
        ({"snap_start": "[1]"}, "setting 'snap_start': [1]: allowed: true or false"),
        ({"topic_batching": "not json"}, 'such as {"huleedu.essay.nlp.completed.v1": {"batch_size"'),
        ({"zone_names": "a,b"}, 'such as ["eu-north-1a", "eu-north-1c"]'),
        ({"api_burst_limit": "1" + "0" * 20}, "setting 'api_burst_limit'"),
        ({"write_second": "false"}, "there is no second_generation; allowed: true, or name one"),
        *(
            (
                {"vpc": GIVEN_VPC, name: value},
                f"setting {name!r}: {value!r} would be ignored with vpc; allowed: leave it out, or no vpc",
            )
            for name, value in {"new_vpc_cidr": "10.9.0.0/16", "availability_zones": "2"}.items()
        ),
        (
            {"zone_names": '["eu-north-1a", "eu-north-1b"]', "availability_zones": "3"},
            "setting 'availability_zones': '3' would be ignored with zone_names",
        ),
        *(
            ({"stage": stage, **NEW_CLUSTER[stage], name: "false"}, f"setting {name}: false gives up")
            for stage in ("staging", "prod")
            for name in ("own_key", "api_access_logs")
        ),
        ({"runtime": "python3.99"}, "setting 'runtime': 'python3.99'"),
        ({"stage": "prod", **NEW_CLUSTER["prod"], "on_failure": "false"}, "setting on_failure: false loses"),
        (
            {"stage": "prod", **NEW_CLUSTER["prod"], "runbook_url": "docs/runbook.md"},
            "setting runbook_url: 'docs/runbook.md' cannot be followed",
        ),
        (
            {"stage": "prod", **NEW_CLUSTER["prod"], "alarm_emails": '["a@example.com"]'},
            "setting runbook_url: not given, but alarm_emails is",
        ),
        ({"stage": "local", "restrict_to_vpc_endpoint": "true"}, "setting restrict_to_vpc_endpoint"),
        ({"stage": "dev", "functions_on_host": "true"}, "setting functions_on_host"),
        ({"stage": "prod", **NEW_CLUSTER["prod"], "compress_answers": "false"}, "setting compress_answers"),
        ({"stage": "prod", **NEW_CLUSTER["prod"], "layers_in_code": "true"}, "setting layers_in_code"),
        (
            {"stage": "prod", **NEW_CLUSTER["prod"], "mappings_as_output": "true"},
            "setting mappings_as_output",
        ),
        (
            {"stage": "prod", **NEW_CLUSTER["prod"], "serve_unidentified": "true"},
            "setting serve_unidentified",
        ),
    ],
)
def test_wrong_setting_is_named(context: dict[str, Any], told: str) -> None:
    """The error names the setting, and its value where it has one."""
    with pytest.raises(SettingsError, match=re.escape(told)):
        load_settings(context, {})


def test_every_wrong_setting_is_told_at_once() -> None:
    """Nobody corrects settings one run at a time."""
    with pytest.raises(SettingsError) as error:
        load_settings({"retries": "no", "region": "no", "stage": "prod"}, {})

    assert str(error.value).count("setting ") == 2


# What a command line is followed by in the documents: the pairs of its `-c`.


def settings_of(command: str) -> dict[str, str]:
    """What a documented `make deploy` sets: STAGE, and the `-c`s in ARGS."""
    words = shlex.split(command)
    given = dict(word.split("=", 1) for word in words if "=" in word)
    flags = shlex.split(given.get("ARGS", ""))
    return {"stage": given["STAGE"]} | dict(
        pair.split("=", 1) for flag, pair in pairwise(flags) if flag == "-c"
    )


DEPLOYMENTS = [
    settings_of(command)
    for document in ("README.md", "docs/deploy.md", "docs/upgrades.md")
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)
    for command in block.replace("\\\n", "").splitlines()
    if command.startswith("make deploy")
]


@pytest.mark.parametrize("context", DEPLOYMENTS)
def test_deployments_of_the_documents_are_accepted(context: dict[str, str]) -> None:
    """Every setting that a document says exists and takes the value that stands there."""
    load_settings({**context, "cluster_arn": CLUSTER_ARN} if "…" in str(context) else context, {})


@pytest.mark.parametrize("document", ["README.md", "docs/deploy.md", "docs/runbook.md"])
def test_settings_of_the_documents_exist(document: str) -> None:
    """Nobody looks for a setting that was renamed."""
    named = set(re.findall(r"-c '?([a-z_]+)=", (ROOT / document).read_text()))

    assert named <= set(Settings.model_fields)

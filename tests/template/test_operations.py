"""On call: every alarm has its page, goes somewhere, and watches what exists."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import click
import pytest
from ras.cli import main
from result_aggregator.domain.outcomes import HANDED_BACK, OUTCOMES
from result_aggregator.metrics import DLQ_MESSAGES_SENT, RECORDS, SERVICE, SERVICE_DIMENSION
from result_aggregator.topics import TOPICS

from infra.settings import Settings
from tests.template.given import ACCOUNT, CLUSTER_ARN, GIVEN_VPC, REGION, ROOT
from tests.template.synth import Assembly, assembly

if TYPE_CHECKING:
    from collections.abc import Iterator

ALARM = "AWS::CloudWatch::Alarm"
MAPPING = "AWS::Lambda::EventSourceMapping"
# What Lambda counts of a mapping, and the group by which it has to be asked to.
COUNTED = {
    "DroppedEventCount": "EventCount",
    "OnFailureDestinationDeliveredEventCount": "EventCount",
    "PollingErrorCount": "ErrorCount",
}
RUNBOOK = ROOT / "docs/runbook.md"
SECTIONS = dict(
    re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), flags=re.MULTILINE | re.DOTALL)
)
UPGRADES = (ROOT / "docs/upgrades.md").read_text()
COMMANDS = [
    (section, command)
    for section, text in SECTIONS.items()
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    for command in block.splitlines()
    if command.startswith("ras ")
]


def alarms_of(stage: Assembly) -> list[dict[str, Any]]:
    """Those of the stage, and those of its mappings, which are where the mappings are."""
    return [alarm for part in ("operations", "ingest") for alarm in stage.properties(part, ALARM)]


def metrics_of_alarms(stage: Assembly) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Namespace, name and dimensions of every metric that an alarm reads."""
    for alarm in alarms_of(stage):
        for metric in [
            alarm,
            *(query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query),
        ]:
            if "MetricName" in metric:
                dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
                yield metric["Namespace"], metric["MetricName"], dimensions


def metrics_of(stage: Assembly) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The same, and those that the dashboard reads."""
    yield from metrics_of_alarms(stage)
    for widget in widgets(stage):
        for namespace, name, *rest in (m for m in widget.get("metrics", []) if isinstance(m[0], str)):
            pairs = [value for value in rest if isinstance(value, str)]
            yield namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))


def widgets(stage: Assembly) -> list[dict[str, Any]]:
    body = stage.only("operations", "AWS::CloudWatch::Dashboard")["DashboardBody"]
    return [widget["properties"] for widget in json.loads(body)["widgets"]]


def only_table(stage: Assembly) -> tuple[str, list[str]]:
    """The table, and its indexes."""
    ((name, table),) = stage.resources("data", "AWS::DynamoDB::Table").items()
    return name, [index["IndexName"] for index in table["Properties"]["GlobalSecondaryIndexes"]]


def of_group(mapping: dict[str, Any]) -> dict[str, str]:
    """By what MSK knows the group of a mapping on its topic."""
    return {
        "Cluster Name": mapping["EventSourceArn"].split("/")[1],
        "Consumer Group": mapping["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"],
        "Topic": mapping["Topics"][0],
    }


def sections_of(stage: Assembly) -> dict[str, set[str]]:
    """The runbook's section -> the names of the alarms that link it."""
    found: dict[str, set[str]] = {}
    for alarm in alarms_of(stage):
        (section,) = re.findall(r"Runbook: docs/runbook\.md#([a-z0-9-]+)$", alarm["AlarmDescription"])
        found.setdefault(section, set()).add(alarm["AlarmName"])
    return found


def test_every_alarm_has_its_section_and_every_section_its_alarm(aws_stage: Assembly) -> None:
    """The link in an alarm's description leads to a heading of the runbook, and none of them is for nothing."""
    linked = sections_of(aws_stage)

    assert set(linked) == set(SECTIONS)
    for section, names in linked.items():
        assert all(name.startswith(aws_stage.settings.name(f"{section}-")) for name in names)


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_say_what_why_and_what_to_do(section: str) -> None:
    """Whoever is woken finds the same three answers in each, with commands of this project."""
    for heading in ("**What it means.**", "**See why.**", "**Do.**"):
        assert heading in SECTIONS[section]
    assert any(where == section for where, _ in COMMANDS)


@pytest.mark.parametrize(("section", "command"), COMMANDS)
def test_commands_of_the_runbook_parse(section: str, command: str) -> None:  # noqa: ARG001 - names the example
    """Commands, options and their values exist as written."""
    parse(command)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^ras [^#\n]+", UPGRADES, re.MULTILINE))))
def test_commands_of_the_upgrades_parse(command: str) -> None:
    """As those of the runbook."""
    parse(command)


def test_deployments_of_the_upgrades_are_settings() -> None:
    """Each `-c` of docs/upgrades.md, and each of its table, is a setting."""
    named = re.findall(r"-c ([a-z_]+)=", UPGRADES) + re.findall(r"\b([a-z]+_[a-z_]+)=\w", UPGRADES)

    assert named
    assert set(named) <= set(Settings.model_fields)


@pytest.mark.parametrize(
    "command",
    [
        "ras dead-letter list",
        "ras dead-letters list --kind lost",
        "ras replay --stage prod",
        "ras query",
        "ras up now",
    ],
)
def test_parsing_sees_wrong_commands(command: str) -> None:
    """The check above does fail."""
    with pytest.raises(click.UsageError):
        parse(command)


def parse(line: str) -> None:
    """Parse a command line of `ras` as click does before it runs anything. Raises UsageError."""
    name, *words = shlex.split(line)
    command: click.Command = main
    context = command.make_context(name, words)
    while isinstance(command, click.Group):
        found_name, found, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(found_name, words, parent=context)


def test_what_is_deployed_is_watched(aws_stage: Assembly) -> None:
    """Each function, topic, mapping, table and index, and the API, by what can go wrong with it; whatever is added, too."""
    ingest, (query,) = (
        [one["FunctionName"] for one in aws_stage.properties(part, "AWS::Lambda::Function")]
        for part in ("ingest", "api")
    )
    mappings = aws_stage.properties("ingest", MAPPING)
    table, (index,) = only_table(aws_stage)
    api = {
        "ApiName": aws_stage.only("api", "AWS::ApiGateway::RestApi")["Name"],
        "Stage": aws_stage.only("api", "AWS::ApiGateway::Stage")["StageName"],
    }
    wanted = [
        *(("Throttles", {"FunctionName": function}) for function in (*ingest, query)),
        *((name, {"FunctionName": function}) for function in ingest for name in ("Errors", "OffsetLag")),
        *(
            (metric.name, {"function": function, SERVICE_DIMENSION: SERVICE})
            for function in ingest
            for metric in (DLQ_MESSAGES_SENT, RECORDS[HANDED_BACK])
        ),
        *(("SumOffsetLag", of_group(mapping)) for mapping in mappings),
        *(
            (name, {"EventSourceMappingUUID": mapping})
            for mapping in aws_stage.resources("ingest", MAPPING)
            for name in COUNTED
        ),
        *(
            (f"{what}ThrottleEvents", {"TableName": table, **dimension})
            for what in ("Read", "Write")
            for dimension in ({}, {"GlobalSecondaryIndexName": index})
        ),
        *((name, api) for name in ("5XXError", "Latency")),
    ]
    watched = [(name, dimensions) for _, name, dimensions in metrics_of_alarms(aws_stage)]

    assert {mapping["Topics"][0] for mapping in mappings} == set(TOPICS)
    assert [one for one in wanted if one not in watched] == []


def test_a_second_table_is_watched_while_it_is_written() -> None:
    """A fill that throttles it rings, too; afterwards nothing of the operations stack holds on to it."""
    filling = assembly("prod", second_generation=2)
    left = assembly("prod", table_generation=2, second_generation=1, write_second="false")
    both = {
        f"ras-prod-throttles-{table}-{what}s"
        for table in ("table", "second-table")
        for what in ("read", "write")
    }
    names = {
        alarm["AlarmName"]: json.dumps(alarm["Dimensions"])
        for alarm in filling.properties("operations", ALARM)
        if alarm["AlarmName"] in both
    }

    assert names.keys() == both
    assert names["ras-prod-throttles-table-writes"] != names["ras-prod-throttles-second-table-writes"]
    assert not any("second-table" in alarm["AlarmName"] for alarm in left.properties("operations", ALARM))


def test_alarms_tell_somebody_and_say_when_it_is_over(aws_stage: Assembly) -> None:
    """Both go to the topic; a stretch without data is no alarm."""
    (topic,) = aws_stage.outputs("operations").values()

    named = f"arn:aws:sns:{REGION}:{ACCOUNT}:{aws_stage.settings.name('alarms')}"
    assert aws_stage.only("operations", "AWS::SNS::Topic")["TopicName"] == named.rsplit(":", 1)[1]
    for alarm in alarms_of(aws_stage):
        assert alarm["AlarmActions"] == alarm["OKActions"]
        assert alarm["AlarmActions"] in ([topic], [named])
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]
        # The CDK's default is "or equal", and most thresholds are 0.
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"


def test_mappings_are_watched_by_what_lambda_counts_of_them() -> None:
    """Each provisioned one by its id, wherever it keeps what it gave up; on demand Lambda counts nothing of it."""
    elsewhere = assembly("prod", vpc=GIVEN_VPC, cluster_arn=CLUSTER_ARN, on_failure_topic="ras.given-up")
    on_demand = assembly("prod", mapping_mode="on_demand", cluster_arn=CLUSTER_ARN)
    watched: dict[str, set[str]] = {}
    for alarm in elsewhere.properties("ingest", ALARM):
        (dimension,) = alarm["Dimensions"]
        watched.setdefault(dimension["Value"], set()).add(alarm["MetricName"])

    assert watched.keys() == elsewhere.resources("ingest", MAPPING).keys()
    for made_as, mapping in elsewhere.resources("ingest", MAPPING).items():
        asked_for = set(mapping["Properties"]["MetricsConfig"]["Metrics"])
        assert {COUNTED[metric] for metric in watched[made_as]} <= asked_for
    assert not on_demand.resources("ingest", ALARM)
    assert not any("MetricsConfig" in mapping for mapping in on_demand.properties("ingest", MAPPING))


def test_thresholds_by_setting() -> None:
    """What is slow and what is far behind differs between platforms."""
    settings = {
        "slow_answer_ms": 250,
        "lag_floor": 7,
        "alarm_emails": '["on-call@example.com"]',
        "runbook_url": "https://wiki/x",
    }
    stage = assembly("prod", **settings)
    alarms = {alarm["AlarmName"]: alarm for alarm in stage.properties("operations", ALARM)}
    subscription = stage.only("operations", "AWS::SNS::Subscription")

    assert alarms["ras-prod-api-p99-api"]["Threshold"] == 250
    assert "lag > 7" in json.dumps(alarms["ras-prod-offset-lag-growing-ingest-essays"])
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "on-call@example.com")


def test_given_up_batches_are_counted_where_lambda_puts_them(prod: Assembly) -> None:
    """By the bucket, under the prefix that functions may write; where they go elsewhere there is nothing to count."""
    (metered,) = prod.only("data", "AWS::S3::Bucket")["MetricsConfigurations"]
    elsewhere = assembly("prod", vpc=GIVEN_VPC, cluster_arn=CLUSTER_ARN, on_failure_topic="ras.given-up")

    assert metered == {"Id": "given-up", "Prefix": "aws/lambda/"}
    for stage in (elsewhere, assembly("dev", on_failure="false")):
        assert f"{stage.settings.name('given-up-batches')}-bucket" not in str(sections_of(stage))
        assert "MetricsConfigurations" not in stage.only("data", "AWS::S3::Bucket")
        assert "AWS/S3" not in {namespace for namespace, _, _ in metrics_of(stage)}
    assert "given-up-batches" in sections_of(elsewhere)
    assert "given-up-batches" not in sections_of(stage)


def test_topic_takes_alarms_of_the_account_only_and_is_encrypted(aws_stage: Assembly) -> None:
    """Under our key, as an alarm cannot publish under the one that AWS manages; nothing over plain HTTP."""
    topic = aws_stage.only("operations", "AWS::SNS::Topic")
    (key,) = aws_stage.resources("data", "AWS::KMS::Key")
    policy = aws_stage.only("operations", "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in policy if statement["Effect"] == "Allow"]
    denied = [statement for statement in policy if statement["Effect"] == "Deny"]
    (of_key,) = (
        statement
        for statement in aws_stage.only("data", "AWS::KMS::Key")["KeyPolicy"]["Statement"]
        if statement.get("Sid") == "Alarms"
    )

    assert topic["KmsMasterKeyId"] == aws_stage.resolve("data", {"Fn::GetAtt": [key, "Arn"]})
    for statement in (*allowed, of_key):
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert [statement["Action"] for statement in allowed] == ["sns:Publish"]
    assert [statement["Condition"] for statement in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]


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


def test_dashboard_shows_every_outcome_and_no_other(prod: Assembly) -> None:
    assert set(re.findall(r"ras_records_(\w+)_total", json.dumps(widgets(prod)))) == set(OUTCOMES)


def test_estimated_cost_is_the_price_list_times_use(prod: Assembly) -> None:
    """A million of each, by the same formula that the dashboard has, costs what the price list says."""
    (widget,) = (w for w in widgets(prod) if "dollars" in w.get("title", ""))
    expressions = {m[0]["label"]: m[0]["expression"] for m in widget["metrics"] if isinstance(m[0], dict)}

    def cost(label: str, **use: float | None) -> float:
        assert "e-" not in expressions[label], "metric math knows no exponents"
        # The formulas are products and sums, which Python reads alike, of series that may have no data.
        known = use | {"FILL": lambda series, filled: filled if series is None else series}
        return round(float(eval(expressions[label], {"__builtins__": {}}, known)), 4)  # noqa: S307 - our own text

    idle: dict[str, float | None] = {f"{letter}{number}": None for letter in "dn" for number in range(4)}
    for number, of in enumerate(("table", "table index")):
        assert cost(f"DynamoDB {of}", **{f"w{number}": 1e6, f"r{number}": None}) == 0.625
        assert cost(f"DynamoDB {of}", **{f"w{number}": 0, f"r{number}": 1e6}) == 0.125
    assert cost("API Gateway", a=1e6) == 3.5
    # A million invocations of 100 ms at 512 MB are 50,000 GB-seconds.
    assert cost("Lambda", **{**idle, "d3": 1e8, "n3": 1e6}) == round(0.2 + 50_000 * 1.33334e-5, 4)


def test_metric_ids_of_the_cost_formulas_are_given(prod: Assembly) -> None:
    """A formula over a metric that is not on the widget shows nothing."""
    (widget,) = (w for w in widgets(prod) if "dollars" in w.get("title", ""))
    ids = {m[-1]["id"] for m in widget["metrics"] if isinstance(m[-1], dict) and "id" in m[-1]}
    used = {
        name
        for m in widget["metrics"]
        if isinstance(m[0], dict)
        for name in re.findall(r"\b[a-z][a-z0-9]*\b", m[0]["expression"])
    }

    assert used <= ids

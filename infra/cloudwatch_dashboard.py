"""The dashboard of a stage, which answers four questions: is it keeping up, correct, fast, and what does it cost."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct
from result_aggregator.metrics import DLQ_MESSAGES_SENT, MESSAGES_PROCESSED, ORPHAN_BATCHES, RECORDS
from result_aggregator.names import log_group_name
from result_aggregator.topics import TOPICS

from infra.cloudwatch_metrics import INGEST, MINUTE, StageMetrics

HOUR = Duration.hours(1)

# US dollars in us-east-1, where others cost up to a third more: on-demand DynamoDB per request unit, Lambda per
# GB-second and per request, REST API per request. Poller, cluster and endpoint hours do not depend on the load.
WRITE_UNIT_USD = 0.625e-6
READ_UNIT_USD = 0.125e-6
GB_SECOND_USD = {"arm64": 1.33334e-5, "x86_64": 1.66667e-5}
INVOCATION_USD = 0.2e-6
API_REQUEST_USD = 3.5e-6


def add_dashboard(scope: Construct, metrics: StageMetrics) -> None:
    """The dashboard of a stage, in four rows of graphs: each answers one question."""
    dashboard = cloudwatch.Dashboard(
        scope,
        "Dashboard",
        dashboard_name=metrics.settings.name("overview"),
        default_interval=Duration.hours(3),
    )
    for question, widgets in (
        ("Is it keeping up?", _keeping_up(metrics)),
        ("Is it correct?", _correct(metrics)),
        ("Is it fast?", _fast(metrics)),
        ("What does it cost?", _cost(metrics)),
    ):
        dashboard.add_widgets(cloudwatch.TextWidget(markdown=f"## {question}", width=24, height=1))
        dashboard.add_widgets(*widgets)


def _keeping_up(metrics: StageMetrics) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Records behind, worst topic of each function",
            [metrics.of_function(folder, "OffsetLag", "Maximum", MINUTE) for folder in INGEST],
        ),
        _graph(
            "Seconds behind, by topic (MSK's estimate)",
            [metrics.of_group(topic, "EstimatedMaxTimeLag") for topic in TOPICS],
        ),
        _graph(
            "Records handled a minute",
            [
                metrics.emitted(MESSAGES_PROCESSED, {"function": metrics.function(folder)}, MINUTE)
                for folder in INGEST
            ],
        ),
        _graph(
            "Throttles",
            [
                *(metrics.of_function(folder, "Throttles", "Sum", MINUTE) for folder in (*INGEST, "query")),
                *metrics.of_tables("WriteThrottleEvents", MINUTE),
                *metrics.of_tables("ReadThrottleEvents", MINUTE),
            ],
        ),
    ]


def _correct(metrics: StageMetrics) -> list[cloudwatch.IWidget]:
    return [
        *(
            _graph(
                f"What became of records: {metrics.function(folder)}",
                [
                    metrics.emitted(metric, {"function": metrics.function(folder)}, MINUTE)
                    for metric in RECORDS.values()
                ],
            )
            for folder in INGEST
        ),
        _graph(
            "Dead letters, failed invocations, orphans",
            [
                *(
                    metrics.emitted(DLQ_MESSAGES_SENT, {"function": metrics.function(folder)}, MINUTE)
                    for folder in INGEST
                ),
                *(metrics.of_function(folder, "Errors", "Sum", MINUTE) for folder in (*INGEST, "query")),
                metrics.emitted(ORPHAN_BATCHES, {"function": metrics.function("query")}, MINUTE),
                *([metrics.given_up(MINUTE)] if metrics.settings.keeps_given_up else []),
            ],
        ),
    ]


def _fast(metrics: StageMetrics) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "API latency (ms)",
            [metrics.of_api("Latency", statistic, MINUTE) for statistic in ("p50", "p90", "p99")],
        ),
        _graph(
            "API requests and errors",
            [metrics.of_api(name, "Sum", MINUTE) for name in ("Count", "4XXError", "5XXError")],
        ),
        _graph(
            "Function time, p99 (ms)",
            [metrics.of_function(folder, "Duration", "p99", MINUTE) for folder in (*INGEST, "query")],
        ),
        cloudwatch.LogQueryWidget(
            title="Cold starts and restores",
            log_group_names=[log_group_name(metrics.function(folder)) for folder in (*INGEST, "query")],
            # Lambda's own lines: a function with a snapshot reports a restore where others report an init.
            query_lines=[
                'filter type = "platform.report"',
                "fields record.metrics.initDurationMs as init, record.metrics.restoreDurationMs as restore",
                "stats count(init) as cold_starts, max(init) as init_ms,"
                " count(restore) as restores, max(restore) as slowest_restore_ms by @log",
            ],
            width=6,
            height=6,
            view=cloudwatch.LogQueryVisualizationType.TABLE,
        ),
    ]


def _cost(metrics: StageMetrics) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Request units a minute",
            [
                *metrics.of_tables("ConsumedWriteCapacityUnits", MINUTE),
                *metrics.of_tables("ConsumedReadCapacityUnits", MINUTE),
            ],
        ),
        cloudwatch.GraphWidget(
            title="Estimated US dollars an hour, by use (prices of us-east-1; no hourly charges)",
            left=[
                *_dynamodb_usd(metrics),
                _lambda_usd(metrics),
                _money(
                    f"a * {_usd(API_REQUEST_USD)}", {"a": metrics.of_api("Count", "Sum", HOUR)}, "API Gateway"
                ),
            ],
            stacked=True,
            width=12,
            height=6,
        ),
        _graph(
            "Most functions at once",
            [
                metrics.of_function(folder, "ConcurrentExecutions", "Maximum", MINUTE)
                for folder in (*INGEST, "query")
            ],
        ),
    ]


def _dynamodb_usd(metrics: StageMetrics) -> list[cloudwatch.MathExpression]:
    """A line for each table and index, so that the one that replaces another is seen beside it.

    A series without data counts as zero, here and in `_lambda_usd`: a sum over it would show nothing.
    """
    return [
        _money(
            f"FILL(w{number}, 0) * {_usd(WRITE_UNIT_USD)} + FILL(r{number}, 0) * {_usd(READ_UNIT_USD)}",
            {
                f"w{number}": metrics.of_table("ConsumedWriteCapacityUnits", "Sum", HOUR, table, index),
                f"r{number}": metrics.of_table("ConsumedReadCapacityUnits", "Sum", HOUR, table, index),
            },
            f"DynamoDB {part.replace('-', ' ')}",
        )
        for number, (part, table, index) in enumerate(metrics.counted_apart())
    ]


def _lambda_usd(metrics: StageMetrics) -> cloudwatch.MathExpression:
    """All functions in one line: `d<n>` are the milliseconds of a function, `n<n>` its invocations."""
    memory_gb = {
        **dict.fromkeys(INGEST, metrics.settings.ingest_memory_mb / 1024),
        "query": metrics.settings.query_memory_mb / 1024,
    }
    used = dict(enumerate(memory_gb))
    gb_second = _usd(GB_SECOND_USD[metrics.settings.architecture])
    return _money(
        " + ".join(
            f"FILL(d{number}, 0) / 1000 * {memory_gb[folder]:g} * {gb_second}"
            f" + FILL(n{number}, 0) * {_usd(INVOCATION_USD)}"
            for number, folder in used.items()
        ),
        {
            f"d{number}": metrics.of_function(folder, "Duration", "Sum", HOUR)
            for number, folder in used.items()
        }
        | {
            f"n{number}": metrics.of_function(folder, "Invocations", "Sum", HOUR)
            for number, folder in used.items()
        },
        "Lambda",
    )


def _graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=6, height=6)


def _usd(price: float) -> str:
    """Metric math knows no exponents."""
    return f"{price:.12f}".rstrip("0")


def _money(
    expression: str, metrics: Mapping[str, cloudwatch.IMetric], label: str
) -> cloudwatch.MathExpression:
    return cloudwatch.MathExpression(
        expression=expression, using_metrics=dict(metrics), label=label, period=Duration.hours(1)
    )

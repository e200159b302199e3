"""Plans of the mappings: none that Lambda would refuse or that would lose records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from result_aggregator.topics import TOPICS

from infra.context import load_settings
from infra.mapping_plans import Plan, check, plans
from infra.settings import SettingsError
from tests.template.given import CLUSTER_ARN

ON_DEMAND = Plan(
    topic="t", function="f", consumer_group="g", batch_size=1, window_seconds=0, on_failure=True
)  # fmt: skip
PROVISIONED = replace(
    ON_DEMAND, pollers=(1, 10), poller_group="p", retries=5, report_batch_item_failures=True
)


def test_consumer_groups_take_the_platforms_prefix() -> None:
    """Where names of groups are handed out, the setting says the first part."""
    settings = load_settings(
        {"stage": "prod", "cluster_arn": CLUSTER_ARN, "consumer_group_prefix": "platform.ras."}, {}
    )

    assert {plan.consumer_group for plan in plans(settings)} == {
        "platform.ras." + topic.removeprefix("huleedu.") for topic in TOPICS
    }


@pytest.mark.parametrize(
    "good",
    [
        [ON_DEMAND],
        [PROVISIONED],
        [PROVISIONED, replace(PROVISIONED, consumer_group="h")],
        [replace(PROVISIONED, on_failure_topic="u")],
        [
            replace(
                PROVISIONED, batch_size=10_000, window_seconds=300, retries=10_000, max_record_age_seconds=60
            )
        ],
    ],
)
def test_deployable_plans_pass(good: list[Plan]) -> None:
    """The counterparts of what is refused below."""
    check(good)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ([replace(ON_DEMAND, retries=5)], "retries needs mapping_mode provisioned"),
        (
            [replace(ON_DEMAND, max_record_age_seconds=-1)],
            "max_record_age_seconds needs mapping_mode provisioned",
        ),
        ([replace(ON_DEMAND, bisect=False)], "bisect needs mapping_mode provisioned"),
        ([replace(ON_DEMAND, poller_group="p")], "poller_group needs mapping_mode provisioned"),
        ([replace(ON_DEMAND, report_batch_item_failures=True)], "partial batch responses needs mapping_mode"),
        ([replace(PROVISIONED, retries=-1)], "silently 10"),
        ([replace(ON_DEMAND, consumer_group="g" * 201)], "201 characters"),
        ([replace(ON_DEMAND, batch_size=10_001)], "batch_size: 10001, allowed 1 to 10000"),
        ([replace(ON_DEMAND, batch_size=0)], "batch_size: 0, allowed 1 to 10000"),
        ([replace(ON_DEMAND, window_seconds=301)], "window_seconds: 301, allowed 0 to 300"),
        ([replace(PROVISIONED, retries=10_001)], "retries: 10001, allowed 0 to 10000"),
        ([replace(PROVISIONED, max_record_age_seconds=59)], "max_record_age_seconds: 59, allowed -1 or 60"),
        ([replace(PROVISIONED, pollers=(2, 1))], r"minimum_pollers: 2, allowed 1 to maximum_pollers \(1\)"),
        ([replace(ON_DEMAND, on_failure_topic="u")], "on_failure_topic needs mapping_mode provisioned"),
        ([replace(PROVISIONED, on_failure_topic="t")], "on_failure_topic: 't' is the mapping's own source"),
        ([PROVISIONED, PROVISIONED], "consumer group g is used by 2 mappings"),
        (
            [replace(PROVISIONED, consumer_group=str(n), pollers=(1, 201)) for n in range(10)],
            "asks for 2010 pollers in sum, allowed 2000",
        ),
        ([replace(PROVISIONED, consumer_group=str(n)) for n in range(101)], "101 mappings, allowed 100"),
    ],
)
def test_plans_that_lambda_refuses_fail_before_deployment(bad: list[Plan], told: str) -> None:
    """What would fail at deployment, or lose records without failing, fails at synthesis and says why."""
    with pytest.raises(SettingsError, match=told):
        check(bad)


def test_too_many_pollers_by_setting() -> None:
    """The check runs on what the settings make, not only on its own examples."""
    with pytest.raises(SettingsError, match="maximum_pollers: poller group ras-prod-pollers asks for"):
        plans(load_settings({"stage": "prod", "cluster_arn": CLUSTER_ARN, "maximum_pollers": "200"}, {}))

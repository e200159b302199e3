"""What each topic's event source mapping asks for, checked against what Lambda allows before anything is deployed.

Nothing here imports the CDK: `infra.mappings` makes the mappings.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from result_aggregator.topics import TOPICS

from infra.setting_types import BATCH_LIMIT, RECORD_AGE_LIMIT_S, RETRIES_LIMIT, WINDOW_LIMIT_S
from infra.settings import Settings, SettingsError

# Lambda's limits: a consumer group id, mappings in a poller group, their pollers together.
GROUP_ID_LIMIT = 200
GROUP_MAPPINGS_LIMIT = 100
GROUP_POLLERS_LIMIT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one mapping asks for. `None` leaves an option out, as on-demand mode demands of most."""

    topic: str
    function: str
    consumer_group: str
    batch_size: int
    window_seconds: int
    on_failure: bool
    on_failure_topic: str | None = None
    pollers: tuple[int, int] | None = None
    poller_group: str | None = None
    retries: int | None = None
    max_record_age_seconds: int | None = None
    bisect: bool | None = None
    report_batch_item_failures: bool = False
    metrics: bool = False


def plans(settings: Settings) -> list[Plan]:
    """A checked plan for every topic of the service. Raises SettingsError for what Lambda would refuse."""
    made = [_plan(settings, topic) for topic in TOPICS]
    check(made)
    return made


def consumer_group(settings: Settings, topic: str) -> str:
    """`ras-<stage>-<topic without its common prefix>`: what an operator names to look at lag or to rewind."""
    prefix = settings.consumer_group_prefix or settings.name("")
    return prefix + short_name(topic)


def short_name(topic: str) -> str:
    return topic.removeprefix("huleedu.")


def _plan(settings: Settings, topic: str) -> Plan:
    batching = settings.batching(topic)
    common = Plan(
        topic=topic,
        function=TOPICS[topic].function,
        consumer_group=consumer_group(settings, topic),
        batch_size=batching.batch_size,
        window_seconds=batching.window_seconds,
        on_failure=settings.on_failure,
        on_failure_topic=settings.on_failure_topic,
    )
    if not settings.provisioned:
        return common
    return replace(
        common,
        pollers=(settings.minimum_pollers, settings.maximum_pollers),
        poller_group=settings.poller_group or settings.name("pollers"),
        retries=settings.retries,
        max_record_age_seconds=settings.max_record_age_seconds,
        bisect=settings.bisect,
        report_batch_item_failures=settings.partial_batch_response,
        metrics=settings.operations,
    )


def check(made: Sequence[Plan]) -> None:
    """Raise SettingsError with every reason why Lambda would refuse these mappings, or lose records with them."""
    problems = [f"{plan.topic}: {problem}" for plan in made for problem in _problems(plan)]
    groups = Counter(plan.consumer_group for plan in made)
    problems += [f"consumer group {group} is used by {n} mappings" for group, n in groups.items() if n > 1]
    for poller_group in {plan.poller_group for plan in made if plan.poller_group}:
        members = [plan.pollers for plan in made if plan.poller_group == poller_group and plan.pollers]
        if len(members) > GROUP_MAPPINGS_LIMIT:
            problems.append(
                f"poller_group {poller_group}: {len(members)} mappings, allowed {GROUP_MAPPINGS_LIMIT}"
            )
        asked = sum(maximum for _, maximum in members)
        if asked > GROUP_POLLERS_LIMIT:
            problems.append(
                f"maximum_pollers: poller group {poller_group} asks for {asked} pollers in sum,"
                f" allowed {GROUP_POLLERS_LIMIT}"
            )
    if problems:
        raise SettingsError("\n".join(f"event source mapping {problem}" for problem in problems))


def _problems(plan: Plan) -> list[str]:
    problems = []
    if not 1 <= plan.batch_size <= BATCH_LIMIT:
        problems.append(f"batch_size: {plan.batch_size}, allowed 1 to {BATCH_LIMIT}")
    if not 0 <= plan.window_seconds <= WINDOW_LIMIT_S:
        problems.append(f"window_seconds: {plan.window_seconds}, allowed 0 to {WINDOW_LIMIT_S}")
    if not 1 <= len(plan.consumer_group) <= GROUP_ID_LIMIT:
        problems.append(
            f"consumer group id has {len(plan.consumer_group)} characters, allowed 1 to {GROUP_ID_LIMIT}"
        )
    if plan.pollers is None:
        asked = {
            "poller_group": plan.poller_group is not None,
            "retries": plan.retries is not None,
            "max_record_age_seconds": plan.max_record_age_seconds is not None,
            "bisect": plan.bisect is not None,
            "partial batch responses": plan.report_batch_item_failures,
            "on_failure_topic": plan.on_failure_topic is not None,
            "metrics": plan.metrics,
        }
        problems += [
            f"{option} needs mapping_mode provisioned" for option, is_asked in asked.items() if is_asked
        ]
    if plan.retries is not None and not -1 <= plan.retries <= RETRIES_LIMIT:
        problems.append(f"retries: {plan.retries}, allowed 0 to {RETRIES_LIMIT}")
    age = plan.max_record_age_seconds
    if age is not None and age != -1 and not 60 <= age <= RECORD_AGE_LIMIT_S:
        problems.append(f"max_record_age_seconds: {age}, allowed -1 or 60 to {RECORD_AGE_LIMIT_S}")
    if plan.pollers and not 1 <= plan.pollers[0] <= plan.pollers[1]:
        problems.append(
            f"minimum_pollers: {plan.pollers[0]}, allowed 1 to maximum_pollers ({plan.pollers[1]})"
        )
    if plan.on_failure_topic == plan.topic:
        problems.append(
            f"on_failure_topic: {plan.topic!r} is the mapping's own source; allowed: any other topic"
        )
    if plan.retries == -1 and plan.on_failure:
        problems.append("retries: -1 with an on-failure destination is silently 10; say a number")
    return problems

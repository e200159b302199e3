"""`ras replay`: a topic again from a moment on, by its consumer group or through its function."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from result_aggregator.topics import TOPICS

from ras import options as shared
from ras import time_argument
from ras.errors import NotFoundError, SettingError, UnreachableError
from ras.terminal import console, many, plain, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ras.deployed_mappings import DeployedMapping
    from ras.deployment import Deployment
    from ras.kafka.msk_iam import Brokers
    from ras.replay.redrive import Run
    from ras.replay.rewind import RewindPlan

_BY_TOPIC = ("topic", "group", "partitions", "again")


@click.command()
@click.option("--topic", "topics", multiple=True, help="A topic of the service. May be repeated.")
@click.option("--all-topics", is_flag=True, help="Every topic of the service.")
@click.option(
    "--from",
    "start",
    type=shared.Moment(),
    help="First moment, by the records' timestamps: 2h (ago), 2026-11-23T08:00:00Z, beginning.",
)
@click.option(
    "--to", "end", type=shared.Moment(), help="With --via function: up to, not including, this moment."
)
@click.option(
    "--via", type=click.Choice(["group", "function"]), default="group", show_default=True, help="See above."
)
@click.option("--group", help="The consumer group to rewind, where mappings differ.")
@click.option("--all-groups", is_flag=True, help="Rewind every mapping's group that reads the topic.")
@click.option(
    "--wait", is_flag=True, help="With --via group: return once they have read again what there was."
)
@shared.timeout(3600, "With --wait")
@click.option("--restart", is_flag=True, help="With --via function: begin anew instead of going on.")
@click.option(
    "--enable", is_flag=True, help="Only enable the mappings that an interrupted replay has left disabled."
)
@shared.dry_run
@shared.yes
@shared.of_deployment
@shared.of_brokers
@shared.failures
def replay(
    topics: tuple[str, ...],
    *,
    all_topics: bool,
    start: datetime | None,
    end: datetime | None,
    via: str,
    group: str | None,
    all_groups: bool,
    wait: bool,
    timeout_s: float,
    restart: bool,
    enable: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Have topics read again from a moment on. Always safe: what the view has already changes nothing.

    --via group rewinds the consumer group of the topic's event source mapping: the mapping is disabled, the group's
    committed offsets are moved back to the first records at or after the moment, and the mapping is enabled again.
    (Changing a mapping's StartingPosition does nothing: AWS ignores it once the group has commits.) Offsets are only
    moved back, so nothing is skipped. While the mapping is disabled new records wait in the topic. That it is disabled is
    noted in the stage's bucket first: should this be killed, `ras replay --enable` enables what it left, from any machine.

    --via function reads the records and hands them to the ingest function itself, besides the mapping, whose group is
    not touched. It hands over the records that are stamped in the window, wherever they are in the topic, and no others;
    it tells what became of each, and goes on where it was stopped.

    Both need a way to the brokers, so with --stage run it inside the VPC.

    \b
    Rights in AWS:
      both            cloudformation:DescribeStacks, lambda:ListEventSourceMappings, kafka:GetBootstrapBrokers;
                      kafka-cluster:Connect on the cluster, DescribeTopic and ReadData on the topics
      --via group     lambda:UpdateEventSourceMapping and GetEventSourceMapping; on the dead-letter bucket s3:ListBucket,
                      and s3:GetObject, s3:PutObject and s3:DeleteObject under paused-mappings/ (--enable: these alone);
                      kafka-cluster:DescribeGroup and AlterGroup on the mappings' groups
      --via function  lambda:InvokeFunction; kafka-cluster:DescribeGroup on groups ras-replay-*
                      (by AWS's list AlterGroup goes with ReadData; Kafka does not ask for it here)

    \b
    Examples:
      ras replay --all-topics --from beginning --dry-run
      ras replay --topic huleedu.cj_assessment.completed.v1 --from 2h --wait
      ras replay --stage prod --enable
      ras replay --stage prod --topic huleedu.essay.spellcheck.completed.v1 --via function --from 2026-11-22 --to 2026-11-23
    """
    if enable:
        if topics or all_topics or start or end or group or all_groups:
            raise click.UsageError(
                "--enable takes no topic, group or moment: it enables what was left disabled."
            )
        _enable(shared.deployment(options), dry_run=dry_run)
        return
    if start is None:
        raise click.UsageError("Missing option '--from'.")
    if end is not None and end <= start:
        raise click.UsageError("--to is not after --from: there is nothing between them.")
    _check(topics, all_topics=all_topics, via=via, end=end, group=group, all_groups=all_groups)
    deployment = shared.deployment(options)
    wanted = tuple(TOPICS) if all_topics else topics
    mappings = _mappings(deployment, wanted, group, every=all_groups)
    if via == "group":
        wait_s = timeout_s if wait else None
        _rewind(deployment, mappings, start, wait_s=wait_s, dry_run=dry_run, yes=yes)
    else:
        _redrive(deployment, wanted, mappings, start, end, restart=restart, dry_run=dry_run, yes=yes)


def _check(
    topics: Sequence[str],
    *,
    all_topics: bool,
    via: str,
    end: datetime | None,
    group: str | None,
    all_groups: bool,
) -> None:
    if bool(topics) == all_topics:
        raise click.UsageError("Name a --topic, or say --all-topics.")
    if unknown := sorted(set(topics) - set(TOPICS)):
        raise SettingError(
            f"the service does not read {', '.join(unknown)}", f"It reads: {', '.join(TOPICS)}."
        )
    if via == "group" and end is not None:
        raise click.UsageError("A rewound group reads on to the end: --to goes with --via function.")
    if via == "function" and (group or all_groups):
        raise click.UsageError("No group is touched by --via function.")
    if group and all_groups:
        raise click.UsageError("--group or --all-groups, not both.")


def _mappings(
    deployment: Deployment, topics: Sequence[str], group: str | None, *, every: bool
) -> list[DeployedMapping]:
    """The mappings of the topics, one for each unless `every`. Raises OperatorError where that cannot be told."""
    all_of_them = [mapping for mapping in deployment.mappings() if mapping.topic in topics]
    found = [mapping for mapping in all_of_them if group in (None, mapping.consumer_group_id)]
    groups = ", ".join(sorted(mapping.consumer_group_id for mapping in all_of_them))
    if group and not found:
        raise NotFoundError(f"no mapping reads as group {group}", f"There are: {groups}.")
    if missing := sorted(set(topics) - {mapping.topic for mapping in found}):
        raise NotFoundError(f"no event source mapping of stage {deployment.stage} reads {', '.join(missing)}")
    if len(found) > len(set(topics)) and not every:
        raise SettingError(
            "several mappings read the topic", f"Say --all-groups, or one --group of: {groups}."
        )
    return found


# --- what an interrupted replay left ---


def _enable(deployment: Deployment, *, dry_run: bool) -> None:
    """Enable what an interrupted replay has left disabled. No question is asked: that is the state it was in."""
    from ras.replay import rewind

    out = console(stderr=True)
    found = deployment.paused_mappings.interrupted()
    for one in found:
        out.print(plain(str(one)), soft_wrap=True)
        if not dry_run:
            rewind.enable(deployment, one.uuid)
            out.print(plain(f"{one.topic}: its mapping is enabled again"), soft_wrap=True)
    if not found:
        out.print("No mapping is disabled by an interrupted replay.")


def _interrupted(deployment: Deployment) -> set[str]:
    """Report the mappings that an interrupted replay has left disabled; their ids."""
    from ras.replay import rewind

    found = deployment.paused_mappings.interrupted()
    for one in found:
        remedy = f"{one}; `{rewind.enable_command(deployment)}` enables it"
        console(stderr=True).print(plain(remedy), soft_wrap=True)
    return {one.uuid for one in found}


# --- by the group ---


def _rewind(
    deployment: Deployment,
    mappings: Sequence[DeployedMapping],
    start: datetime,
    *,
    wait_s: float | None,
    dry_run: bool,
    yes: bool,
) -> None:
    from ras.kafka.topic import each
    from ras.replay import rewind

    brokers = deployment.brokers()
    out = console(stderr=True)
    interrupted = _interrupted(deployment)
    plans = each(lambda mapping: rewind.plan(brokers, mapping, time_argument.milliseconds(start)), mappings)
    _show(plans)
    again = sum(plan.again for plan in plans)
    out.print(
        f"{many(again, 'record')} {'would' if dry_run else 'will'} be read again, from {start.isoformat()} on"
    )
    for plan in plans:
        if not plan.mapping.enabled and plan.mapping.uuid not in interrupted:
            enable = rewind.enabling(deployment, plan.mapping.uuid)
            out.print(
                f"{plan.mapping.topic} is not read by group {plan.mapping.consumer_group_id}: its mapping is disabled,"
                f" and stays so; enable it with `{enable}`",
                soft_wrap=True,
            )
    left = [plan.mapping for plan in plans if not plan.again and plan.mapping.uuid in interrupted]
    if dry_run or not (again or left):
        return
    moving = [plan for plan in plans if plan.again]
    if not yes:
        shared.confirm(f"Rewind {many(len(moving), 'consumer group')} of stage {deployment.stage}?")
    if any(plan.mapping.enabled for plan in moving):
        out.print(
            f"disabling the mappings; should this be killed, `{rewind.enable_command(deployment)}` enables them again",
            soft_wrap=True,
        )
    rewind.rewind(
        deployment,
        moving,
        interrupted=interrupted,
        say=lambda text: out.print(plain(text), soft_wrap=True),
    )
    for mapping in left:
        rewind.enable(deployment, mapping.uuid)
    if wait_s is not None:
        _wait(deployment, brokers, moving, wait_s)


def _show(plans: Sequence[RewindPlan]) -> None:
    """Each partition of one topic; of several, each topic."""
    one = len(plans) == 1
    columns = ("partition", "oldest", "committed", "goes back to", "again") if one else _BY_TOPIC
    listing = table(*columns, numbers=columns[-5:] if one else columns[-2:])
    for plan in plans:
        moves = [move for move in plan.moves if move.again]
        if one:
            for move in moves:
                numbers = (move.partition, move.low, move.committed, move.target, move.again)
                listing.add_row(*(str(number) for number in numbers))
        elif moves:
            names = (plan.mapping.topic, plan.mapping.consumer_group_id)
            listing.add_row(*names, str(len(moves)), str(plan.again))
    if listing.rows:
        console().print(listing)


def _wait(deployment: Deployment, brokers: Brokers, plans: Sequence[RewindPlan], timeout_s: float) -> None:
    """Until the groups have read again up to where the topics ended. Raises OperatorError after `timeout_s`."""
    from ras.progress import progress
    from ras.replay import rewind

    total = sum(plan.again for plan in plans)
    deadline = time.monotonic() + timeout_s
    with progress("reading again", total) as advance:
        shown = 0
        for plan in plans:
            # Up to where the topics ended: one that is published to is never read for good.
            while left := rewind.unread(brokers, plan.mapping, plan.ends):
                behind = sum(end - begin for begin, end in left.values())
                # One that was disabled before stays so, and somebody may do it meanwhile.
                rewind.check_read(deployment, plan.mapping)
                others = sum(other.again for other in plans[plans.index(plan) + 1 :])
                done = max(shown, total - others - behind)
                advance(done - shown)
                shown = done
                if time.monotonic() > deadline:
                    where = ", ".join(
                        f"partition {n} at {begin} of {end}" for n, (begin, end) in left.items()
                    )
                    raise UnreachableError(
                        f"not read again within {timeout_s:g} s: {plan.mapping.topic} by group"
                        f" {plan.mapping.consumer_group_id}: {where}",
                        "The groups are rewound and read on; allow more with --timeout.",
                    )
                time.sleep(0.5)
        advance(total - shown)
    console(stderr=True).print("caught up")


# --- through the function ---


def _redrive(
    deployment: Deployment,
    topics: Sequence[str],
    mappings: Sequence[DeployedMapping],
    start: datetime,
    end: datetime | None,
    *,
    restart: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    from ras.checkpoints import FolderCheckpoints
    from ras.kafka.topic import each
    from ras.progress import progress
    from ras.replay import redrive

    # This needs no right on the bucket, and a mapping that reads nothing does not disturb it.
    try:
        _interrupted(deployment)
    except (BotoCoreError, ClientError) as error:
        console(stderr=True).print(
            plain(f"whether an interrupted replay left a mapping disabled is not known: {error}"),
            soft_wrap=True,
        )
    brokers = deployment.brokers()
    notes = FolderCheckpoints(deployment.state.root / "replays")
    out = console(stderr=True)
    prepare = partial(
        redrive.prepare,
        brokers,
        from_ms=time_argument.milliseconds(start),
        to_ms=None if end is None else time_argument.milliseconds(end),
        notes=notes,
        restart=restart,
    )
    runs = each(prepare, topics)
    _announce(runs)
    total = sum(run.left for run in runs)
    if dry_run or not total:
        out.print(f"{many(total, 'record')} in all{', nothing was handed over' if dry_run else ''}")
        return
    if not yes:
        shared.confirm(f"Hand {many(total, 'record')} to the functions of stage {deployment.stage}?")
    arns = {mapping.topic: mapping.event_source_arn for mapping in mappings}
    done = False
    try:
        with progress("re-driving", total) as advance:
            for run in runs:
                redrive.redrive(
                    run,
                    brokers,
                    deployment.invoke,
                    event_source_arn=arns.get(run.topic, ""),
                    on_progress=advance,
                )
        done = True
    finally:
        if not done:
            until = f" --to {end.isoformat()}" if end else ""
            out.print(f"stopped; the same command with --from {start.isoformat()}{until} goes on from there")
    _report(runs)
    sys.exit(1 if any(run.failed for run in runs) else 0)


def _announce(runs: Sequence[Run]) -> None:
    """What is to be handed over, topic by topic."""
    for run in runs:
        resumed = ", where an earlier run was stopped" if run.resumed else ""
        others = (
            f"; {many(run.outside, 'other record')} between them, stamped outside the window, not"
            if run.outside
            else ""
        )
        if run.left:
            console(stderr=True).print(
                f"{run.topic}: {many(run.left, 'record')} to hand to {TOPICS[run.topic].function}{resumed}{others}",
                soft_wrap=True,
            )


def _report(runs: Sequence[Run]) -> None:
    """What became of it, with the first records that the functions broke on."""
    for run in runs:
        counts = ", ".join(f"{number} {name}" for name, number in sorted(run.counts.items()))
        console(stderr=True).print(f"{run.topic}: {counts or 'nothing'}")
        for place, reason in run.failed[:20]:
            console(stderr=True).print(plain(f"  {place}  {reason}"), soft_wrap=True)

"""`ras rebuild`: the view into a new table, from the topics, and over to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from ras import options as shared
from ras.errors import ConflictError, FailedError, NotFoundError
from ras.plugins import deployer
from ras.terminal import console, many, plain

if TYPE_CHECKING:
    from ras.deployment import Deployment
    from ras.rebuild.rebuild import Table, Tables

_AGAIN = "Then run the same command again."


@click.command()
@click.option(
    "--back", is_flag=True, help="After the switch: have the old table asked again, if it lacks nothing."
)
@click.option(
    "--finish", is_flag=True, help="Give up the table that is not asked. Ends a rebuild, or abandons it."
)
@click.option(
    "--missing",
    type=click.Choice(["copy", "drop"]),
    help="What the asked table has and the other one lacks, because the topics no longer tell it or a function"
    " breaks on it: copy it over, or go without.  [default: refuse]",
)
@click.option("--restart", is_flag=True, help="Hand everything over again, instead of going on.")
@shared.dry_run
@shared.yes
@shared.of_deployment
@shared.of_brokers
@shared.failures
def rebuild(
    *, back: bool, finish: bool, missing: str | None, restart: bool, dry_run: bool, yes: bool, **options: Any
) -> None:
    """Build the view anew in a second table, from everything that the topics hold, and have that one asked.

    The old table answers meanwhile, and events go into both. Once the new one is filled it is compared with the old,
    item by item, and only then asked. The old one is kept in step until --finish, so --back is possible until then; it
    compares as well, the other way round.

    May be stopped at any time; the same command goes on, on another machine too. A comparison begins anew: it asks for a
    hundred items at a time, one request after the other (two minutes for a million items in the emulator, a few more in
    AWS), and changes nothing.

    Each step that changes what is live is a deployment with other settings (table_generation, second_generation,
    write_second). On the stack on this machine they are made here; with --stage you are told what to deploy, and run
    this again afterwards.

    It needs what `ras replay --via function` needs, and what `ras dead-letters` needs of the bucket, as it notes there
    how far it is; and lambda:GetFunctionConfiguration, dynamodb:DescribeTable on both tables, Scan on the one that is
    asked and BatchGetItem on the other, with --missing copy also UpdateItem there.

    \b
    Examples:
      ras rebuild --dry-run
      ras rebuild --stage prod --missing copy
      ras rebuild --finish
    """
    if back and finish:
        raise click.UsageError("--back or --finish, not both.")
    from ras.rebuild.rebuild import read_tables

    deployment = shared.deployment(options)
    tables = read_tables(deployment)
    _show(tables)
    if finish:
        _finish(deployment, tables, dry_run=dry_run, yes=yes)
    elif back:
        _back(deployment, tables, missing, dry_run=dry_run, yes=yes)
    elif tables.switched:
        ways = (
            "--finish gives up the old one, --back returns to it"
            if tables.in_step
            else "events do not go into the old one any more, so there is no way back; --finish gives it up"
        )
        console(stderr=True).print(f"the new table is asked already; {ways}", soft_wrap=True)
    else:
        _rebuild(deployment, tables, missing, restart=restart, dry_run=dry_run, yes=yes)


def _show(tables: Tables) -> None:
    out = console()
    out.print(f"generation {tables.live.generation} is asked: {tables.live.name}", soft_wrap=True)
    if tables.second is not None:
        kept = "kept in step" if tables.in_step else "written no more"
        out.print(f"generation {tables.second.generation} is {kept}: {tables.second.name}", soft_wrap=True)


def _rebuild(
    deployment: Deployment, tables: Tables, missing: str | None, *, restart: bool, dry_run: bool, yes: bool
) -> None:
    from ras.rebuild import rebuild

    out = console(stderr=True)
    lost = rebuild.gone(deployment.brokers())
    for topic, number in lost.items():
        out.print(f"{topic}: the first {number} offsets are gone")
    if lost and missing is None and not dry_run:
        raise ConflictError(
            "Kafka no longer keeps all of the topics, so they alone do not make the whole view",
            "Say --missing copy to take the rest from the old table, or --missing drop to go without.",
        )
    if dry_run:
        _plan(deployment, tables)
        return
    if not yes:
        shared.confirm(f"Rebuild the view of stage {deployment.stage} and have the new table asked?")
    if tables.second is None:
        tables = _deploy(deployment, tables.begun(), "a second table beside it", then=_AGAIN)
    broken = _fill(deployment, tables, missing, restart=restart)
    lacking = _compare(deployment, tables.live, tables.rebuilt, missing)
    _ask_about(broken, lacking, yes=yes)
    ways = "`ras rebuild --back` returns to the old table, `ras rebuild --finish` gives it up"
    _deploy(deployment, tables.swapped(), "the new table is asked", then=f"Then the view is rebuilt: {ways}.")
    out.print(f"rebuilt; {ways}")


def _plan(deployment: Deployment, tables: Tables) -> None:
    from result_aggregator.topics import TOPICS

    from ras.kafka.topic import TopicLog, each

    out = console(stderr=True)
    brokers = deployment.brokers()
    bounds = each(lambda topic: TopicLog(brokers, topic).bounds(), TOPICS)
    records = sum(held.high - held.low for partitions in bounds for held in partitions.values())
    held = deployment.cloud.dynamodb.describe_table(TableName=tables.live.name)["Table"].get("ItemCount", 0)
    out.print(
        f"{many(records, 'record')} would be handed over, and about {many(held, 'item')} compared; nothing was changed"
    )


def _fill(deployment: Deployment, tables: Tables, missing: str | None, *, restart: bool) -> int:
    """Hand over what is still to hand over; on how many records the functions break. OperatorError if nobody chose that."""
    from ras.progress import progress
    from ras.rebuild.rebuild import Fill

    out = console(stderr=True)
    fill = Fill.of(deployment, tables.rebuilt)
    if restart:
        fill.forget()
    runs = fill.runs()
    counts: Counter[str] = Counter()
    with progress("filling", sum(run.left for run in runs)) as advance:
        for run in runs:
            counts += fill.hand_over(run, advance)
            for place, reason in run.failed[:20]:
                out.print(plain(f"the function breaks on {place}: {reason}"), soft_wrap=True)
    if runs:
        told = ", ".join(f"{number} {name}" for name, number in counts.items())
        out.print(f"handed over to {tables.rebuilt.name}: {told or 'the topics are empty'}", soft_wrap=True)
    failed = fill.failed()
    broken = sum(map(len, failed.values()))
    if broken and missing is None:
        topics = ", ".join(f"{len(records)} of {topic}" for topic, records in failed.items())
        raise FailedError(
            f"the functions break on {many(broken, 'record')}: {topics}",
            "The same command hands these over again, as an error may pass. If it does not, mend the functions, deploy"
            " them, and say --restart; or say --missing copy to take from the old table what it has of them, or"
            " --missing drop to go without.",
        )
    return broken


def _compare(deployment: Deployment, asked: Table, other: Table, missing: str | None) -> int:
    """How many items of the asked table the other one lacks. Raises OperatorError if nobody chose to go without."""
    from result_aggregator.store.view_store import ViewStore

    from ras.progress import progress
    from ras.rebuild.compare import compare

    out = console(stderr=True)
    dynamodb = deployment.cloud.dynamodb
    about = dynamodb.describe_table(TableName=asked.name)["Table"].get("ItemCount", 0)
    with progress("comparing", about) as advance:
        copy_to = ViewStore(other.name, deployment.cloud.view_client) if missing == "copy" else None
        found = compare(dynamodb, asked.name, other.name, copy_to=copy_to, on_progress=advance)
    told = ", ".join(f"{number} {name}" for name, number in found.counts.items())
    out.print(f"items of generation {asked.generation}, in generation {other.generation}: {told or 'none'}")
    if found.copied:
        out.print(f"{found.copied} of them were copied")
    if not found.lacking:
        return 0
    for place in found.behind:
        out.print(plain(f"  {place}"), soft_wrap=True)
    if missing is None:
        newer = other.generation > asked.generation
        raise ConflictError(
            f"the {'new' if newer else 'old'} table lacks what {found.lacking} items of the"
            f" {'old' if newer else 'new'} one have",
            (
                "Were their records rejected this time? See `ras dead-letters list --since 1d`."
                if newer
                else "Did events not go into it for a while (write_second=false)?"
            )
            + f" Otherwise say --missing copy to take them from the {'old' if newer else 'new'} table, or --missing"
            " drop to go without.",
        )
    return found.lacking


def _ask_about(broken: int, lacking: int, *, yes: bool) -> None:
    """Have a person agree to what the table lacks that is asked next; all of it was chosen by --missing."""
    lacks = [f"{many(broken, 'record')} that the functions break on"] if broken else []
    lacks += [f"what {lacking} items of the other table have"] if lacking else []
    if lacks:
        question = f"Go on without {' and '.join(lacks)}?"
        if yes:
            console(stderr=True).print(f"going on without {' and '.join(lacks)}")
        else:
            shared.confirm(question)


def _back(deployment: Deployment, tables: Tables, missing: str | None, *, dry_run: bool, yes: bool) -> None:
    if tables.second is None:
        raise NotFoundError("there is no second table to go back to")
    if not tables.switched:
        raise ConflictError("the old table is the one that is asked")
    settings = tables.swapped()
    if _only_said(deployment, dry_run=dry_run, steps=[settings]):
        return
    if not yes:
        shared.confirm(f"Have the old table of stage {deployment.stage} asked again?")
    lacking = _compare(deployment, tables.live, tables.second, missing)
    _ask_about(0, lacking, yes=yes)
    _deploy(
        deployment,
        settings,
        "the old table is asked again",
        then="Then `ras rebuild` compares once more and goes forward, `ras rebuild --finish` gives the newer table up.",
    )


def _finish(deployment: Deployment, tables: Tables, *, dry_run: bool, yes: bool) -> None:
    from ras.rebuild.rebuild import Fill

    steps = [*([tables.left()] if tables.in_step else []), tables.alone()]
    if tables.second is None:
        raise NotFoundError("there is no second table")
    if _only_said(deployment, dry_run=dry_run, steps=steps):
        return
    if not yes:
        shared.confirm(f"Give up {tables.second.name}? There is no way back to it.")
    if not tables.switched and tables.in_step:
        Fill.of(deployment, tables.second).forget()
    for settings in steps:
        left = "write_second" in settings
        _deploy(
            deployment,
            settings,
            f"the second table is {'left' if left else 'gone'}",
            then=_AGAIN if left else "Then that is the end of it.",
        )


def _only_said(deployment: Deployment, *, dry_run: bool, steps: list[dict[str, str]]) -> bool:
    if dry_run:
        for settings in steps:
            if deployer(deployment.stage):
                chosen = " ".join(f"{name}={value}" for name, value in settings.items())
                click.echo(f"would be deployed here: {chosen}")
            else:
                click.echo(f"would run: {_command(deployment, settings)}")
    return dry_run


def _command(deployment: Deployment, settings: dict[str, str]) -> str:
    """What deploys the stage with all that it is deployed with now, but for these settings."""
    from ras.rebuild.rebuild import deploy_command, other_settings

    others = other_settings(deployment) or {}
    return deploy_command(deployment.stage, others | settings, deployment.profile)


def _deploy(deployment: Deployment, settings: dict[str, str], what: str, *, then: str) -> Tables:
    """Make a step live, where that is ours to do. Raises OperatorError with what to run elsewhere, and what comes `then`."""
    from ras.rebuild.rebuild import other_settings, read_tables

    deploy = deployer(deployment.stage)
    if deploy is None:
        # Alone on standard output, in one line: it is there to be copied.
        click.echo(_command(deployment, settings))
        kept = f"Keep these settings for later deployments. {then}"
        advice = (
            f"Run the command above: it has every setting that the stage was deployed with. {kept}"
            if other_settings(deployment) is not None
            else "Run the command above, and give it beside every setting that the stage has now, its cluster and"
            f" network above all: an earlier version deployed it, which does not tell them. {kept}"
        )
        raise ConflictError(
            f"the next step is a deployment ({what}), and stage {deployment.stage} is yours to deploy", advice
        )
    console(stderr=True).print(f"deploying: {what}")
    deploy(deployment.state, settings)
    return read_tables(deployment)

"""What the operators' commands have in common: their options, their failures, and asking before they change anything."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ras import time_argument
from ras.errors import DeclinedError, FailedError, RefusedError, UnreachableError
from ras.terminal import expected_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras.dead_letters.bucket import Filters
    from ras.deployment import Deployment


def failures(command: Callable[..., Any]) -> Callable[..., Any]:
    """Tell in a line what AWS or Kafka refused, as every other failure that a person can act on."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError
        from confluent_kafka import KafkaException

        try:
            return command(*arguments, **options)
        except ClientError as error:
            refused = "AccessDenied" in error.response.get("Error", {}).get("Code", "")
            if refused:
                raise RefusedError(str(error), "The credentials used lack that right.") from error
            raise FailedError(str(error)) from error
        except BotoCoreError as error:
            raise UnreachableError(
                str(error), "Are there credentials, and is AWS or the stack reachable?"
            ) from error
        except KafkaException as error:
            advice = "Do the brokers answer from here, and may you do this on them?"
            raise UnreachableError(f"Kafka: {error.args[0].str()}", advice) from error

    return expected_failures(run)


class Moment(click.ParamType[datetime]):
    """A moment, see `time_argument.parse`."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return time_argument.parse(value, datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _together(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Several options as one decorator, in the order in which --help shows them."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


of_deployment = _together(
    click.option("--stage", help="A stage in AWS, such as dev. Without it: the stack on this machine."),
    click.option("--profile", help="With --stage: the AWS profile to use."),
    click.option("--region", help="With --stage: the AWS region."),
)
of_brokers = _together(
    click.option("--bootstrap-servers", help="Other brokers than those that the mappings read."),
    click.option("--plaintext", is_flag=True, help="With both of these: without TLS and IAM authentication."),
)
of_letters = _together(
    click.option("--topic", "topics", multiple=True, help="Of this topic. May be repeated."),
    click.option("--reason", "reasons", multiple=True, help="With this reason code. May be repeated."),
    click.option("--since", type=Moment(), help="Kept at this moment or later: 2h, 2026-11-23T08:00:00Z."),
    click.option("--until", type=Moment(), help="Kept before this moment."),
    click.option(
        "--kind",
        "kinds",
        multiple=True,
        type=click.Choice(["rejected", "given-up", "replayed"]),
        help="Rejected by a function, given up by a mapping, or published by a replay through Kafka."
        "  [default: the first two]",
    ),
    click.option("--batch-id", help="Whose key or event names this batch of essays."),
)
yes = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")


def timeout(default_s: int, what: str) -> Callable[..., Any]:
    """The option of a command that waits: how many seconds at most."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help=f"{what}: give up after so long, and say what is missing.",
    )


def deployment(options: dict[str, Any]) -> Deployment:
    """What `of_deployment` and `of_brokers` name. Raises OperatorError."""
    from ras.deployment import choose

    return choose(
        options["stage"],
        profile=options["profile"],
        region=options["region"],
        bootstrap_servers=options.get("bootstrap_servers"),
        plaintext=options.get("plaintext", False),
    )


def filters(options: dict[str, Any]) -> Filters:
    """What `of_letters` says."""
    from ras.dead_letters.bucket import PENDING, Filters
    from ras.dead_letters.letter import Kind

    return Filters(
        kinds=frozenset(Kind(kind) for kind in options["kinds"]) or PENDING,
        topics=frozenset(options["topics"]),
        reasons=frozenset(options["reasons"]),
        since=options["since"],
        until=options["until"],
        batch_id=options["batch_id"],
    )


def filters_given(options: dict[str, Any]) -> bool:
    """True where `of_letters` says anything."""
    return any(options[name] for name in ("topics", "reasons", "since", "until", "kinds", "batch_id"))


def confirm(question: str) -> None:
    """Ask; nobody is asked where nobody can answer. Raises OperatorError unless the answer is yes."""
    if not _somebody_is_here():
        raise DeclinedError(
            f"{question} Nobody is here to say so", "Add --yes, or look first with --dry-run."
        )
    if not click.confirm(question, err=True):
        raise DeclinedError("nothing was done")


def _somebody_is_here() -> bool:
    return sys.stdin.isatty()

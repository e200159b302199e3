"""The commands of the stack on this machine, which join the `ras` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from ras.dashboard import PORT as DASHBOARD_PORT
from ras.errors import SettingError
from ras.options import failures, timeout
from ras.plugins import Plugin
from ras.state_folder import LOCAL
from ras.terminal import console, expected_failures, json_text, many
from ras.visible import visible
from result_aggregator.names import GATEWAY_CALLER

from ras_local.settings import StackDir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ras.kafka.publish import Event, Published
    from ras.state_folder import StateDir

_SETTINGS = """\b
Settings (environment):
  RAS_STATE_DIR             folder of the stack's state and logs (default .local)
  RAS_EMULATOR              embedded (default), or the address of one that runs, such as LocalStack
  RAS_EMULATOR_PORT         port of the embedded AWS emulator (default 4566, or any free one)
  RAS_BROKER                embedded (default); kafka: Apache Kafka, which needs Java and Maven; or the
                            address of one that runs (host:port)
  RAS_KAFKA_PORT            port of Apache Kafka (default any free one)
  RAS_DYNAMODB              emulator (default); or dynoxide: a faster DynamoDB server, which needs Rust once
  RAS_DYNAMODB_PORT         port of dynoxide (default any free one)
  RAS_DASHBOARD_PORT        port of the dashboard (default 8600, or any free one)
  RAS_REGION                region that is emulated (default eu-north-1)
  RAS_PARTITIONS            partitions of each topic (default 8)
  RAS_FUNCTION_CONCURRENCY  invocations of one function at a time (default 2)
  RAS_NULLS                 how events show null keys and values: absent (default), or null
"""


@click.command()
@expected_failures
def up() -> None:
    """Start emulator and broker, deploy the stacks, poll the topics, and serve the dashboard.

    Returns once everything answers, and writes .local/stack.json (readable by you alone: it holds keys).
    """
    from ras_local import stack as stacks

    state, out = StackDir.default(), console()
    was_up = stacks.is_up(state)
    stack = stacks.up(state, say=lambda text: out.print(f"[green]✓[/] {text}"))
    if was_up:
        out.print("already up")
    for name, value in (
        ("bootstrap servers", stack.bootstrap_servers),
        ("API", stack.api_url),
        ("AWS endpoint", stack.endpoint_url),
        ("dashboard", f"{stack.dashboard_url}{_not_its_usual_port(stack.dashboard_url)}"),
        ("all of it, with keys", str(state.stack_file)),
    ):
        out.print(f"{name:>22}  {value}", soft_wrap=True)
    out.print(
        "Publish with `.venv/bin/ras publish FILE`, read with `.venv/bin/ras query PATH`, stop with `make down`."
    )


def _not_its_usual_port(dashboard_url: str) -> str:
    """The README names the usual one, at which another stack's dashboard may answer."""
    wished = os.environ.get("RAS_DASHBOARD_PORT") or str(DASHBOARD_PORT)
    return "" if f":{wished}/" in dashboard_url else f"   (port {wished} was taken)"


@click.command()
@expected_failures
def down() -> None:
    """Stop everything that `ras up` started. Harmless when nothing runs."""
    from ras_local import stack as stacks

    click.echo("stopped" if stacks.down(StackDir.default()) else "nothing was running")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@failures
def status(*, as_json: bool) -> None:
    """Show what runs, where, and how far each mapping is.

    Exits with 1 when the stack is not up, or only a part of it is.
    """
    from ras_local.status import read

    found = read(StackDir.default())
    if as_json:
        click.echo(json.dumps(found.document(), indent=2))
    else:
        found.show(console())
    sys.exit(0 if found.is_up else 1)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--bootstrap-servers", help="Another broker than the running stack's.")
@click.option("--wait", is_flag=True, help="Return once the functions have consumed everything.")
@timeout(120, "Where it waits for consumers")
@failures
def publish(files: tuple[Path, ...], bootstrap_servers: str | None, *, wait: bool, timeout_s: float) -> None:
    """Publish events from JSON-lines FILES; - is standard input.

    A line is {"topic": "…", "key": "…", "value": {…}}, with "headers" if you like. A value that is text is published
    as it stands, null as a tombstone.

    The embedded broker keeps 5 MiB of a partition: before records would be dropped that nobody has read, publishing waits
    until they are consumed. Exits with 1 where any were dropped all the same, or a wait takes too long.
    """
    from ras import stack_file
    from ras.kafka import publish as publishing
    from result_aggregator.topics import TOPICS

    # Read in full first: a mistake in the last line is told before anything is published.
    events = [event for file in files for event in publishing.read_events(file)]
    state = StackDir.default()
    servers = bootstrap_servers or stack_file.load(state).bootstrap_servers
    lost_before = stack_file.lost(state)
    if unread := sorted({event.topic for event in events} - TOPICS.keys()):
        click.echo(
            f"not read by this service, nothing will come of it: {visible(', '.join(unread))}", err=True
        )
    with click.progressbar(length=len(events), label="publishing", file=sys.stderr) as bar:
        done = _publish(
            state,
            servers,
            events,
            timeout_s,
            lambda count: bar.update(count - bar.pos) if count % 100 == 0 else None,
        )
        bar.update(done.count - bar.pos)
    click.echo(
        f"{many(done.count, 'record')}, {done.size} bytes of values, confirmed by {servers} in {done.seconds:.2f} s"
    )
    if wait:
        stack_file.wait_consumed(stack_file.load(state), timeout_s=timeout_s)
        stack_file.refuse_lost(stack_file.lost_since(state, lost_before))
        click.echo("consumed")


def _publish(
    state: StackDir,
    bootstrap_servers: str,
    events: Sequence[Event],
    timeout_s: float,
    on_delivery: Callable[[int], None],
) -> Published:
    """Publish, no faster than the consumers read where the broker of the running stack keeps little."""
    from ras import stack_file
    from ras.kafka import publish as publishing

    from ras_local.paced_publishing import publish_paced
    from ras_local.servers import broker

    kept = broker.kept_bytes(state, bootstrap_servers)
    if kept is None:
        return publishing.publish(bootstrap_servers, events, on_delivery=on_delivery)
    return publish_paced(
        bootstrap_servers,
        events,
        groups=stack_file.consumer_groups(stack_file.load(state)),
        kept_bytes=kept,
        timeout_s=timeout_s,
        on_delivery=on_delivery,
    )


@click.command()
@click.argument("path")
@click.option("--as", "caller", default=GATEWAY_CALLER, show_default=True, help="Who signs the request.")
@click.option("--unsigned", is_flag=True, help="Send it without a signature.")
@click.option("--header", "-H", "headers", multiple=True, metavar="NAME:VALUE", help="A request header.")
@click.option("--include", "-i", is_flag=True, help="Print the answer's headers too, to standard error.")
@expected_failures
def query(path: str, caller: str, headers: tuple[str, ...], *, unsigned: bool, include: bool) -> None:
    """GET a PATH of the API, for example /internal/v1/batches/user/teacher-anna?limit=5.

    Prints the status to standard error and the body to standard output; exits with 1 unless the status is below 400.
    """

    from ras import stack_file

    if not path.startswith("/"):
        raise SettingError(f"{path!r} is not a path of the API", "It begins with a slash: /healthz.")
    parsed = dict(_header(text) for text in headers)
    stack = stack_file.load(StackDir.default())
    answer = stack.get(path, caller=None if unsigned else caller, headers=parsed)
    click.echo(f"{answer.status_code} {answer.reason}", err=True)
    if include:
        for name, value in answer.headers.items():
            click.echo(visible(f"{name}: {value}"), err=True)
    try:
        click.echo(json_text(answer.json()))
    except ValueError:
        click.echo(visible(answer.text, keep="\n\t"))
    sys.exit(0 if answer.ok else 1)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise SettingError(f"{text!r} is not a header", "Write it as NAME:VALUE.")
    return name.strip(), value.strip()


@click.command()
@click.option("--keep", is_flag=True, help="Leave the stack running.")
@click.option("--open", "look", is_flag=True, help="End on the dashboard, in the browser, until Ctrl-C.")
@expected_failures
def demo(*, keep: bool, look: bool) -> None:
    """Run everything once: start, publish the sample events, query, be refused, stop.

    Exits with 1 if anything was not as expected.
    """
    from ras_local import demo as demonstration

    sys.exit(0 if demonstration.run(StackDir.default(), console(), keep=keep, look=look) else 1)


def _deploy(state: StateDir, settings: Mapping[str, str]) -> None:
    from ras_local import stack as stacks

    stacks.deploy_again(StackDir(state.root), settings)


PLUGIN = Plugin(
    stage=LOCAL,
    deploy=_deploy,
    commands=(up, down, status, publish, query, demo),
    help="`ras demo` shows all of it; `ras up` leaves it running for you and your programs, which find endpoints and"
    " keys in .local/stack.json.",
    settings=_SETTINGS,
)

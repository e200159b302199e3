"""The `ras` command line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from ras.dashboard import PORT as DASHBOARD_PORT
from ras.dashboard.command import dashboard
from ras.dead_letters.command import dead_letters, described
from ras.errors import StackError
from ras.options import failures
from ras.rebuild.command import rebuild
from ras.replay.command import replay
from ras.state import STAGE, StateDir
from ras.terminal import console, expected_failures, many, plain, table
from ras.unclaimed import command as unclaimed

from ras_local.servers import processes

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


@click.group(
    epilog=_SETTINGS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def main() -> None:
    """The Result Aggregator Service on this machine.

    `ras demo` shows all of it; `ras up` leaves it running for you and your programs, which find endpoints and keys
    in .local/stack.json.
    """
    # A terminated command cleans up as an interrupted one does.
    processes.end_as_interrupted()


main.add_command(dashboard)
main.add_command(dead_letters)
main.add_command(rebuild)
main.add_command(replay)
main.add_command(unclaimed)


@main.command()
@expected_failures
def up() -> None:
    """Start emulator and broker, deploy the stacks, poll the topics, and serve the dashboard.

    Returns once everything answers, and writes .local/stack.json (readable by you alone: it holds keys).
    """
    from ras_local import stack as stacks

    state, out = StateDir.default(), console()
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


@main.command()
@expected_failures
def down() -> None:
    """Stop everything that `ras up` started. Harmless when nothing runs."""
    from ras_local import stack as stacks

    click.echo("stopped" if stacks.down(StateDir.default()) else "nothing was running")


_MAPPING_COLUMNS = ("topic", "function", "state", "lag", "delivered", "given up", "failures", "problem")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@failures
def status(*, as_json: bool) -> None:
    """Show what runs, where, and how far each mapping is.

    Exits with 1 when the stack is not up, or only a part of it is.
    """
    from ras.dead_letters.bucket import DeadLetterBucket

    from ras_local import stack as stacks

    state = StateDir.default()
    running = {name: processes.running(state, name) for name in stacks.expected(state)}
    complete = stacks.is_up(state)
    stack = stacks.load(state) if complete else None
    progress = stacks.progress(stack) if stack else {}
    mappings = stacks.mappings(state)
    kept = DeadLetterBucket(stack.cloud.s3, stack.dead_letter_bucket).counts() if stack else None
    if as_json:
        report = {
            "up": complete,
            "processes": {name: process.pid if process else None for name, process in running.items()},
            "endpoint_url": stack.endpoint_url if stack else None,
            "bootstrap_servers": stack.bootstrap_servers if stack else None,
            "api_url": stack.api_url if stack else None,
            "dashboard_url": stack.dashboard_url if stack else None,
            "mappings": [
                entry | {"lag": progress[entry["topic"]].lag if entry["topic"] in progress else None}
                for entry in mappings
            ],
            "dead_letters": kept,
        }
        click.echo(json.dumps(report, indent=2))
        sys.exit(0 if complete else 1)
    out = console()
    places = (
        {
            "emulator": stack.endpoint_url,
            "broker": stack.bootstrap_servers,
            stacks.DASHBOARD: stack.dashboard_url,
        }
        if stack
        else {}
    )
    for name in places.keys() - running.keys():
        out.print(f"{name:>10}  elsewhere  {places[name]}")
    for name, process in running.items():
        condition = f"[green]runs[/] as process {process.pid}" if process else "[red]does not run[/]"
        out.print(f"{name:>10}  {condition}  {places.get(name, '')}")
    if stack is not None:
        out.print(f"{'API':>10}  {stack.api_url}", soft_wrap=True)
        listing = table(*_MAPPING_COLUMNS, numbers=_MAPPING_COLUMNS[3:7])
        for entry in mappings:
            lag = str(progress[entry["topic"]].lag) if entry["topic"] in progress else "?"
            listing.add_row(
                entry["topic"],
                entry["function"].removeprefix(f"ras-{STAGE}-"),
                entry["state"],
                lag,
                str(entry["delivered"]),
                str(entry["discarded"]),
                str(entry["failures"]),
                plain(entry["problem"]),
            )
        out.print(listing)
    if kept is not None:
        out.print(f"{'letters':>10}  {described(kept)}")
    out.print(f"{'logs':>10}  {state.logs}", soft_wrap=True)
    if not complete:
        out.print("not up" if not any(running.values()) else "only partly up: `make up` starts it anew")
        sys.exit(1)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--bootstrap-servers", help="Another broker than the running stack's.")
@click.option("--wait", is_flag=True, help="Return once the functions have consumed everything.")
@failures
def publish(files: tuple[Path, ...], bootstrap_servers: str | None, *, wait: bool) -> None:
    """Publish events from JSON-lines FILES; - is standard input.

    A line is {"topic": "…", "key": "…", "value": {…}}, with "headers" if you like. A value that is text is published
    as it stands, null as a tombstone.
    """
    from ras.kafka import publish as publishing
    from result_aggregator.topics import TOPICS

    from ras_local import stack as stacks

    # Read in full first: a mistake in the last line is told before anything is published.
    events = [event for file in files for event in publishing.read_events(file)]
    servers = bootstrap_servers or stacks.load(StateDir.default()).bootstrap_servers
    if unread := sorted({event.topic for event in events} - TOPICS.keys()):
        click.echo(f"not read by this service, nothing will come of it: {', '.join(unread)}", err=True)
    with click.progressbar(length=len(events), label="publishing", file=sys.stderr) as bar:
        done = publishing.publish(
            servers,
            events,
            on_delivery=lambda count: bar.update(count - bar.pos) if count % 100 == 0 else None,
        )
        bar.update(done.count - bar.pos)
    click.echo(
        f"{many(done.count, 'record')}, {done.size} bytes of values, confirmed by {servers} in {done.seconds:.2f} s"
    )
    if wait:
        stacks.wait_consumed(stacks.load(StateDir.default()))
        click.echo("consumed")


@main.command()
@click.argument("path")
@click.option(
    "--as", "caller", default="api-gateway-service", show_default=True, help="Who signs the request."
)
@click.option("--unsigned", is_flag=True, help="Send it without a signature.")
@click.option("--header", "-H", "headers", multiple=True, metavar="NAME:VALUE", help="A request header.")
@click.option("--include", "-i", is_flag=True, help="Print the answer's headers too, to standard error.")
@expected_failures
def query(path: str, caller: str, headers: tuple[str, ...], *, unsigned: bool, include: bool) -> None:
    """GET a PATH of the API, for example /internal/v1/batches/user/teacher-anna?limit=5.

    Prints the status to standard error and the body to standard output; exits with 1 unless the status is below 400.
    """
    from ras_local import stack as stacks

    if not path.startswith("/"):
        raise StackError(f"{path!r} is not a path of the API", "It begins with a slash: /healthz.")
    parsed = dict(_header(text) for text in headers)
    stack = stacks.load(StateDir.default())
    answer = stack.get(path, caller=None if unsigned else caller, headers=parsed)
    click.echo(f"{answer.status_code} {answer.reason}", err=True)
    if include:
        for name, value in answer.headers.items():
            click.echo(f"{name}: {value}", err=True)
    try:
        click.echo(json.dumps(answer.json(), indent=2, ensure_ascii=False))
    except ValueError:
        click.echo(answer.text)
    sys.exit(0 if answer.ok else 1)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise StackError(f"{text!r} is not a header", "Write it as NAME:VALUE.")
    return name.strip(), value.strip()


@main.command()
@click.option("--keep", is_flag=True, help="Leave the stack running.")
@click.option("--open", "look", is_flag=True, help="End on the dashboard, in the browser, until Ctrl-C.")
@expected_failures
def demo(*, keep: bool, look: bool) -> None:
    """Run everything once: start, publish the sample events, query, be refused, stop.

    Exits with 1 if anything was not as expected.
    """
    from ras_local import demo as demonstration

    sys.exit(0 if demonstration.run(StateDir.default(), console(), keep=keep, look=look) else 1)

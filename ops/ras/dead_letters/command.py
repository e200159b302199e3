"""`ras dead-letters`: what is asked, and what is shown. What is done stands in `bucket` and `replay`."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from ras import options as shared
from ras.errors import FailedError, NotFoundError, SettingError
from ras.terminal import console, json_line, many, plain, print_json, table
from ras.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ras.dead_letters.bucket import DeadLetterBucket, ListedObject, Malformed, Stored
    from ras.dead_letters.letter import DeadLetter, RecordId
    from ras.dead_letters.replay import Choice, Result

_ROWS = 100
_LEFT_SHOWN = 20
_NONE = "None matches the filters: `ras dead-letters list` without any shows what there is."


@click.group("dead-letters")
def dead_letters() -> None:
    """Records that could not be applied: list, show, replay and purge them.

    Two kinds lie in one bucket: records that a function rejected, each with its reason, and batches that an event
    source mapping gave up on. Both are listed record by record, as topic/partition/offset. Replaying is always safe:
    the view takes every event once, whatever its order.

    Works on the stack on this machine; with --stage, on one in AWS with your own credentials. They need s3:ListBucket,
    s3:GetObject, s3:PutObject and s3:DeleteObject on the dead-letter bucket, cloudformation:DescribeStacks, and for a
    replay lambda:InvokeFunction on the ingest functions.
    """


# --- list and show ---


@dead_letters.command("list")
@shared.of_letters
@click.option(
    "--limit", type=click.IntRange(min=0), help=f"Rows; 0 is all.  [default: {_ROWS}, with --json all]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@shared.of_deployment
@shared.failures
def list_letters(*, limit: int | None, as_json: bool, **options: Any) -> None:
    """List dead letters.

    \b
    Examples:
      ras dead-letters list --since 2h
      ras dead-letters list --reason unknown_status --topic huleedu.essay.spellcheck.completed.v1
      ras dead-letters list --stage prod --kind given-up --json | jq -r .place
    """
    from ras.dead_letters.bucket import Malformed

    bucket = shared.deployment(options).dead_letters
    filters = shared.filters(options)
    most = (None if as_json else _ROWS) if limit is None else limit or None
    for_any_reason = replace(filters, reasons=frozenset())
    others: Counter[str] = Counter()

    def found() -> Iterator[DeadLetter | Malformed]:
        for one in bucket.objects(bucket.entries(filters)):
            if isinstance(one, Malformed):
                yield one
                continue
            for letter in one.letters:
                if filters.admit(letter):
                    yield letter
                elif for_any_reason.admit(letter):
                    others[letter.code] += 1

    if as_json:
        for one in islice(found(), most):
            click.echo(json_line(_summary(one)))
        return
    out = console()
    out.print(described(bucket.counts()))
    listing = table("kept", "kind", "record", "reason", "what", "replays", numbers=("replays",))
    codes: Counter[str] = Counter()
    matching = found()
    rows = list(islice(matching, most))
    records = {one.id for one in rows if not isinstance(one, Malformed)}
    at = Counter(record.place for record in records)
    for one in rows:
        if isinstance(one, Malformed):
            listing.add_row(
                f"{one.entry.modified:%F %T}", "malformed", plain(one.entry.key), "", plain(one.problem), ""
            )
        else:
            codes[one.code] += 1
            what = "; ".join(f"{p.path}: {p.message}".removeprefix(": ") for p in one.problems[:2])
            kept = f"{one.kept_at:%F %T}"
            name = str(one.place) if at[one.place] == 1 else one.id.short
            listing.add_row(kept, one.kind, plain(name), plain(one.code), plain(what), str(one.replays or ""))
    if rows:
        out.print(listing)
        out.print(_by_code(codes))
    elif others:
        out.print(f"None has this reason; others have: {_by_code(others)}")
    elif shared.filters_given(options):
        out.print(_NONE)
    if most is not None and next(matching, None) is not None:
        out.print(f"The first {most} are shown, there are more: --limit 0 shows all.")


def _by_code(codes: Counter[str]) -> str:
    return ", ".join(f"{number} {plain(code)}" for code, number in codes.most_common())


def described(counts: Counter[str]) -> str:
    """What a bucket holds, in words."""
    return (
        f"{many(counts['rejected'], 'record')} rejected, {counts['given-up']} given up,"
        f" {counts['batches']} {'batch' if counts['batches'] == 1 else 'batches'} given up, {counts['replayed']} replayed through Kafka"
    )


def _summary(one: DeadLetter | Malformed) -> dict[str, Any]:
    from ras.dead_letters.bucket import Malformed

    if isinstance(one, Malformed):
        return {"kind": "malformed", "object": one.entry.key, "problem": one.problem}
    return {
        "kind": one.kind,
        "place": str(one.place),
        "digest": one.id.digest,
        "topic": one.place.topic,
        "partition": one.place.partition,
        "offset": one.place.offset,
        "reason": one.code,
        "problems": [{"path": p.path, "message": p.message} for p in one.problems],
        "kept_at": one.kept_at.isoformat(),
        "timestamp": one.timestamp.isoformat() if one.timestamp else None,
        "replays": one.replays,
        "function": one.function,
        "correlation_id": one.correlation_id,
        "object": one.object_key,
    }


@dead_letters.command()
@click.argument("name", metavar="RECORD")
@click.option("--raw", is_flag=True, help="Only the value's bytes (of a malformed object, the object's).")
@shared.of_deployment
@shared.failures
def show(name: str, *, raw: bool, **options: Any) -> None:
    """Show a dead letter in full.

    RECORD is topic/partition/offset as `list` shows it, with -digest where several records have that place, or the key
    of an object in the bucket.

    \b
    Examples:
      ras dead-letters show huleedu.essay.spellcheck.completed.v1/3/17
      ras dead-letters show huleedu.essay.spellcheck.completed.v1/3/17 --raw | xxd | head
    """
    from ras.dead_letters.bucket import Malformed

    bucket = shared.deployment(options).dead_letters
    found, record = _object(bucket, name)
    if isinstance(found, Malformed):
        if raw:
            click.echo(bucket.body(found.entry), nl=False)
            return
        raise FailedError(
            visible(f"{found.entry.key} is malformed: {found.problem}"), "--raw shows it as it is."
        )
    letters = [one for one in found.letters if record in (one.id, None)]
    if len({one.id for one in letters}) > 1:
        raise SettingError(
            f"{visible(found.entry.key)} holds {len(letters)} records", _name_one(one.id for one in letters)
        )
    letter = letters[0]  # a batch may hold the same record twice
    if raw:
        click.echo(_value(letter) or b"", nl=False)
        return
    _show(letter)


def _show(letter: DeadLetter) -> None:
    out = console()
    for name, text in (
        ("record", str(letter.place)),
        ("kind", letter.kind),
        ("reason", letter.code),
        *(("", f"{p.path or '(record)'}: {p.message}") for p in letter.problems),
        ("kept", letter.kept_at.isoformat()),
        ("function", letter.function),
        ("replays", str(letter.replays)),
        ("timestamp", letter.timestamp.isoformat() if letter.timestamp else ""),
        ("correlation", letter.correlation_id or ""),
        ("key", _shown(letter.key)),
        *(("header", text) for text in _headers(letter)),
        ("object", letter.object_key),
    ):
        out.print(f"{name:>11}  {plain(text)}", soft_wrap=True)
    document = letter.document()
    if document is not None:
        print_json(out, document)
    else:
        out.print(plain(_shown(letter.value)), soft_wrap=True)


def _shown(part: Callable[[], bytes | None]) -> str:
    """Bytes for people: text where they are any, else as Python writes them."""
    try:
        content = part()
    except ValueError as error:
        return f"({error})"
    return "(none)" if content is None else _as_text(content)


def _as_text(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return repr(content)
    return visible(text)


def _headers(letter: DeadLetter) -> list[str]:
    try:
        return [
            f"{name}: {'(none)' if content is None else _as_text(content)}"
            for name, content in letter.headers()
        ]
    except ValueError as error:
        return [f"({error})"]


def _value(letter: DeadLetter) -> bytes | None:
    try:
        return letter.value()
    except ValueError:
        return str(letter.received.get("value")).encode()  # as it came, which is why it was rejected


def _object(bucket: DeadLetterBucket, name: str) -> tuple[Stored | Malformed, RecordId | None]:
    """The object that a name means, and the record where the name is a record's and not an object's key."""
    from ras.dead_letters.letter import RecordId

    if at_key := bucket.at(name):
        return at_key, None
    record = RecordId.parse(name)
    found = bucket.of(record) if record else {}
    if len(found) > 1:
        raise SettingError(f"{len(found)} records have the name {visible(name)}", _name_one(found))
    for identity, stored in found.items():
        return stored, identity
    raise NotFoundError(
        f"there is no dead letter {visible(name)} in {bucket.name}",
        "Write topic/partition/offset, or an object's key, as `ras dead-letters list --json` gives them.",
    )


def _name_one(records: Iterable[RecordId]) -> str:
    return "Name one of them:\n" + "\n".join(visible(str(record)) for record in islice(records, _LEFT_SHOWN))


# --- replay and purge ---


@dataclass(frozen=True)
class _Selection:
    """Objects to go through, and the records wanted of those that were named."""

    entries: list[ListedObject]
    named: frozenset[RecordId]


def _select(bucket: DeadLetterBucket, names: Sequence[str], options: dict[str, Any]) -> _Selection:
    from ras.dead_letters.bucket import Malformed

    if not names:
        return _Selection(list(bucket.entries(shared.filters(options))), frozenset())
    if shared.filters_given(options):
        raise click.UsageError("Name records, or give filters, not both.")
    entries: dict[str, ListedObject] = {}
    records: set[RecordId] = set()
    for name in names:
        found, record = _object(bucket, name)
        entries[found.entry.key] = found.entry
        if not isinstance(found, Malformed):
            records |= {record} if record else {letter.id for letter in found.letters}
    return _Selection(list(entries.values()), frozenset(records))


@dead_letters.command()
@click.argument("names", metavar="[RECORD]...", nargs=-1)
@shared.of_letters
@click.option(
    "--via",
    type=click.Choice(["function", "kafka"]),
    default="function",
    show_default=True,
    help="See above.",
)
@click.option(
    "--max-replays",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Leave alone what was replayed so often.",
)
@click.option("--force", is_flag=True, help="However often it was replayed.")
@shared.dry_run
@shared.yes
@shared.of_deployment
@shared.of_brokers
@shared.failures
def replay(
    names: tuple[str, ...],
    *,
    via: str,
    max_replays: int,
    force: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Replay dead letters: all, those that filters admit, or the RECORDs named.

    --via function hands each record to its ingest function as an event, which tells what became of it. A letter is
    removed once its record is applied, or found to be in already; one that is rejected again stays, with the reason of
    now and its count raised. It needs no way to the brokers, and no other consumer sees the record a second time.
    Records rejected as from_the_future are judged by their first timestamp: they are rejected again.

    --via kafka publishes key, value and headers to the record's topic again, for every consumer of it, with headers
    that lead a second rejection back to this letter. Nobody tells what becomes of the record, so its letter is set
    aside: see it with `list --kind replayed`, remove it with `purge --kind replayed`.

    \b
    Rights in AWS:
      both            cloudformation:DescribeStacks;
                      s3:ListBucket, GetObject, PutObject and DeleteObject on the bucket of dead letters
      --via function  lambda:InvokeFunction
      --via kafka     a way to the brokers; lambda:ListEventSourceMappings, kafka:GetBootstrapBrokers;
                      kafka-cluster:Connect and WriteDataIdempotently on the cluster,
                      DescribeTopic and WriteData on the topics

    Stop it at any time, and run it again: what is done has left. Exits with 0 when nothing wanted stayed behind, else
    with 1.

    \b
    Examples:
      ras dead-letters replay --dry-run
      ras dead-letters replay --reason unknown_status --since 1d --yes
      ras dead-letters replay --stage prod huleedu.essay.spellcheck.completed.v1/3/17
    """
    from ras.dead_letters import replay
    from ras.progress import progress

    deployment = shared.deployment(options)
    bucket = deployment.dead_letters
    selection = _select(bucket, names, options)
    choice = replay.Choice(shared.filters(options), selection.named, max_replays, force)
    if dry_run or not yes:
        result = _preview(bucket, selection, choice, show=dry_run)
        number = result.counts[replay.TO_REPLAY]
        if dry_run or not number:
            _report(result)
            if not result.left:
                _tell_if_none(number, options)
            return
        shared.confirm(f"Replay {many(number, 'record')} of stage {deployment.stage} through {via}?")
    try:
        with progress("replaying", len(selection.entries)) as advance:
            if via == "function":
                result = replay.through_functions(
                    bucket.objects(selection.entries), bucket, deployment.invoke, choice, on_progress=advance
                )
            else:
                brokers = deployment.brokers()
                result = replay.through_kafka(
                    bucket.objects(selection.entries),
                    bucket,
                    choice,
                    bootstrap_servers=brokers.bootstrap_servers,
                    settings=brokers.settings,
                    on_progress=advance,
                )
    except KeyboardInterrupt:
        click.echo("interrupted: what is done has left, the same command goes on", err=True)
        raise
    _report(result)
    sys.exit(0 if result.clean else 1)


def _preview(bucket: DeadLetterBucket, selection: _Selection, choice: Choice, *, show: bool) -> Result:
    from ras.dead_letters import replay

    result, letters = replay.preview(bucket.objects(selection.entries), choice)
    if show:
        for letter in letters:
            click.echo(visible(f"would replay {letter.place}  {letter.kind}  {letter.code}"))
    return result


@dead_letters.command()
@click.argument("names", metavar="[RECORD]...", nargs=-1)
@shared.of_letters
@click.option("--all", "everything", is_flag=True, help="Without any filter.")
@click.option("--malformed", is_flag=True, help="Also objects that are no dead letters.")
@shared.dry_run
@shared.yes
@shared.of_deployment
@shared.failures
def purge(
    names: tuple[str, ...], *, everything: bool, malformed: bool, dry_run: bool, yes: bool, **options: Any
) -> None:
    """Remove dead letters without replaying them: those that filters admit, or the RECORDs named.

    The bucket keeps earlier versions of its objects until they expire, so a mistake can be undone there.

    \b
    Examples:
      ras dead-letters purge --kind replayed --until 7d --yes
      ras dead-letters purge --reason not_json --dry-run
    """
    from ras.dead_letters import replay
    from ras.dead_letters.bucket import Malformed
    from ras.progress import progress

    if not names and not everything and not shared.filters_given(options):
        raise click.UsageError("Name records, give a filter, or say --all.")
    deployment = shared.deployment(options)
    bucket = deployment.dead_letters
    filters = shared.filters(options)
    selection = _select(bucket, names, options)

    def admit(letter: DeadLetter) -> bool:
        return letter.id in selection.named if selection.named else not names and filters.admit(letter)

    if dry_run or not yes:
        number = 0
        for one in bucket.objects(selection.entries):
            wanted = [one] if isinstance(one, Malformed) and malformed else []
            for letter in wanted if isinstance(one, Malformed) else filter(admit, one.letters):
                number += 1
                if dry_run:
                    shown = (
                        letter.entry.key
                        if isinstance(letter, Malformed)
                        else f"{letter.place}  {letter.code}"
                    )
                    click.echo(visible(f"would purge {shown}"))
        if dry_run or not number:
            click.echo(f"{number} to purge", err=True)
            _tell_if_none(number, options)
            return
        shared.confirm(f"Purge {many(number, 'dead letter')} of stage {deployment.stage}?")
    with progress("purging", len(selection.entries)) as advance:
        result = replay.purge(
            bucket.objects(selection.entries), bucket, admit, malformed=malformed, on_progress=advance
        )
    _report(replace(result, left=[]))


def _tell_if_none(number: int, options: dict[str, Any]) -> None:
    """A filter that is misspelt must not look like work that is done."""
    if not number and shared.filters_given(options):
        click.echo(_NONE, err=True)


def _report(result: Result) -> None:
    """Numbers by outcome, and the first of what stayed behind."""
    out = console(stderr=True)
    counts = ", ".join(f"{number} {_words(name)}" for name, number in result.counts.items() if number)
    out.print(counts or "nothing to do")
    for what, outcome, reason in result.left[:_LEFT_SHOWN]:
        out.print(plain(f"  {what}  {_words(outcome)}{': ' if reason else ''}{reason}"), soft_wrap=True)
    if len(result.left) > _LEFT_SHOWN:
        out.print(f"  and {len(result.left) - _LEFT_SHOWN} more")
    if result.stopped:
        out.print(plain(f"stopped, because every record was handed back: {result.stopped}"), soft_wrap=True)


def _words(outcome: str) -> str:
    return {"rejected": "rejected again", "handed_back": "handed back"}.get(outcome, outcome)

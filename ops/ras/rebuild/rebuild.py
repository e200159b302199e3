"""Rebuilding the view into a new table, from all that the topics hold, while the old one goes on answering.

    one table ──deploy──▶ two, events into both ──fill, compare──▶ ──deploy──▶ the new one answers, the old is kept in step
                                                                                  │ back: deploy        │ finish: deploy, deploy

Deployments are all that changes what is live, each by settings of the stage (`infra.settings`), so the next
`cdk deploy` finds what it expects. What this adds is the filling, and the knowledge that it is complete: records from
before both tables were written are below the topics' ends as they were afterwards, and are handed over here; later
ones are written to both. That rests on laws 1 and 7 of the service: order and repetition change nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from result_aggregator.names import ENV_TABLE_NAME, REBUILDS_PREFIX
from result_aggregator.topics import TOPICS

from ras.checkpoints import BucketCheckpoints
from ras.errors import ConflictError, NotFoundError
from ras.kafka.topic import TopicLog, each
from ras.replay import redrive

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from ras.checkpoints import Checkpoints
    from ras.deployment import Deployment
    from ras.kafka.msk_iam import Brokers

_FILLED = "filled"


@dataclass(frozen=True)
class Table:
    """One table of the view; `generation` is the setting that names it."""

    generation: int
    name: str


@dataclass(frozen=True)
class Tables:
    """The tables of a deployment: the one that is asked, and one beside it; `in_step` where events go into both."""

    live: Table
    second: Table | None = None
    in_step: bool = False

    @property
    def rebuilt(self) -> Table:
        """The newer of the two tables. Raises OperatorError where there is one table, or the second is not written."""
        return max(self._pair(), key=lambda table: table.generation)

    @property
    def switched(self) -> bool:
        """Whether the newer one of two is asked already."""
        return self.second is not None and self.live.generation > self.second.generation

    def begun(self) -> dict[str, str]:
        """The settings with a second table beside this one."""
        return {
            "table_generation": str(self.live.generation),
            "second_generation": str(self.live.generation + 1),
        }

    def swapped(self) -> dict[str, str]:
        """The settings with the other table asked. Raises OperatorError as `rebuilt`."""
        live, second = self._pair()
        return {"table_generation": str(second.generation), "second_generation": str(live.generation)}

    def left(self) -> dict[str, str]:
        """The settings with the second table kept, but written no more."""
        if self.second is None:
            raise NotFoundError("there is no second table")
        return {
            "table_generation": str(self.live.generation),
            "second_generation": str(self.second.generation),
            "write_second": "false",
        }

    def alone(self) -> dict[str, str]:
        """The settings with the asked table only."""
        return {"table_generation": str(self.live.generation)}

    def _pair(self) -> tuple[Table, Table]:
        if self.second is None:
            raise NotFoundError("there is no second table")
        if not self.in_step:
            raise ConflictError(
                f"events do not go into {self.second.name} any more",
                "It cannot be asked again. End this rebuild with --finish, and begin another.",
            )
        return self.live, self.second


def read_tables(deployment: Deployment) -> Tables:
    """The tables as they are deployed. Raises OperatorError where stacks and functions disagree: a deployment is not through."""
    told = deployment.outputs()
    if "TableGeneration" not in told:
        raise ConflictError(
            f"stage {deployment.stage} was deployed by a version that knows no generations",
            "Deploy it first.",
        )
    live = Table(int(told["TableGeneration"]), told["TableName"])
    second = (
        Table(int(told["SecondTableGeneration"]), told["SecondTableName"])
        if told.get("SecondTableName")
        else None
    )
    reads = deployment.environment("query").get(ENV_TABLE_NAME, "")
    writes = {
        tuple(deployment.environment(folder).get(ENV_TABLE_NAME, "").split(","))
        for folder in sorted({topic.function for topic in TOPICS.values()})
    }
    both = tuple(
        table.name
        for table in sorted(
            [live, *([second] if second else [])], key=lambda table: table.generation, reverse=True
        )
    )
    if reads != live.name or writes not in ({(live.name,)}, {both}):
        raise ConflictError(
            f"the functions of stage {deployment.stage} use other tables than its stacks say",
            "Finish its deployment (all of its stacks), then run the same command again.",
        )
    return Tables(live, second, in_step=second is not None and writes == {both})


def other_settings(deployment: Deployment) -> dict[str, str] | None:
    """What the stage is deployed with beside its tables, as `cdk -c` takes it (`infra.context.as_context`).

    None where its stack does not tell: it was deployed by an earlier version.
    """
    told = deployment.outputs().get("Settings")
    found: dict[str, str] | None = json.loads(told) if told else None
    return found


def deploy_command(stage: str, settings: dict[str, str], profile: str | None = None) -> str:
    """What deploys a stage with settings: a line for a shell, whatever characters are in their values."""
    given = " ".join(f"-c {name}={_quoted(value)}" for name, value in settings.items())
    # The user's shell reads it first, then make, to which a dollar is the beginning of a name, then make's shell.
    command = f"make deploy STAGE={shlex.quote(stage)} ARGS={shlex.quote(given.replace('$', '$$'))}"
    return f"AWS_PROFILE={shlex.quote(profile)} {command}" if profile else command


def _quoted(value: str) -> str:
    """A value for make's shell; in double quotes, so that it stays readable in the single quotes around all of them."""
    if shlex.quote(value) == value:
        return value
    escaped = re.sub(r'([\\"$`])', r"\\\1", value)
    return f'"{escaped}"'


def gone(brokers: Brokers, topics: Sequence[str] = tuple(TOPICS)) -> dict[str, int]:
    """The topics whose beginning Kafka no longer keeps, with the number of offsets that are gone."""
    starts = each(lambda topic: sum(held.low for held in TopicLog(brokers, topic).bounds().values()), topics)
    return {topic: number for topic, number in zip(topics, starts, strict=True) if number}


@dataclass
class _Note:
    """How far a fill is, topic by topic."""

    readers: dict[str, list[str]]
    """What filled the table: by function, the hash of its code and its layers."""
    filled: list[str] = field(default_factory=list)
    """Topics that are through."""
    failed: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Topics that were handed over, but for records (place, reason) on which the function broke."""


@dataclass(frozen=True)
class Fill:
    """Handing all that the topics hold to their functions, which write it to both tables; goes on where it was stopped.

    `readers` is what the functions are now. What others have filled does not count: of the same event the table would
    keep what those read.
    """

    deployment: Deployment
    brokers: Brokers
    table: Table
    notes: Checkpoints
    readers: dict[str, list[str]]

    @classmethod
    def of(cls, deployment: Deployment, table: Table) -> Fill:
        """The fill of a table, as far as it is. It must be written by the functions already (`Tables.in_step`)."""
        told = deployment.cloud.dynamodb.describe_table(TableName=table.name)["Table"]
        # A table that is made again can have its predecessor's name, and is empty.
        # Beside the dead letters: who runs a rebuild has rights there already (`ras dead-letters`), and need not be who
        # began it.
        prefix = f"{REBUILDS_PREFIX}{table.name}-{told['CreationDateTime'].timestamp():.0f}/"
        notes = BucketCheckpoints(deployment.cloud.s3, deployment.bucket_name, prefix)
        return cls(deployment, deployment.brokers(), table, notes, _readers(deployment))

    def runs(self) -> list[redrive.Run]:
        """What is still to hand over, to the ends that the topics have now, or had when a stopped run began.

        Of a topic on whose records the function broke, only the stretch that they are in. Raises OperatorError where
        other functions than today's began to fill the table.
        """
        note = self._note()
        self._check(note.readers)

        def left(topic: str) -> redrive.Run:
            if topic in note.failed:
                return redrive.again(topic, note.failed[topic], self.notes)
            return redrive.prepare(self.brokers, topic, from_ms=0, to_ms=None, notes=self.notes)

        return each(left, [topic for topic in TOPICS if topic not in note.filled])

    def hand_over(self, run: redrive.Run, on_progress: Callable[[int], None]) -> Counter[str]:
        """One topic; numbers of records by outcome. It counts as filled if the function broke on none of them.

        Raises OperatorError as `redrive.redrive`, and where the functions were deployed anew meanwhile.
        """
        note = self._note()
        self._save(note)
        counts = redrive.redrive(run, self.brokers, self.deployment.invoke, on_progress=on_progress)
        self._check(_readers(self.deployment))
        if run.failed:
            note.failed[run.topic] = run.failed
        else:
            note.failed.pop(run.topic, None)
            note.filled.append(run.topic)
        self._save(note)
        return counts

    def failed(self) -> dict[str, list[tuple[str, str]]]:
        """By topic the records (place, reason) that the table lacks because the function broke on them."""
        return self._note().failed

    def forget(self) -> None:
        """Begin anew the next time."""
        self.notes.clear()

    def _check(self, readers: dict[str, list[str]]) -> None:
        if readers != self.readers:
            raise ConflictError(
                f"{self.table.name} was filled, in whole or in part, by functions that were deployed anew since",
                "Of the same event it keeps what those read. If events are read otherwise now, give the table up with"
                " --finish and begin another; if they are not, --restart hands everything over again.",
            )

    def _note(self) -> _Note:
        saved = self.notes.read(_FILLED)
        if saved is None:
            return _Note(self.readers)
        try:
            failed = {
                topic: [(place, why) for place, why in found] for topic, found in saved["failed"].items()
            }
            return _Note(saved["readers"], saved["filled"], failed)
        except (ValueError, KeyError, TypeError, AttributeError):
            return _Note({})  # an earlier version's: nobody knows what filled the table

    def _save(self, note: _Note) -> None:
        self.notes.write(_FILLED, asdict(note))


def _readers(deployment: Deployment) -> dict[str, list[str]]:
    """What each ingest function runs."""
    return {
        folder: deployment.code(folder) for folder in sorted({topic.function for topic in TOPICS.values()})
    }

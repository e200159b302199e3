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
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras_local.errors import StackError
from ras_local.paths import write_private
from result_aggregator.topics import TOPICS

from ras_ops import redriving
from ras_ops.topic_log import TopicLog

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ras_ops.deployment import Brokers, Deployment


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
        """The newer of the two tables. Raises StackError where there is one table, or the second is not written."""
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
        """The settings with the other table asked. Raises StackError as `rebuilt`."""
        live, second = self._pair()
        return {"table_generation": str(second.generation), "second_generation": str(live.generation)}

    def left(self) -> dict[str, str]:
        """The settings with the second table kept, but written no more."""
        if self.second is None:
            raise StackError("there is no second table")
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
            raise StackError("there is no second table")
        if not self.in_step:
            raise StackError(
                f"events do not go into {self.second.name} any more",
                "It cannot be asked again. End this rebuild with --finish, and begin another.",
            )
        return self.live, self.second


def read_tables(deployment: Deployment) -> Tables:
    """The tables as they are deployed. Raises StackError where stacks and functions disagree: a deployment is not through."""
    told = deployment.outputs()
    if "TableGeneration" not in told:
        raise StackError(
            f"stage {deployment.stage} was deployed by a version that knows no generations",
            "Deploy it first.",
        )
    live = Table(int(told["TableGeneration"]), told["TableName"])
    second = (
        Table(int(told["SecondTableGeneration"]), told["SecondTableName"])
        if told.get("SecondTableName")
        else None
    )
    reads = deployment.environment("query").get("TABLE_NAME", "")
    writes = {
        tuple(deployment.environment(folder).get("TABLE_NAME", "").split(","))
        for folder in sorted({topic.function for topic in TOPICS.values()})
    }
    both = tuple(
        table.name
        for table in sorted(
            [live, *([second] if second else [])], key=lambda table: table.generation, reverse=True
        )
    )
    if reads != live.name or writes not in ({(live.name,)}, {both}):
        raise StackError(
            f"the functions of stage {deployment.stage} use other tables than its stacks say",
            "Finish its deployment (all of its stacks), then run the same command again.",
        )
    return Tables(live, second, in_step=second is not None and writes == {both})


def deploy_command(stage: str, settings: dict[str, str]) -> str:
    """What deploys a stage with settings."""
    given = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return f"make deploy STAGE={stage} ARGS='{given}'"


def gone(brokers: Brokers, topics: Sequence[str] = tuple(TOPICS)) -> dict[str, int]:
    """The topics whose beginning Kafka no longer keeps, with the number of offsets that are gone."""
    lost = {topic: sum(held.low for held in TopicLog(brokers, topic).bounds().values()) for topic in topics}
    return {topic: number for topic, number in lost.items() if number}


@dataclass(frozen=True)
class Fill:
    """Handing all that the topics hold to their functions, which write it to both tables; goes on where it was stopped."""

    deployment: Deployment
    brokers: Brokers
    folder: Path

    @classmethod
    def of(cls, deployment: Deployment, table: Table) -> Fill:
        """The fill of a table, as far as it is. It must be written by the functions already (`Tables.in_step`)."""
        told = deployment.cloud.dynamodb.describe_table(TableName=table.name)["Table"]
        # A table that is made again can have its predecessor's name, and is empty.
        name = f"{table.name}-{told['CreationDateTime'].timestamp():.0f}"
        return cls(deployment, deployment.brokers(), deployment.state.root / "rebuilds" / name)

    def runs(self) -> list[redriving.Run]:
        """What is still to hand over, to the ends that the topics have now, or had when a stopped run began."""
        filled = self._filled()
        return [
            redriving.prepare(self.brokers, topic, from_ms=0, to_ms=None, folder=self.folder)
            for topic in TOPICS
            if topic not in filled
        ]

    def hand_over(self, run: redriving.Run, on_progress: Callable[[int], None]) -> Counter[str]:
        """One topic; numbers of records by outcome. Raises StackError as `redriving.redrive`."""
        counts = redriving.redrive(run, self.brokers, self.deployment.invoke, on_progress=on_progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(self._note, json.dumps([*self._filled(), run.topic]))
        return counts

    def forget(self) -> None:
        """Begin anew the next time."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _note(self) -> Path:
        return self.folder / "filled.json"

    def _filled(self) -> list[str]:
        try:
            found: list[str] = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return found

"""The mappings that a replay has disabled, noted in the stage's bucket before it does so.

A replay that is killed leaves its mapping disabled. The note is where every operator of the stage finds it: any later
`ras replay`, `ras status` and the dashboard report the mapping, and `ras replay --enable` enables it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from result_aggregator.names import PAUSED_MAPPINGS_PREFIX

from ras.checkpoints import BucketCheckpoints

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

    from ras.deployed_mappings import DeployedMapping

DISABLED = ("Disabled", "Disabling")
"""States of a mapping that does not read."""


@dataclass(frozen=True)
class PausedMapping:
    """One note. `since` is the ISO time at which the replay disabled the mapping; `by` names its machine and process."""

    uuid: str
    topic: str
    group: str
    since: str
    by: str

    def __str__(self) -> str:
        return (
            f"{self.topic}: its mapping is disabled by an interrupted replay since {self.since} ({self.by})"
        )

    def document(self) -> dict[str, str]:
        """For programs."""
        return dict(vars(self))


class PausedMappings:
    """The notes of one stage. Methods raise botocore's errors when S3 or Lambda refuse or do not answer."""

    def __init__(self, s3: S3Client, bucket: str, functions: LambdaClient) -> None:
        self._notes = BucketCheckpoints(s3, bucket, PAUSED_MAPPINGS_PREFIX)
        self._functions = functions

    def note(self, mapping: DeployedMapping) -> None:
        """Note that this process is about to disable a mapping."""
        content = {
            "topic": mapping.topic,
            "group": mapping.consumer_group_id,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": f"process {os.getpid()} on {socket.gethostname()}",
        }
        self._notes.write(mapping.uuid, content)

    def remove(self, uuid: str) -> None:
        """Remove a mapping's note, if there is one."""
        self._notes.remove(uuid)

    def interrupted(self) -> list[PausedMapping]:
        """The mappings that are noted and disabled now. A replay that runs on another machine is among them.

        A note on a mapping that is enabled is of a replay that was killed before or after, and says nothing.
        """
        noted = [_read(uuid, self._notes.read(uuid)) for uuid in self._notes.names()]
        return [one for one in noted if self._state(one.uuid) in DISABLED]

    def _state(self, uuid: str) -> str:
        try:
            return self._functions.get_event_source_mapping(UUID=uuid).get("State", "")
        except self._functions.exceptions.ResourceNotFoundException:
            return ""


def _read(uuid: str, content: Any) -> PausedMapping:
    known = content if isinstance(content, dict) else {}
    topic, group, since, by = (str(known.get(name, "?")) for name in ("topic", "group", "since", "by"))
    return PausedMapping(uuid, topic, group, since, by)

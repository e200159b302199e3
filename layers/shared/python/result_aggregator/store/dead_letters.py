"""The dead-letter store in S3: records that can never be applied, kept with their reason and their bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from result_aggregator.dead_letter_key import object_key, record_digest
from result_aggregator.names import REJECTED_PREFIX
from result_aggregator.replay_headers import first_received
from result_aggregator.store import aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

    from result_aggregator.contracts.rejection import RejectedError
    from result_aggregator.msk_event import Record


@cache
def _client() -> S3Client:
    return aws.session().client("s3", config=aws.config())


_making_the_client = Lock()


def _now() -> datetime:
    return datetime.now(UTC)


class DeadLetterStore:
    """The bucket of dead letters. Methods raise UnavailableError or UnacceptableError (`domain.store_interface`)."""

    def __init__(
        self,
        bucket: str,
        s3: S3Client | None = None,
        *,
        function: str = "",
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """`function` is the name of the function that rejects; `clock` says when, for people to read only."""
        self._bucket = bucket
        self._s3 = s3
        self._function = function
        self._clock = clock

    def keep(self, record: Record, rejection: RejectedError) -> None:
        """Keep a record as it came (key, value and headers as in the event, base64) with why it was rejected.

        The same record rejected again replaces its own dead letter, and no other's. One that was replayed is kept as
        it first came, in the place of its first dead letter.
        """
        received, replays = first_received(record.received)
        letter = {
            "reason": {
                "code": rejection.code,
                "problems": [{"path": p.path, "message": p.message} for p in rejection.problems],
            },
            "kept": {
                "at": self._clock().isoformat(),
                "function": self._function,
                "eventSourceArn": record.event_source_arn,
                "replays": replays,
            },
            **received,
        }
        try:
            self._client().put_object(
                Bucket=self._bucket,
                Key=object_key(
                    REJECTED_PREFIX,
                    record.topic,
                    received["partition"],
                    received["offset"],
                    record_digest(received),
                ),
                Body=json.dumps(letter).encode(),
                ContentType="application/json",
            )
        except aws.sdk_errors() as error:
            raise aws.translated(error) from error

    def _client(self) -> S3Client:
        # Made for the first letter: a function without poison never loads the SDK. Many threads may come with one at once.
        with _making_the_client:
            return self._s3 or _client()

"""Which records a function returns for retry."""

from __future__ import annotations

import pytest
from ras_local.mapping.errors import MalformedResponseError
from ras_local.mapping.responses import failed_items

from tests.local.mapping.made import TOPIC, handed_back, records


class TestPartialBatchResponse:
    """AWS Lambda developer guide, Kafka retry configurations: ReportBatchItemFailures."""

    @pytest.mark.parametrize(
        "payload", [b"", b"null", b"{}", b'{"batchItemFailures":null}', b'{"batchItemFailures":[]}']
    )
    def test_an_empty_answer_is_a_success(self, payload: bytes) -> None:
        """Kafka retry configurations: empty JSON, null, and a null or empty list mean success."""
        assert failed_items(payload, records(1)) == set()

    @pytest.mark.parametrize(
        "payload",
        [
            b"nonsense",
            b'"text"',
            b"[]",
            b'{"batchItemFailures":{}}',
            b'{"batchItemFailures":[{}]}',
            b'{"batchItemFailures":[{"itemIdentifier":null}]}',
            b'{"batchItemFailures":[{"itemIdentifier":""}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":0,"offset":1}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0","offset":"1"}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0"}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0","offset":true}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-1","offset":1}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0","offset":2}}]}',
        ],
    )
    def test_any_other_answer_is_a_failure_of_the_whole_batch(self, payload: bytes) -> None:
        """Kafka retry configurations: a bad identifier fails all; chosen for what is no JSON object."""
        with pytest.raises(MalformedResponseError):
            failed_items(payload, records(1))

    def test_the_same_record_named_twice_is_one_failure(self) -> None:
        """Kafka retry configurations: the list names records, so twice is once."""
        answer = handed_back((f"{TOPIC}-0", 1), (f"{TOPIC}-0", 1))

        assert failed_items(answer.payload, records(1)) == {(f"{TOPIC}-0", 1)}

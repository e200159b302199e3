"""Listing: calls, read units and handler CPU for users with few and with very many batches, first page and deep page."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ras.terminal import expected_failures
from result_aggregator.domain.statuses import COMPLETED, REGISTERED

from benchmarks import servers, service, workload
from benchmarks.measured_process import Worker
from benchmarks.report import Cell, Report, Table
from benchmarks.unit_meter import Meter
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZES = (10, 1000, 20_000)
LIMIT = 20
RUNNING = 50
"""A user's batches that have not ended, if there are so many."""
_ASKED = 5


def register(ingest: Worker, user_id: str, batches: int) -> None:
    """Give a user so many batches, each a second after the one before; all but the last RUNNING have ended."""
    registered, ended = [], []
    for number in range(batches):
        batch_id = f"{user_id}-{number}"
        at = f"2026-03-{1 + number // 86_400:02d}T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
        data: dict[str, Any] = {"batch_id": batch_id, "user_id": user_id, "expected_essay_count": 30}
        registered.append(samples.record(workload.REGISTERED, samples.envelope(data, at=at), number))
        if number < batches - RUNNING:
            metadata = {"requested_pipeline": "spellcheck", "completed_essay_count": 30}
            data = {"batch_id": batch_id, "phase": "SPELLCHECK", "outcome": "COMPLETED", "metadata": metadata}
            ended.append(samples.record(workload.OUTCOME, samples.envelope(data, at=at), number))
    for some in (*workload.chunks(registered, 1000), *workload.chunks(ended, 1000)):
        ingest.run(samples.msk_event(list(some)))
        print(".", end="", file=sys.stderr, flush=True)


class Listing:
    """A user's listing, asked through the meter."""

    def __init__(self, query: Worker, meter: Meter, user_id: str) -> None:
        self._query, self._meter, self._user_id = query, meter, user_id

    def row(self, what: str, parameters: Mapping[str, str]) -> list[Cell]:
        """Calls, read units and CPU milliseconds of one page."""
        request = self._request(parameters)
        self._query.run(request)
        self._meter.take()
        took = self._query.run(*[request] * _ASKED)
        taken = self._meter.take()
        return [what, taken.count / _ASKED, taken.read_units / _ASKED, 1000 * took.cpu_seconds / _ASKED]

    def cursor_to_the_last_page(self) -> str | None:
        """The cursor behind which the last page lies; None where the first one is all."""
        cursor, parameters = None, {"limit": "100"}
        while True:
            page: dict[str, Any] = json.loads(self._query.answer(self._request(parameters))["body"])
            following = page["pagination"]["next_cursor"]
            if following is None:
                return cursor
            cursor, parameters = following, {"limit": "100", "cursor": following}

    def _request(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        return service.request(service.LISTING, parameters, user_id=self._user_id)


@expected_failures
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", default=",".join(map(str, SIZES)), help="batches a user (default: %(default)s)"
    )
    options = parser.parse_args()
    report = Report("listing", "make bench-listing")
    pages = Table(
        "pages",
        f"A page of {LIMIT} batches",
        ["page", "calls", "read units", "handler CPU, ms"],
        note="The first page counts all of the user's batches, for its `total`; behind a cursor nothing is counted again."
        f" {RUNNING} of a user's batches run, the others have ended."
        " dynoxide ends a Query of the index by the size of its entries, as AWS documents: a megabyte holds 5,000 to 7,000"
        " with ids of 36 characters.",
    )
    with ExitStack() as running:
        url = running.enter_context(servers.dynamodb())
        meter = running.enter_context(Meter(url))
        ingest = running.enter_context(Worker(service.make_ingest, servers.functions_settings(url)))
        query = running.enter_context(Worker(service.make_query, servers.functions_settings(meter.url)))
        for batches in (int(size) for size in options.sizes.split(",")):
            user_id = f"teacher-of-{batches}"
            register(ingest, user_id, batches)
            listing = Listing(query, meter, user_id)
            pages.rows.append(listing.row(f"first of {batches:,}", {"limit": str(LIMIT)}))
            if batches > LIMIT:
                offset = min(batches - LIMIT, 10_000)
                parameters = {"limit": str(LIMIT), "offset": str(offset)}
                pages.rows.append(listing.row(f"from {offset:,} of {batches:,} by offset", parameters))
            for status in (COMPLETED, REGISTERED):
                if batches > RUNNING:
                    parameters = {"limit": str(LIMIT), "status": status}
                    pages.rows.append(listing.row(f"first of {batches:,}, {status} alone", parameters))
            if cursor := listing.cursor_to_the_last_page():
                parameters = {"limit": str(LIMIT), "cursor": cursor}
                pages.rows.append(listing.row(f"last of {batches:,} by cursor", parameters))
    print(file=sys.stderr)
    report.tables = [pages]
    report.plot(
        "A page of a user's batches",
        "calls, read units, milliseconds",
        {
            str(what): dict(zip(pages.columns[1:], numbers, strict=True))  # type: ignore[arg-type] # columns of numbers
            for what, *numbers in pages.rows
        },
    )
    report.write()


if __name__ == "__main__":
    main()

"""Answers of the service, as small as they may be."""

from __future__ import annotations

from typing import Any

from tests.client.server import CannedResponse

TIME = "2026-03-02T08:00:01.276000Z"


def summary(batch_id: str = "b", **fields: Any) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "user_id": "u",
        "overall_status": "PROCESSING",
        "essay_count": 3,
        "completed_essay_count": 0,
        "failed_essay_count": 0,
        "created_at": TIME,
        "last_updated": TIME,
        **fields,
    }


def status(
    *essays: str, cursor: str | None = None, headers: dict[str, str] | None = None, **fields: Any
) -> CannedResponse:
    """A batch with these essays."""
    body = {
        **summary(**fields),
        "essays": [{"essay_id": name} for name in essays],
        "pagination": {"limit": None, "next_cursor": cursor},
    }
    return CannedResponse(200, body, headers or {})


def listing(*batch_ids: str, total: int, cursor: str | None = None) -> CannedResponse:
    pagination = {"limit": 100, "offset": 0, "total": total, "next_cursor": cursor}
    return CannedResponse(200, {"batches": [summary(one) for one in batch_ids], "pagination": pagination})


def error(status: int, code: str, headers: dict[str, str] | None = None, **details: Any) -> CannedResponse:
    body = {"error": f"a sentence about {code}", "code": code, "details": details, "correlation_id": "theirs"}
    return CannedResponse(status, body, headers or {})


NOT_FOUND = error(404, "batch_not_found")
OUTDATED = error(400, "cursor_outdated", parameter="cursor")

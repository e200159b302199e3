"""Baseline (b): one consumer that commits after every record, PostgreSQL behind it and Redis beside it.

As the guide's architecture has it: an idempotency key in Redis around each event, the batch's row and the essay's in a
transaction, then the cached answers of the batch and of its user's listings are dropped. A result takes 5 SQL
statements, `BEGIN` and `COMMIT` among them, and 5 Redis commands in 3 round trips; the live service that this stands
for takes 4.7 and 5.5 an event. What is bought for less is bought: statements are prepared, a ranking is one statement, and
neither an ORM nor an HTTP framework is in the way.
"""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

import psycopg
import redis
from confluent_kafka import Consumer, TopicPartition

from benchmarks.baselines import models
from benchmarks.baselines.idempotency import MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measured_process import Doer

KEEP_S = 24 * 3600
CACHE_S = 300

SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    batch_id text PRIMARY KEY, user_id text, essay_count int, requested_pipeline text,
    overall_status text NOT NULL DEFAULT 'PROCESSING',
    completed_essay_count int NOT NULL DEFAULT 0, failed_essay_count int NOT NULL DEFAULT 0, current_phase text,
    created_at timestamptz NOT NULL DEFAULT now(), last_updated timestamptz NOT NULL DEFAULT now(),
    processing_started_at timestamptz, processing_completed_at timestamptz
);
CREATE INDEX IF NOT EXISTS batches_of_user ON batches (user_id, created_at DESC);
CREATE TABLE IF NOT EXISTS essays (
    batch_id text NOT NULL REFERENCES batches, essay_id text NOT NULL, filename text,
    spellcheck_status text, spellcheck_correction_count int, spellcheck_corrected_text_storage_id text,
    spellcheck_error text, cj_assessment_status text, cj_rank int, cj_score double precision,
    cj_assessment_error text, last_updated timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, essay_id)
);
"""

_BATCH = "INSERT INTO batches (batch_id) VALUES (%s) ON CONFLICT (batch_id) DO UPDATE SET last_updated = now() RETURNING user_id"
_SPELLCHECK = """
INSERT INTO essays (batch_id, essay_id, spellcheck_status, spellcheck_correction_count,
                    spellcheck_corrected_text_storage_id, spellcheck_error)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (batch_id, essay_id) DO UPDATE SET
    spellcheck_status = excluded.spellcheck_status,
    spellcheck_correction_count = excluded.spellcheck_correction_count,
    spellcheck_corrected_text_storage_id = excluded.spellcheck_corrected_text_storage_id,
    spellcheck_error = excluded.spellcheck_error, last_updated = now()
"""
_RANKING = """
INSERT INTO essays (batch_id, essay_id, cj_assessment_status, cj_rank, cj_score)
SELECT %s, ranked.essay_id, %s, ranked.rank, ranked.score
FROM unnest(%s::text[], %s::int[], %s::float8[]) AS ranked (essay_id, rank, score)
ON CONFLICT (batch_id, essay_id) DO UPDATE SET
    cj_assessment_status = excluded.cj_assessment_status, cj_rank = excluded.cj_rank,
    cj_score = excluded.cj_score, last_updated = now()
"""
_REGISTRATION = "UPDATE batches SET user_id = %s, essay_count = %s WHERE batch_id = %s"
_OUTCOME = """
UPDATE batches SET user_id = coalesce(%s, user_id), essay_count = coalesce(%s, essay_count),
    requested_pipeline = coalesce(%s, requested_pipeline), current_phase = %s,
    completed_essay_count = %s, failed_essay_count = %s WHERE batch_id = %s
"""
_PROGRESS = (
    "UPDATE batches SET processing_started_at = coalesce(processing_started_at, %s) WHERE batch_id = %s"
)

OF_BATCH = """
SELECT batch_id, user_id, overall_status, essay_count, completed_essay_count, failed_essay_count, requested_pipeline,
       current_phase, created_at, last_updated, processing_started_at, processing_completed_at
FROM batches WHERE batch_id = %s
"""
ESSAYS = """
SELECT essay_id, filename, spellcheck_status, spellcheck_correction_count, spellcheck_corrected_text_storage_id,
       spellcheck_error, cj_assessment_status, cj_rank, cj_score, cj_assessment_error, last_updated
FROM essays WHERE batch_id = %s ORDER BY essay_id
"""


def status_key(batch_id: str) -> str:
    """Where Redis keeps a batch's answer."""
    return f"ras:batch:{batch_id}:status"


def make_consumer(postgres: str, redis_port: int, bootstrap_servers: str) -> Doer:
    """A function that consumes the records of an invocation, one after the other."""
    database = psycopg.connect(postgres)
    cache = redis.Redis(port=redis_port)
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "baseline", "log_level": 3})

    def consume(record: dict[str, Any]) -> None:
        event = MODELS[record["topic"]].model_validate_json(b64decode(record["value"]))
        key = f"ras:event:{event.event_id}"
        if cache.set(key, "processing", nx=True, ex=KEEP_S):
            user_id = _apply(database, event)
            _invalidate(cache, event.data.batch_id, user_id, key)
        place = TopicPartition(record["topic"], record["partition"], record["offset"] + 1)
        consumer.commit(offsets=[place], asynchronous=False)

    def do(invocation: dict[str, Any]) -> None:
        for records in invocation["records"].values():
            for record in records:
                consume(record)

    return do


def _apply(database: psycopg.Connection[Any], event: models.AnyEvent) -> str | None:
    """Bring an event into the tables, in a transaction; the batch's owner, if known."""
    batch_id = event.data.batch_id
    with database.transaction():
        row: Sequence[Any] = database.execute(_BATCH, [batch_id]).fetchone() or [None]
        match event:
            case models.SpellcheckCompleted(data=data):
                result = [data.status, data.correction_count, data.corrected_text_storage_id, data.error]
                database.execute(_SPELLCHECK, [batch_id, data.essay_id, *result])
                database.execute(_PROGRESS, [event.event_timestamp, batch_id])
            case models.CJAssessmentCompleted(data=data):
                ids = [ranked.essay_id for ranked in data.rankings]
                ranks = [ranked.rank for ranked in data.rankings]
                scores = [float(ranked.score) for ranked in data.rankings]
                database.execute(_RANKING, [batch_id, data.status, ids, ranks, scores])
                database.execute(_PROGRESS, [event.event_timestamp, batch_id])
            case models.BatchRegistered(data=data):
                database.execute(_REGISTRATION, [data.user_id, data.expected_essay_count, batch_id])
            case models.PhaseOutcome(data=data):
                told = data.metadata
                described = [told.user_id, told.total_essay_count, told.requested_pipeline, data.phase]
                counts = [told.completed_essay_count, told.failed_essay_count]
                database.execute(_OUTCOME, [*described, *counts, batch_id])
    owner: str | None = row[0]
    return owner


def _invalidate(cache: redis.Redis, batch_id: str, user_id: str | None, event_key: str) -> None:
    listings = f"ras:user:{user_id}:listings"
    stale: Any = cache.smembers(listings) if user_id else ()
    with cache.pipeline(transaction=False) as commands:
        commands.delete(status_key(batch_id), *stale)
        if user_id:
            commands.delete(listings)
        commands.set(event_key, "completed", ex=KEEP_S)
        commands.execute()


def make_query(postgres: str, redis_port: int, cached: str = "cached") -> Doer:
    """A function that answers a batch's status: from the cache, or, not `cached`, always from the database."""
    database = psycopg.connect(postgres, autocommit=True)
    cache = redis.Redis(port=redis_port)

    def answer(batch_id: str) -> dict[str, Any]:
        key = status_key(batch_id)
        body: Any = cache.get(key)
        if body is None or cached != "cached":
            body = status(database, batch_id)
            cache.set(key, body, ex=CACHE_S)
        text = body.decode() if isinstance(body, bytes) else body
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": text}

    return answer


def status(database: psycopg.Connection[Any], batch_id: str) -> str:
    """A batch's answer from the database, as JSON."""
    with database.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        batch = cursor.execute(OF_BATCH, [batch_id]).fetchone()
        essays = cursor.execute(ESSAYS, [batch_id]).fetchall()
    found = models.BatchStatus(**batch or {}, essays=[models.EssayStatus(**essay) for essay in essays])
    return found.model_dump_json()


def prepare(postgres: str) -> None:
    """Make the tables."""
    with psycopg.connect(postgres, autocommit=True) as database:
        database.execute(SCHEMA)

"""Baseline (b)'s queries as the service that the guide has: Quart over PostgreSQL and Redis, served by Hypercorn.

`python -m benchmarks.baselines.web POSTGRES REDIS_PORT` listens on 127.0.0.1, on a free port, and prints its address.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import psycopg
import redis.asyncio
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response

from benchmarks.baselines import models, relational


def make(postgres: str, redis_port: int) -> Quart:
    """The application."""
    app = Quart("baseline")
    cache = redis.asyncio.Redis(port=redis_port)
    database: psycopg.AsyncConnection[Any]

    @app.before_serving
    async def connect() -> None:
        nonlocal database
        database = await psycopg.AsyncConnection.connect(postgres, autocommit=True)

    @app.get("/internal/v1/batches/<batch_id>/status")
    async def batch_status(batch_id: str) -> Response:
        key = relational.status_key(batch_id)
        body: Any = await cache.get(key)
        if body is None:
            async with database.cursor(row_factory=psycopg.rows.dict_row) as cursor:
                batch = await (await cursor.execute(relational.OF_BATCH, [batch_id])).fetchone()
                essays = await (await cursor.execute(relational.ESSAYS, [batch_id])).fetchall()
            found = models.BatchStatus(
                **batch or {}, essays=[models.EssayStatus(**essay) for essay in essays]
            )
            body = found.model_dump_json()
            await cache.set(key, body, ex=relational.CACHE_S)
        return Response(body, mimetype="application/json")

    return app


async def main(postgres: str, redis_port: int) -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]  # it is Hypercorn's from here on
    config.loglevel = "ERROR"
    await serve(make(postgres, redis_port), config)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

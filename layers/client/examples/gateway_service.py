"""A service in front of the Result Aggregator that teachers' browsers may ask: what an API Gateway service does.

    RESULT_AGGREGATOR_URL=https://…/prod uvicorn gateway_service:app

It signs with the credentials of its own role. Who the teacher is, is its own business: here a bearer token is the
teacher's id, and a real service verifies one. Needs `fastapi` and `result-aggregator-client`.
"""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from result_aggregator_client import (
    AsyncResultAggregatorClient,
    BatchPage,
    BatchStatus,
    ResultAggregatorError,
    TemporaryError,
)
from starlette.middleware.base import RequestResponseEndpoint


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the life of the process: it keeps its connections, its credentials and its cache."""
    async with AsyncResultAggregatorClient(os.environ["RESULT_AGGREGATOR_URL"]) as client:
        app.state.results = client
        yield


app = FastAPI(title="Essays for teachers", lifespan=lifespan)


@app.middleware("http")
async def correlate(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """One id for a teacher's request, in the answer, in the service behind and in both logs."""
    request.state.correlation_id = request.headers.get("X-Correlation-ID") or str(uuid.uuid4())
    response = await call_next(request)
    # An error's own stays: the client replaces an id that the service would not take.
    response.headers.setdefault("X-Correlation-ID", request.state.correlation_id)
    return response


def results(request: Request) -> AsyncResultAggregatorClient:
    client: AsyncResultAggregatorClient = request.app.state.results
    return client


def correlation_id(request: Request) -> str:
    made: str = request.state.correlation_id
    return made


def teacher(authorization: Annotated[str, Header()] = "") -> str:
    scheme, _, teacher_id = authorization.partition(" ")
    if scheme.lower() != "bearer" or not teacher_id:
        raise HTTPException(401, "Who are you?", {"WWW-Authenticate": "Bearer"})
    return teacher_id


Results = Annotated[AsyncResultAggregatorClient, Depends(results)]
Teacher = Annotated[str, Depends(teacher)]
CorrelationId = Annotated[str, Depends(correlation_id)]


@app.get("/v1/batches/{batch_id:path}/status")
async def batch_status(
    batch_id: Annotated[str, Path(min_length=1)],
    teacher: Teacher,
    results: Results,
    correlation_id: CorrelationId,
) -> BatchStatus:
    """A teacher's batch. Another teacher's is a 404 like a missing one, because the teacher is vouched for."""
    status = await results.get_batch_status(batch_id, user_id=teacher, correlation_id=correlation_id)
    if status is None:
        raise HTTPException(404, "There is no such batch.")
    return status


@app.get("/v1/batches")
async def batches(
    teacher: Teacher,
    results: Results,
    correlation_id: CorrelationId,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: str | None = None,
) -> BatchPage:
    """The teacher's own batches, newest first."""
    return await results.get_user_batches(teacher, correlation_id=correlation_id, limit=limit, cursor=cursor)


@app.exception_handler(ResultAggregatorError)
async def not_answered(_request: Request, error: ResultAggregatorError) -> Response:
    """What the teacher is told: never the details, always the id that finds them in the logs."""
    headers = {"X-Correlation-ID": error.correlation_id}
    if error.status in (400, 414):  # a wrong cursor, an id that is too long
        return JSONResponse({"detail": error.message, "code": error.code}, 400, headers)
    if isinstance(error, TemporaryError):
        headers["Retry-After"] = str(round(error.retry_after_s or 1))
        return JSONResponse({"detail": "Please try again."}, 503, headers)
    return JSONResponse({"detail": "The results cannot be shown now."}, 502, headers)

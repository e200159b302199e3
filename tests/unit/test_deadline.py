"""Passing failures are tried again while there is time, and no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.deadline import LONGEST_PAUSE_S, RESERVE_S, Deadline
from result_aggregator.domain.store_interface import StoreError, UnacceptableError, UnavailableError
from result_aggregator.store import aws, dynamodb_client
from result_aggregator.store.aws import LONGEST_CALL_S, config

from tests.clock import Time

if TYPE_CHECKING:
    from collections.abc import Callable


def failing(times: int, error: StoreError) -> tuple[Callable[[], str], list[int]]:
    """Work that fails so many times before it succeeds, and the attempts so far."""
    attempts: list[int] = []

    def work() -> str:
        attempts.append(len(attempts))
        if len(attempts) <= times:
            raise error
        return "done"

    return work, attempts


def test_a_passing_failure_is_tried_again() -> None:
    """Throttled three times, then done; the pauses stay under their growing bounds."""
    time = Time()
    work, attempts = failing(3, UnavailableError("throttled"))

    assert Deadline(60, clock=time.clock, sleep=time.sleep).attempt(work) == "done"
    assert len(attempts) == 4
    assert all(pause <= bound for pause, bound in zip(time.pauses, (0.05, 0.1, 0.2), strict=True))


def test_time_runs_out() -> None:
    """What fails until the deadline comes back as its error, and what starts after it is not tried at all."""
    time = Time()
    deadline = Deadline(30, clock=time.clock, sleep=time.sleep)
    work, attempts = failing(10**6, UnavailableError("throttled"))
    late, late_attempts = failing(0, UnavailableError(""))

    assert str(deadline.attempt(work)) == "throttled"
    assert time.now - 100 < 30.01
    assert len(attempts) > 30 / LONGEST_PAUSE_S
    assert isinstance(deadline.attempt(late), UnavailableError)
    assert late_attempts == []


def test_some_failures_are_final() -> None:
    """What can never succeed, and what needs somebody to act first, is tried once."""
    for error in (UnacceptableError("too large"), UnavailableError("no such table", soon=False)):
        work, attempts = failing(1, error)

        assert Deadline(60).attempt(work) is error
        assert len(attempts) == 1


def test_a_function_keeps_a_reserve() -> None:
    """Of a minute all but the reserve is for trying; of a second, half."""
    for remaining_ms, allowed in ((60_000, 60 - RESERVE_S), (1_000, 0.5)):
        deadline = Deadline.of_function(remaining_ms)

        assert abs(deadline._end - deadline._clock() - allowed) < 0.1


def test_each_step_gets_its_share() -> None:
    """A step that is stuck until its share is over leaves the rest to the next."""
    time = Time()
    deadline = Deadline(40, clock=time.clock, sleep=time.sleep)
    stuck, _ = failing(10**6, UnavailableError("throttled"))
    deadline.share(1 / 2).attempt(stuck)
    between = time.now - 100
    deadline.share(3 / 4).attempt(stuck)

    assert 20 <= between < 20.01
    assert 30 <= time.now - 100 < 30.01
    assert deadline.attempt(failing(0, UnavailableError(""))[0]) == "done"


def test_the_reserve_covers_a_call() -> None:
    """A call that starts at the deadline ends, with all its attempts, before Lambda stops the function."""
    sdk: Any = config()
    calls = [
        (
            sdk.retries["total_max_attempts"],
            sdk.connect_timeout + sdk.read_timeout,
            1.0,
        ),  # S3's and CloudWatch's
        # The table's: `test_an_attempt_has_its_time_and_no_more` holds an attempt to it.
        (aws.ATTEMPTS, aws.CONNECT_TIMEOUT_S + aws.READ_TIMEOUT_S, dynamodb_client._LONGEST_PAUSE_S),
    ]

    for attempts, seconds, pause in calls:
        assert attempts * seconds + (attempts - 1) * pause <= LONGEST_CALL_S < RESERVE_S

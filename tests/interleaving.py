"""Every order of the single requests of several invocations, and every place to be killed at: the real code, request by request.

An invocation runs in a thread of its own and stops before each request. Whoever decides lets one of them send its
request, or kills it. `explore` decides in every possible way: a run is a list of decisions, and the next run takes the
last decision that can still be taken otherwise.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.convergence.faults import Killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from result_aggregator.store.dynamodb_client import Response, Transport


@dataclass
class Actor:
    """An invocation: what it does, and where it stands."""

    work: Callable[[], None]
    is_waiting: bool = False
    is_over: bool = False
    is_killed: bool = False
    may_go: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Stage:
    """A transport at which actors wait for their turn; whoever is no actor passes."""

    def __init__(self, real: Transport) -> None:
        self._real = real
        self._changed = threading.Condition()
        self._actors = threading.local()

    def close(self) -> None:
        self._real.close()

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        actor: Actor | None = getattr(self._actors, "me", None)
        if actor is not None:
            with self._changed:
                actor.is_waiting = True
                self._changed.notify_all()
            actor.may_go.wait()
            actor.may_go.clear()
            if actor.is_killed:
                raise Killed
        return self._real.send(headers, body)

    def run(
        self, works: Sequence[Callable[[], None]], decide: Callable[[int], int], *, kills: int
    ) -> list[int]:
        """Run all works at once, one request at a time, killing at most so many; the numbers of the killed ones.

        `decide` is asked for one of n possibilities.
        """
        actors = [Actor(work) for work in works]
        threads = [threading.Thread(target=self._act, args=(actor,), daemon=True) for actor in actors]
        for actor, thread in zip(actors, threads, strict=True):
            thread.start()
            self._settled(actor)
        while live := [actor for actor in actors if not actor.is_over]:
            may_kill = sum(actor.is_killed for actor in actors) < kills
            choice = decide(len(live) * (2 if may_kill else 1))
            actor = live[choice % len(live)]
            actor.is_killed = choice >= len(live)
            actor.is_waiting = False
            actor.may_go.set()
            self._settled(actor)
        for actor, thread in zip(actors, threads, strict=True):
            thread.join()
            if actor.error is not None:
                raise actor.error
        return [number for number, actor in enumerate(actors) if actor.is_killed]

    def _settled(self, actor: Actor) -> None:
        with self._changed:
            self._changed.wait_for(lambda: actor.is_waiting or actor.is_over)

    def _act(self, actor: Actor) -> None:
        self._actors.me = actor
        try:
            actor.work()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            actor.error = error
        finally:
            with self._changed:
                actor.is_over = True
                self._changed.notify_all()


def explore() -> Iterator[Callable[[int], int]]:
    """Deciders, one a run, until every possible run has been made."""
    path: list[tuple[int, int]] = []
    while True:
        taken = 0

        def decide(possibilities: int) -> int:
            nonlocal taken
            if taken == len(path):
                path.append((0, possibilities))
            choice, before = path[taken]
            assert before == possibilities, "the same decisions led elsewhere"
            taken += 1
            return choice

        yield decide
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            return
        path[-1] = path[-1][0] + 1, path[-1][1]

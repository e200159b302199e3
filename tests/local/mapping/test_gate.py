"""How many invocations of a function run at a time."""

from __future__ import annotations

import threading
import time

from ras_local.mapping.gate import Gate


class TestGate:
    def running(self, gate: Gate, count: int, seconds: float) -> list[int]:
        """Hold the gate from several threads; how many held it at each entry."""
        lock = threading.Lock()
        now = 0
        seen: list[int] = []

        def hold() -> None:
            nonlocal now
            with gate:
                with lock:
                    now += 1
                    seen.append(now)
                time.sleep(seconds)
                with lock:
                    now -= 1

        threads = [threading.Thread(target=hold) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return seen

    def test_short_invocations_go_one_at_a_time(self) -> None:
        assert self.running(Gate(3, patience_s=5), 4, 0.02) == [1, 1, 1, 1]

    def test_more_run_when_one_is_too_slow_and_never_more_than_the_limit(self) -> None:
        seen = self.running(Gate(2, patience_s=0.05), 5, 0.2)

        assert len(seen) == 5
        assert max(seen) == 2

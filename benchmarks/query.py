"""A batch's status: handler CPU and memory of the service and of two baselines, side by side, and end to end.

Each system is in a process of its own and takes its turn, round after round; what is told is the median round. CPU is of
the system's process alone. Memory is the most that Python's objects took at a time, measured apart from time. The
relational baseline is measured twice: as a bare function, without any framework, and as the service that it would be
(Quart on Hypercorn), whose process then also does what API Gateway does for a function.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import redis
import requests
from ras import stack_file
from ras.kafka.publish import Event, publish
from ras.state_folder import REPOSITORY
from ras.terminal import expected_failures
from ras_local import stack
from ras_local.clients import dynamodb_at
from ras_local.settings import StackDir

from benchmarks import servers, service, workload
from benchmarks.baselines import idempotency, per_essay, relational
from benchmarks.load import percentile
from benchmarks.measured_process import Took, Worker
from benchmarks.report import Report, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICE = "the service"
PER_ESSAY = "a model per essay"
HOT = "relational, cache hot"
COLD = "relational, cache cold"
WEB_HOT = "as a web service, cache hot"
WEB_COLD = "as a web service, cache cold"

SIZES = (30, 1000, 5000)
_ASKED = {30: 100, 1000: 10, 5000: 3}
"""Questions of a round, by essays: some tenths of a second each."""

Asked = dict[str, dict[int, list[Took]]]


class Web:
    """The web service, asked over HTTP; its processor time is the operating system's account of it."""

    def __init__(self, url: str, pid: int, forget: Callable[[str], object] | None) -> None:
        """`forget` a batch's cached answer before each question, or keep it."""
        self._url, self._process, self._forget = url, psutil.Process(pid), forget
        self._session = requests.Session()
        self._session.trust_env = False

    def run(self, *batch_ids: str) -> Took:
        """Ask for these."""
        begun, cpu = time.perf_counter(), self._cpu_seconds()
        for batch_id in batch_ids:
            if self._forget:
                self._forget(relational.status_key(batch_id))
            answer = self._session.get(f"{self._url}/internal/v1/batches/{batch_id}/status", timeout=60)
            answer.raise_for_status()
        return Took(time.perf_counter() - begun, self._cpu_seconds() - cpu)

    def _cpu_seconds(self) -> float:
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        # Nanoseconds per thread, where the system keeps them: its account per process goes by hundredths of a second.
        if nanoseconds := sum(int(task.read_text().split()[0]) for task in tasks):
            return nanoseconds / 1e9
        used = self._process.cpu_times()
        return float(used.user + used.system)


@contextmanager
def web_service(postgres: str, redis_port: int) -> Iterator[tuple[str, int]]:
    """The web service's address and process."""
    command = [sys.executable, "-m", "benchmarks.baselines.web", postgres, str(redis_port)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip() if process.stdout else ""
            yield url, process.pid
        finally:
            process.terminate()


def batch_of(essays: int) -> str:
    """The batch with so many essays."""
    return f"query-{essays}"


def fill(worker: Worker, essays: int) -> None:
    """Bring a batch in through the functions: each essay has a spellcheck result, and a rank."""
    worker.run(*workload.invocations([list(workload.life("essay-heavy", batch_of(essays), essays))], 500))


def handlers(report: Report, sizes: list[int], rounds: int) -> Asked:
    """Handler CPU and memory of every system."""
    asked: Asked = {}
    with ExitStack() as running:
        url = running.enter_context(servers.dynamodb())
        settings = servers.functions_settings(url)
        for table in idempotency.TABLES:
            dynamodb_at(url).create_table(**table)
        ingest = running.enter_context(Worker(service.make_ingest, settings))
        systems: dict[str, Any] = {
            SERVICE: running.enter_context(Worker(service.make_query, settings)),
            PER_ESSAY: running.enter_context(Worker(per_essay.make, settings)),
        }
        for essays in sizes:
            fill(ingest, essays)
            per_essay.fill(settings, batch_of(essays), essays)
        try:
            postgres = running.enter_context(servers.postgres())
            port = running.enter_context(servers.redis())
            _fill_relational(postgres, sizes)
            forget = redis.Redis(port=port).delete
            web_url, pid = running.enter_context(web_service(postgres, port))
            systems[HOT] = running.enter_context(Worker(relational.make_query, postgres, port))
            systems[COLD] = running.enter_context(Worker(relational.make_query, postgres, port, "uncached"))
            systems[WEB_HOT] = Web(web_url, pid, None)
            systems[WEB_COLD] = Web(web_url, pid, forget)
        except servers.MissingServerError as error:
            report.left_out.append(f"the relational baseline: {error.message}. {error.advice}")

        def task(system: str, essays: int) -> Any:
            if system in (SERVICE, PER_ESSAY):
                return service.request(service.STATUS, batch_id=batch_of(essays))
            return batch_of(essays)

        peaks: dict[str, dict[int, int]] = {}
        for name, system in systems.items():
            for essays in sizes:
                system.run(*[task(name, essays)] * 3)  # warm
                if isinstance(system, Worker):
                    peaks.setdefault(name, {})[essays] = system.peak_bytes(task(name, essays))
        for number in range(rounds):
            for essays in sizes:
                names = list(systems)
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    count = _ASKED.get(essays, 3)
                    took = systems[name].run(*[task(name, essays)] * count)
                    each = Took(took.seconds / count, took.cpu_seconds / count)
                    asked.setdefault(name, {}).setdefault(essays, []).append(each)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    report.tables += _tables(asked, peaks, sizes)
    return asked


def _fill_relational(postgres: str, sizes: list[int]) -> None:
    relational.prepare(postgres)
    with psycopg.connect(postgres, autocommit=True) as database:
        for essays in sizes:
            batch_id = batch_of(essays)
            database.execute(
                "INSERT INTO batches (batch_id, user_id, essay_count, overall_status, completed_essay_count)"
                " VALUES (%s, %s, %s, 'COMPLETED', %s)",
                [batch_id, f"teacher-{batch_id}", essays, essays],
            )
            database.execute(
                "INSERT INTO essays SELECT %s, %s || '-essay-' || lpad(n::text, 4, '0'), NULL, 'COMPLETED', 17,"
                " 'corrected-' || n, NULL, 'COMPLETED', n + 1, 3 - n / 100.0, NULL FROM generate_series(0, %s - 1) n",
                [batch_id, batch_id, essays],
            )
        database.execute("ANALYZE")


def _tables(asked: Asked, peaks: dict[str, dict[int, int]], sizes: list[int]) -> list[Table]:
    columns = [f"{essays:,} essays" for essays in sizes]
    cpu = Table("cpu", "CPU milliseconds of a status answer", ["system", *columns])
    ratio = Table("ratio", "CPU, the service's as 1", ["system", *columns])
    clock = Table(
        "clock", "Milliseconds until the answer, one question after the other", ["system", *columns]
    )
    memory = Table(
        "memory",
        "Allocated memory at its highest, MB",
        ["system", *columns],
        note="A web service's memory is not traced.",
    )
    for system, by_essays in asked.items():
        of = {essays: median(took.cpu_seconds for took in found) for essays, found in by_essays.items()}
        ours = {essays: median(t.cpu_seconds for t in found) for essays, found in asked[SERVICE].items()}
        cpu.rows.append([system, *(1000 * of[essays] for essays in sizes)])
        ratio.rows.append([system, *(of[essays] / ours[essays] for essays in sizes)])
        clock.rows.append(
            [system, *(1000 * median(took.seconds for took in by_essays[essays]) for essays in sizes)]
        )
        if system in peaks:
            memory.rows.append([system, *(peaks[system][essays] / 2**20 for essays in sizes)])
    return [cpu, ratio, clock, memory]


def end_to_end(sizes: list[int], count: int) -> Table:
    """Signed HTTP through the local API, to the deployed function and back, one question after the other."""
    made = Table(
        "end-to-end",
        "Milliseconds until the answer through the local API (signed HTTP)",
        ["essays", "bytes", "median", "95th percentile"],
        note="Emulated API Gateway and IAM on the same machine; they take most of a small answer's time.",
    )
    with tempfile.TemporaryDirectory(prefix="ras-bench-") as folder:
        state = StackDir(Path(folder))
        try:
            running = stack.up(state)
            lines = [
                line for essays in sizes for line in workload.life("essay-heavy", batch_of(essays), essays)
            ]
            publish(
                running.bootstrap_servers,
                [Event(line.topic, line.encoded(), line.key.encode()) for line in lines],
            )
            stack_file.wait_consumed(running, timeout_s=600)
            for essays in sizes:
                path = f"/internal/v1/batches/{batch_of(essays)}/status"
                asked = count if essays <= 100 else max(count // 10, 3)
                times = []
                for _ in range(asked):
                    begun = time.perf_counter()
                    answer = running.get(path)
                    times.append(1000 * (time.perf_counter() - begun))
                    answer.raise_for_status()
                shown = len(answer.json()["essays"])
                made.rows.append([shown, len(answer.content), median(times), percentile(sorted(times), 0.95)])
        finally:
            stack.down(state)
    return made


@expected_failures
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", default=",".join(map(str, SIZES)), help="essays a batch (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="of each size (default: %(default)s)")
    parser.add_argument("--no-stack", action="store_true", help="leave out what goes through the local API")
    options = parser.parse_args()
    report = Report("query", "make bench-query")
    sizes = [int(size) for size in options.sizes.split(",")]
    asked = handlers(report, sizes, options.rounds)
    if not options.no_stack:
        report.tables.append(end_to_end(sizes, 100))
    report.data["took"] = {
        system: {
            essays: [median(took.seconds for took in found), median(took.cpu_seconds for took in found)]
            for essays, found in by_essays.items()
        }
        for system, by_essays in asked.items()
    }
    report.plot(
        "CPU of a status answer",
        "milliseconds",
        {
            f"{essays:,} essays": {
                system: 1000 * median(took.cpu_seconds for took in by_essays[essays])
                for system, by_essays in asked.items()
            }
            for essays in sizes
        },
    )
    report.write()


if __name__ == "__main__":
    main()

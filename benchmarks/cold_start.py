"""Cold start as deployed: what a handler's imports and a cold function's first dead letter take, with byte code and without.

What runs are the layers and functions as they are built for Lambda, but for this machine's processor, on the runtime's
own Python, isolated from this project, with tracing on as every stage in AWS has it. Nothing is written beside the
sources, as Lambda mounts them read-only. Without byte code is how they were deployed before it was built.

Each import is a process of its own, round after round by turns; what is told is the median round. Times are CPU time, as
a function's share of a processor is what a cold start waits for, from where the interpreter is up; of the first dead
letter that of the whole invocation, S3's client included. What each package takes is by `-X importtime`, in processes of
their own. Memory is what the process grew by at its highest.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ras.errors import NotFoundError
from ras.terminal import expected_failures
from result_aggregator.names import ENV_DEAD_LETTER_BUCKET, ENV_PARTIAL_BATCH_RESPONSE, ENV_TABLE_NAME
from result_aggregator.topics import ESSAYS, TOPICS

from benchmarks.report import Report, Table
from benchmarks.service import FUNCTIONS
from infra import layers
from infra.byte_code import Compiler, find_compiler, missing
from infra.layers import Target
from infra.settings import Settings
from tests.samples import msk_event, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BASELINE = "boto3, pydantic, Powertools with its event handler"
_BASELINE_STATEMENT = (
    "import boto3, pydantic, aws_lambda_powertools, aws_lambda_powertools.event_handler, aws_xray_sdk.core"
)
_HANDLER_STATEMENT = "import handler"
LETTER = "first dead letter of a cold function"

MOST_OF_WITHOUT = 1 / 3
MOST_OF_BASELINE = 0.4
MOST_OF_LETTER = 0.5

WITHOUT, WITH = "without byte code", "with byte code"

OTHER = "others"
_SHOWN = 10
"""Packages that the table names; those that take the most."""

STANDARD = "standard library"

_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
# Not what getrusage says, which begins with the process that this one was forked from.
_AFTER = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
_TIMED = """
import time
before = time.process_time()
{statement}
print((time.process_time() - before) * 1000)
{after}
"""

_FIRST_LETTER = """
import json, time
import handler

class Context:
    function_name = "ingest-essays"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-north-1:111122223333:function:ingest-essays"
    aws_request_id = "request"
    def get_remaining_time_in_millis(self):
        return 60_000

event = json.loads(sys.stdin.read())
before = time.process_time()
answer = handler.lambda_handler(event, Context())
took = time.process_time() - before
assert answer == {"batchItemFailures": []}, answer
print(took * 1000)
"""


@dataclass(frozen=True)
class Import:
    """One import: its CPU time, and the process's memory at its highest."""

    milliseconds: float
    peak_kilobytes: int


@dataclass(frozen=True)
class Deployed:
    """What is built, as Lambda mounts it: the layers in one folder; and the interpreter that runs it."""

    python: Path
    layers: Path
    functions: Mapping[str, Path]

    def run(
        self, program: str, function: str, *options: str, event: str = "", **variables: str
    ) -> tuple[str, str]:
        """Run a program as the function would: what it wrote to its output and to its errors."""
        path = [self.functions[function], self.layers]
        done = subprocess.run(
            # -B, as whoever measures may be root, whom no read-only folder stops.
            [
                self.python,
                "-I",
                "-S",
                "-B",
                *options,
                "-c",
                f"import sys\nsys.path[:0] = sys.argv[1:]\n{program}",
                *path,
            ],
            input=event,
            env={"LAMBDA_TASK_ROOT": "/var/task", "AWS_REGION": "eu-north-1", **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, done.stderr

    def measure(self, statement: str, function: str = "query") -> Import:
        """Import in a new process."""
        output, _ = self.run(_TIMED.format(statement=statement, after=_AFTER), function)
        milliseconds, peak = output.split()
        return Import(float(milliseconds), int(peak))

    def split(self, statement: str, function: str = "query") -> Counter[str]:
        """Microseconds that an import in a new process takes, by package."""
        _, told = self.run(statement, function, "-X", "importtime")
        lines = _LINE.findall(told)
        found: Counter[str] = Counter()
        for microseconds, module in lines[_started([module for _, module in lines]) :]:
            found[_package(module)] += int(microseconds)
        return found

    def first_letter(self, s3_url: str) -> float:
        """CPU milliseconds of a new process's first invocation, with one record that is not JSON."""
        topic = next(name for name, topic in TOPICS.items() if topic.function == ESSAYS)
        output, _ = self.run(
            _FIRST_LETTER,
            ESSAYS,
            event=json.dumps(msk_event([record(topic, b"not JSON")])),
            AWS_ENDPOINT_URL=s3_url,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 (for a bucket of this process)
            AWS_XRAY_CONTEXT_MISSING="IGNORE_ERROR",
            AWS_XRAY_DAEMON_ADDRESS="127.0.0.1:9",
            **{
                ENV_TABLE_NAME: "view",
                ENV_DEAD_LETTER_BUCKET: "dead-letters",
                ENV_PARTIAL_BATCH_RESPONSE: "true",
            },
        )
        return float(output.split()[-1])


def _started(modules: list[str]) -> int:
    """Where the interpreter's own start is over, roughly: it has no `site` here."""
    return modules.index("zipimport") + 1 if "zipimport" in modules else 0


def _package(module: str) -> str:
    top = module.partition(".")[0]
    # Pydantic's other half, and the handlers, which are the service's.
    top = {"pydantic_core": "pydantic", "handler": "result_aggregator"}.get(top, top)
    return STANDARD if top in sys.stdlib_module_names else top


@contextmanager
def bucket() -> Iterator[tuple[str, list[str]]]:
    """The address of an S3 that takes everything, and the paths that were put there."""
    put: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.send_response_only(100)
            self.end_headers()
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            put.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def handle_expect_100(self) -> bool:
            return True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", put
    finally:
        server.shutdown()
        server.server_close()


def built(compiler: Compiler, folder: Path) -> dict[str, Deployed]:
    """What is deployed, and the same without byte code; layers are brought together in `folder`."""
    with_it = Target.on_this_processor(compiler)
    found = {}
    for how, target in {WITHOUT: Target(with_it.python, with_it.architecture), WITH: with_it}.items():
        parts = layers.build(target, client=False)
        opt = folder / how.replace(" ", "-")
        for layer in filter(None, (parts.dependencies, parts.shared)):
            shutil.copytree(layer / "python", opt, dirs_exist_ok=True)
        found[how] = Deployed(compiler.path, opt, parts.functions)
    return found


@expected_failures
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="of each import (default: %(default)s)")
    options = parser.parse_args()
    version = str(Settings.model_fields["runtime"].default).removeprefix("python")
    compiler = find_compiler(version)
    if compiler is None:
        raise NotFoundError(missing(version), f"Install Python {version}, or make it one of pyenv's.")
    with tempfile.TemporaryDirectory(prefix="ras-cold-start-") as folder:
        return _measure(compiler, built(compiler, Path(folder)), options.rounds)


def _measure(compiler: Compiler, deployed: dict[str, Deployed], number_of_rounds: int) -> int:
    imports: dict[str, tuple[str, str]] = {
        **{name: (_HANDLER_STATEMENT, name) for name in (*FUNCTIONS, "query")},
        BASELINE: (_BASELINE_STATEMENT, "query"),
    }
    rounds: dict[tuple[str, str], list[Import]] = {(name, how): [] for name in imports for how in deployed}
    splits: dict[str, list[Counter[str]]] = {name: [] for name in imports}
    letters: dict[str, list[float]] = {how: [] for how in deployed}
    with bucket() as (s3_url, put):
        for number in range(number_of_rounds + 1):
            for name, how in _by_turns([*rounds], number):
                one = deployed[how].measure(*imports[name])
                if number:  # the first round brings the files into the machine's memory
                    rounds[name, how].append(one)
            for name, found in splits.items():
                if number:
                    found.append(deployed[WITH].split(*imports[name]))
            for how in deployed:
                took = deployed[how].first_letter(s3_url)
                if number:
                    letters[how].append(took)
            print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        if len(put) != (number_of_rounds + 1) * len(deployed):
            raise AssertionError(f"{len(put)} dead letters were kept")
    empty = min(deployed[WITH].measure("pass").peak_kilobytes for _ in range(3))
    return _report(compiler, rounds, splits, {how: median(found) for how, found in letters.items()}, empty)


def _by_turns(names: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    return names[number % len(names) :] + names[: number % len(names)]


def _report(
    compiler: Compiler,
    rounds: dict[tuple[str, str], list[Import]],
    splits: dict[str, list[Counter[str]]],
    letters: dict[str, float],
    empty: int,
) -> int:
    took = {key: median(one.milliseconds for one in found) for key, found in rounds.items()}
    names = list(dict.fromkeys(name for name, _ in rounds))
    handlers = [name for name in names if name != BASELINE]
    report = Report("cold_start", "make bench-cold-start")
    whole = Table(
        "whole",
        f"CPU milliseconds of imports as deployed, on Python {compiler.version}",
        [
            "what",
            WITHOUT,
            WITH,
            "of without",
            "of the baseline with",
            "of the baseline without",
            "memory, MB",
        ],
    )
    most: Counter[str] = Counter()
    for found in splits.values():
        most |= found[0]
    named = [package for package, _ in most.most_common(_SHOWN)]
    split = Table(
        "split", f"Milliseconds by package, {WITH} (elapsed time, not CPU time)", ["what", *named, OTHER]
    )
    for name in names:
        before, now = took[name, WITHOUT], took[name, WITH]
        memory = median(one.peak_kilobytes for one in rounds[name, WITH]) - empty
        shares = [f"{now / of:.0%}" for of in (before, took[BASELINE, WITH], took[BASELINE, WITHOUT])]
        whole.rows.append([name, before, now, *shares, memory / 1024])
        parts = [median(one[package] for one in splits[name]) / 1000 for package in named]
        others = median(sum(one.values()) for one in splits[name]) / 1000 - sum(parts)
        split.rows.append([name, *parts, max(others, 0.0)])
    over = [
        *(
            f"{name} takes over {most:.0%} of {of}"
            for name in handlers
            for most, of, limit in (
                (MOST_OF_WITHOUT, "its time without byte code", took[name, WITHOUT]),
                (MOST_OF_BASELINE, "the baseline with byte code", took[BASELINE, WITH]),
            )
            if took[name, WITH] > most * limit
        ),
        *(
            [f"the {LETTER} takes over {MOST_OF_LETTER:.0%}"]
            if letters[WITH] > MOST_OF_LETTER * letters[WITHOUT]
            else []
        ),
    ]
    whole.note = (
        f"The budgets are {MOST_OF_WITHOUT:.0%} of the time without byte code, which is how this was deployed until"
        f" 27 November 2026, and {MOST_OF_BASELINE:.0%} of the baseline with byte code. Tracing is on."
        f" {'Missed: ' + '; '.join(over) if over else 'All are met'}."
    )
    letter = Table(
        "letter",
        "CPU milliseconds of the first invocation that keeps a dead letter, after the imports above",
        ["what", WITHOUT, WITH, "of without"],
        [[LETTER, letters[WITHOUT], letters[WITH], f"{letters[WITH] / letters[WITHOUT]:.0%}"]],
        note=f"The budget is {MOST_OF_LETTER:.0%} of the time without byte code.",
    )
    report.tables = [whole, split, letter]
    report.plot(
        "Imports as deployed",
        "CPU milliseconds",
        {name: {how: took[name, how] for how in (WITHOUT, WITH)} for name in names},
    )
    report.write()
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())

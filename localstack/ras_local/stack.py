"""Bringing the whole stack up and down."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from ras import interrupts, stack_file
from ras.errors import ConflictError, FailedError, OperatorError, SettingError
from ras.stack_file import Stack
from ras.state_folder import LOCAL, REPOSITORY, write_private
from result_aggregator import metrics
from result_aggregator.names import function_name, log_group_name
from result_aggregator.topics import TOPICS

from ras_local import callers, capabilities, clients, deploy
from ras_local.servers import broker, dynoxide, emulator, processes
from ras_local.settings import StackDir, region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ras.aws import Cloud


POLLER = "poller"
METRICS = "metrics"
DASHBOARD = "dashboard"
WARM_S = 60
"""For so long the deployed functions may take to answer at all."""

PROCESSES = (emulator.PROCESS, processes.BROKER, METRICS, DASHBOARD, POLLER)
OPEN_FILES = 256
"""Open files that one process of the stack may need. With 64 the poller cannot connect; at rest 200 suffice."""
FREE_MB = 100
"""Of the disk of the state folder: what a stack writes until it is up, and room for its logs."""
OPTIONAL = (dynoxide.PROCESS,)
"""What runs only where somebody asked for it."""


@dataclass
class Timings:
    """What each step took, in seconds, for the person who waits."""

    steps: list[tuple[str, float]] = field(default_factory=list)
    say: Callable[[str], None] = lambda _: None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        took = time.monotonic() - begun
        self.steps.append((name, took))
        self.say(f"{name}  {took:.1f} s")


def is_up(state: StackDir) -> bool:
    """True when every process runs and the stack file, which is written last, is there."""
    if not state.stack_file.exists():
        return False
    return all(processes.running(state, name) is not None for name in expected(state))


def expected(state: StackDir) -> tuple[str, ...]:
    """The processes that a stack in this folder consists of, whether they run or not.

    Those of a stack that was started are those that it started: emulator and broker may be somebody else's.
    """
    started = {record.name for record in processes.recorded(state)}
    if POLLER not in started:
        return PROCESSES
    return tuple(name for name in (*PROCESSES, *OPTIONAL) if name in started)


def up(state: StackDir | None = None, *, say: Callable[[str], None] = lambda _: None) -> Stack:
    """Start everything and wait until it answers. A stack that is up already is left alone; half of one is replaced.

    `say` is told each finished step. Raises OperatorError, with nothing left running, or where the stack that is up is on
    another emulator or broker than is asked for.
    """
    state = state or StackDir.default()
    if is_up(state):
        running = stack_file.load(state)
        _check_it_is_meant(running)
        return running
    deploy.check_tools()
    _check_settings()
    down(state)
    shutil.rmtree(state.logs, ignore_errors=True)
    try:
        state.create()
        _check_space(state)
        return _start(state, Timings(say=say))
    except BaseException as error:
        full = _too_little_space(state)
        down(state)
        if full and isinstance(error, Exception):
            # What fails first on a full disk says something else.
            raise FailedError(full, f"Then this failed: {error}") from error
        raise


def _check_settings() -> None:
    """Raises OperatorError for what a process would be told by the environment, and end over, in a minute."""
    # On use: with it come the mapping package and its clients, which nothing else here needs.
    from ras_local import poller_process

    _check_open_files()
    region()
    processes.wished_port("RAS_DASHBOARD_PORT")
    poller_process.nulls_from_environment()
    poller_process.limit_from_environment()


def _check_open_files() -> None:
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < OPEN_FILES <= at_most or (allowed < OPEN_FILES and at_most == resource.RLIM_INFINITY):
        # The processes that are started inherit it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, at_most))
    elif allowed < OPEN_FILES:
        raise SettingError(
            f"this shell allows {allowed} open files, and the stack needs {OPEN_FILES}",
            f"Allow more with `ulimit -n {OPEN_FILES}`, or in a new shell.",
        )


def _check_space(state: StackDir) -> None:
    if full := _too_little_space(state):
        raise FailedError(full, "Free some space, or name another folder with RAS_STATE_DIR.")


def _too_little_space(state: StackDir) -> str:
    """That the disk of a folder is full, in words; empty where it is not."""
    there = next(folder for folder in (state.root, *state.root.parents) if folder.exists())
    free = shutil.disk_usage(there).free // 1_000_000
    return f"{free} MB are free for {state.root}, and the stack needs {FREE_MB}" if free < FREE_MB else ""


def _check_it_is_meant(running: Stack) -> None:
    for name, wished, here in (
        ("RAS_EMULATOR", emulator.named(), running.endpoint_url),
        ("RAS_BROKER", broker.named(), running.bootstrap_servers),
    ):
        if wished not in (None, here):
            raise ConflictError(
                f"a stack is up already, with {here}, not {name}={wished}", "Run `make down` first."
            )


def _start(state: StackDir, timings: Timings) -> Stack:
    with timings.step("emulator and broker"):
        broker_ready = broker.start(state, list(TOPICS))
        table_url, table_ready = dynoxide.start(state) if dynoxide.wanted() else ("", lambda: None)
        # The functions' AWS clients know this variable themselves, so nothing that is deployed has to.
        elsewhere = {"AWS_ENDPOINT_URL_DYNAMODB": table_url} if table_url else {}
        endpoint_url, emulator_ready = emulator.start(state, elsewhere)
        emulator_ready()
        bootstrap_servers = broker_ready()
        table_ready()
    cloud = clients.cloud_at(endpoint_url)
    missing = _find_lacks(cloud, timings) if emulator.named() else []
    # It takes a moment to import, beside the deployment; nobody asks it anything before the stack is up.
    dashboard_ready = start_dashboard(state)
    with timings.step("cdk deploy"):
        callers.create_roles(cloud)
        deploy.create_asset_bucket(cloud)
        outputs = deploy.deploy(state, cloud, capabilities.settings(missing))
        if table_url:
            dynoxide.copy_table(cloud, outputs.table_name, table_url)
    stack = Stack(
        region=cloud.region,
        endpoint_url=cloud.endpoint_url,
        bootstrap_servers=bootstrap_servers,
        # The path form, because names under localhost do not resolve everywhere.
        api_url=f"{cloud.endpoint_url}/_aws/execute-api/{outputs.api_id}/{LOCAL}",
        table_name=outputs.table_name,
        dead_letter_bucket=outputs.dead_letter_bucket,
        callers=callers.credentials(cloud),
        dashboard_url=dashboard_ready(),
        lacks=missing,
    )
    with timings.step("mappings and functions"):
        state.metrics_file.unlink(missing_ok=True)
        start_metrics(state, stack)
        start_poller(state, stack)
        _warm(stack)
        _wait_for_mappings(state)
    write_private(state.stack_file, json.dumps(asdict(stack), indent=2) + "\n")
    return stack


def _find_lacks(cloud: Cloud, timings: Timings) -> list[str]:
    """What an emulator that is not ours lacks, each said when it is found: a first function may take its time."""
    found = []
    with timings.step("what the emulator lacks"):
        for lack in capabilities.found(cloud):
            timings.say(f"{cloud.endpoint_url} lacks {capabilities.SAID[lack]}")
            found.append(lack.value)
    return found


def deploy_again(state: StackDir, settings: Mapping[str, str]) -> Stack:
    """Deploy the running stack with these settings beside the local stage's own. Raises OperatorError."""
    stack = stack_file.load(state)
    if state.dynoxide.exists():
        raise ConflictError(
            "tables created later are not copied to dynoxide", "Start the stack without RAS_DYNAMODB."
        )
    outputs = deploy.deploy(state, stack.cloud, {**capabilities.settings(stack.lacks), **settings})
    stack = replace(stack, table_name=outputs.table_name)
    write_private(state.stack_file, json.dumps(asdict(stack), indent=2) + "\n")
    return stack


def _environment() -> dict[str, str]:
    """What the stack's own processes run with: none of the user's own AWS settings. They are told where to go."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return others | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def start_poller(state: StackDir, stack: Stack) -> None:
    """Start the local event source mapping; it goes on from the groups' last commits."""
    state.mappings_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "ras_local.poller_process"]
    arguments = [stack.endpoint_url, stack.region, stack.bootstrap_servers, str(state.mappings_file)]
    processes.start(state, POLLER, [*command, *arguments], environment=_environment(), folder=REPOSITORY)


def start_metrics(state: StackDir, stack: Stack) -> None:
    """Start making metrics of what the functions print; it goes on where it was stopped."""
    groups = [log_group_name(name) for name in (*_ingest_functions(), function_name(LOCAL, "query"))]
    command = [sys.executable, "-m", "ras_local.servers.emf_to_cloudwatch"]
    now = str(int(time.time() * 1000))
    arguments = [
        stack.endpoint_url,
        stack.region,
        str(state.metrics_file),
        now,
        metrics.namespace(LOCAL),
        *groups,
    ]
    processes.start(state, METRICS, [*command, *arguments], environment=_environment(), folder=REPOSITORY)


def start_dashboard(state: StackDir) -> Callable[[], str]:
    """Start the dashboard; the answer waits until it listens and gives its address."""
    state.dashboard_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "ras.dashboard.serve", str(state.root), str(state.dashboard_file)]
    processes.start(state, DASHBOARD, command, environment=_environment(), folder=REPOSITORY)

    def wait() -> str:
        processes.wait_until(
            "the dashboard", state.dashboard_file.exists, timeout_s=60, state=state, process=DASHBOARD
        )
        return state.dashboard_file.read_text(encoding="utf-8")

    return wait


def _wait_for_mappings(state: StackDir) -> None:
    def polling() -> bool:
        status = stack_file.mappings(state)
        return {entry["topic"] for entry in status if entry["state"] == "polling"} >= set(TOPICS)

    processes.wait_until("the event source mapping", polling, timeout_s=60, state=state, process=POLLER)


def _warm(stack: Stack) -> None:
    """One harmless request to each function, so that the first real one finds it started."""
    functions = _ingest_functions()
    pool, over = ThreadPoolExecutor(len(functions) + 1), Event()
    try:
        warmed = [pool.submit(_ask_health, stack, over)]
        warmed += [pool.submit(_invoke_empty, stack.cloud, name) for name in functions]
        problems = [problem for future in warmed if (problem := future.result())]
    finally:
        # After Ctrl-C nobody waits for the answers; but the interpreter does at its end, for threads that go on asking.
        over.set()
        pool.shutdown(wait=False)
    if problems:
        raise FailedError("the deployed functions do not work", "\n".join(problems))


def _ingest_functions() -> list[str]:
    """The deployed names of the functions that topics are mapped to."""
    return sorted({function_name(LOCAL, topic.function) for topic in TOPICS.values()})


def _ask_health(stack: Stack, over: Event) -> str:
    """What is wrong with /healthz, asked until it is well, WARM_S have passed or it is `over`.

    On a busy machine the first answers come too late for the gateway's patience, or ours.
    """
    deadline = time.monotonic() + WARM_S
    while True:
        try:
            answer = stack.get("/healthz", caller=None)
            if answer.status_code == 200:
                return ""
            problem = f"GET /healthz answered {answer.status_code}: {answer.text[:500]}"
        except OperatorError as error:
            problem = error.message
        if time.monotonic() > deadline or over.wait(0.2):
            return problem


def _invoke_empty(cloud: Cloud, function_name: str) -> str:
    event = json.dumps(
        {"eventSource": "aws:kafka", "eventSourceArn": "", "bootstrapServers": "", "records": {}}
    )
    try:
        answer = cloud.functions.invoke(FunctionName=function_name, Payload=event.encode())
        payload = answer["Payload"].read().decode("utf-8", "replace")
    except (BotoCoreError, ClientError) as error:
        return f"{function_name}: {error}"
    return f"{function_name} failed on an empty event: {payload[:1000]}" if "FunctionError" in answer else ""


def down(state: StackDir | None = None) -> bool:
    """Stop everything that was started from this folder; its logs stay until the next start.

    True if anything was running; to call it more often is harmless.
    """
    with interrupts.uninterrupted():
        return _stop_all(state or StackDir.default())


def _stop_all(state: StackDir) -> bool:
    order = {name: place for place, name in enumerate((*reversed(PROCESSES), *OPTIONAL))}
    records = sorted(processes.recorded(state), key=lambda record: order.get(record.name, -1))
    # The poller first, alone: it commits what is being delivered while the rest still answers.
    pollers = [record for record in records if record.name == POLLER]
    others = [record for record in records if record.name != POLLER]
    stopped = [processes.stop(state, record) for record in pollers]
    # Each is waited for, so one after the other could take most of a minute.
    with ThreadPoolExecutor(max(1, len(others)), thread_name_prefix="stop") as pool:
        stopped += pool.map(lambda record: processes.stop(state, record, grace_s=2.0), others)
    state.stack_file.unlink(missing_ok=True)
    state.mappings_file.unlink(missing_ok=True)
    state.metrics_file.unlink(missing_ok=True)
    state.bootstrap_file.unlink(missing_ok=True)
    state.dashboard_file.unlink(missing_ok=True)
    for folder in (state.emulator, state.kafka, state.dynoxide):
        shutil.rmtree(folder, ignore_errors=True)
    return any(stopped)

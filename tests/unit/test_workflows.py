"""The workflows are held to what is there: make targets, stages, and the rights that each job really needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from infra.settings import StageName

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github/workflows"
NAMES = sorted(path.name for path in FOLDER.iterdir())
STAGES = [stage for stage in get_args(StageName) if stage != "local"]

# YAML 1.1 takes the key `on` for true.
ON: Any = True


def workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", ())]


def commands(name: str) -> list[str]:
    return [step["run"] for step in steps(name) if "run" in step]


def targets() -> set[str]:
    return set(re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_what_runs_is_a_make_target(name: str) -> None:
    """And nothing else, so that anybody can run the same."""
    for command in commands(name):
        words = command.split()
        assert words[0] == "make", command
        assert words[1] in targets(), command


def test_all_that_ci_runs_runs_here_too() -> None:
    """Lint and every test, and every stage synthesised."""
    run = " ".join(commands("checks.yml"))
    for command in re.findall(r"^make [a-z]+$", (ROOT / ".ci/run").read_text(), re.MULTILINE):
        assert command in run


def test_every_stage_that_goes_to_aws_is_there() -> None:
    """Synthesised, compared and deployed, in the order in which a change should meet them."""
    jobs = workflow("checks.yml")["jobs"] | workflow("diff.yml")["jobs"]
    deploying = workflow("deploy.yml")["jobs"]
    order = [job["with"]["stage"] for job in deploying.values() if "with" in job]

    for job in ("synth", "diff"):
        assert jobs[job]["strategy"]["matrix"]["stage"] == STAGES
    assert order == STAGES
    for before, after in zip(["checks", *STAGES], STAGES, strict=False):
        assert deploying[after]["needs"] == before


def test_a_deployment_waits_in_its_own_environment() -> None:
    """The environment's rules ask for approval, and its variables name the role; only what is merged gets there."""
    (job,) = workflow("deploy-stage.yml")["jobs"].values()

    assert job["environment"] == "${{ inputs.stage }}"
    assert workflow("deploy.yml")[ON] == {"push": {"branches": ["main"]}}
    assert workflow("deploy-stage.yml")[ON].keys() == {"workflow_call", "workflow_dispatch"}
    # A pull request's code runs as another environment, whose role cannot deploy.
    assert workflow("diff.yml")["jobs"]["diff"]["environment"] == "${{ matrix.stage }}-diff"
    assert workflow("deploy.yml")["concurrency"]["cancel-in-progress"] is False


def test_a_stage_can_be_deployed_by_hand() -> None:
    """With its environment's settings and no others: what was given once would be forgotten by the next deployment."""
    (job,) = workflow("deploy-stage.yml")["jobs"].values()
    inputs = workflow("deploy-stage.yml")[ON]["workflow_dispatch"]["inputs"]

    assert inputs.keys() == {"stage"}
    assert (inputs["stage"]["type"], inputs["stage"]["options"]) == ("choice", STAGES)
    # In one group with its caller it would wait for itself.
    assert job["concurrency"] == {"group": "deploy-${{ inputs.stage }}", "cancel-in-progress": False}
    assert workflow("deploy.yml")["concurrency"]["group"] != job["concurrency"]["group"]


@pytest.mark.parametrize("name", NAMES)
def test_a_job_ends(name: str) -> None:
    """By itself, long before GitHub ends it after six hours; one that deploys within the hour that its session lasts."""
    for job in workflow(name)["jobs"].values():
        if "uses" in job:
            continue  # the called workflow's jobs have limits of their own
        asks_aws = any("configure-aws-credentials" in step.get("uses", "") for step in job["steps"])
        assert 0 < job["timeout-minutes"] <= (60 if asks_aws else 90)


def test_the_oldest_and_the_ordinary_node_synthesise() -> None:
    """The README promises the one, the other jobs run on the other."""
    promised = re.search(r"Node (\d+) or newer", (ROOT / "README.md").read_text())
    used = {
        step["with"]["node-version"]
        for name in NAMES
        for step in steps(name)
        if "setup-node" in step.get("uses", "")
    }
    synthesised = workflow("checks.yml")["jobs"]["synth"]["strategy"]["matrix"]["node"]

    assert promised is not None
    assert used == {synthesised[-1], "${{ matrix.node }}"}
    assert synthesised[0] == promised[1]


@pytest.mark.parametrize("name", NAMES)
def test_rights_are_the_least(name: str) -> None:
    """Everything reads; a token for AWS is only for jobs that ask AWS; no key is stored, nothing is kept for later steps."""
    found = workflow(name)
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        uses = [step.get("uses", "") for step in job.get("steps", ())]
        asks_aws = any("configure-aws-credentials" in use for use in uses) or "deploy-stage" in job.get(
            "uses", ""
        )
        rights = {"contents": "read", "id-token": "write"} if asks_aws else {"contents": "read"}
        assert job.get("permissions", found["permissions"]) == rights
        for step in job.get("steps", ()):
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    assert "secrets." not in (FOLDER / name).read_text()
    assert "pull_request_target" not in found[ON]


def test_a_called_workflow_asks_for_no_more_than_its_caller_gives() -> None:
    """GitHub refuses the whole run otherwise, even where the job that asks would be skipped."""
    for name in NAMES:
        found = workflow(name)
        for job in found["jobs"].values():
            if "uses" in job:
                given = job.get("permissions", found["permissions"])
                called = workflow(Path(job["uses"]).name)
                for inner in called["jobs"].values():
                    assert inner.get("permissions", called["permissions"]).items() <= given.items()


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_to_commits(name: str) -> None:
    """A tag can be moved; and the same action is the same commit everywhere."""
    lines = re.findall(r"uses: (\S+)(.*)", (FOLDER / name).read_text())
    for used, comment in lines:
        if not used.startswith("./"):
            assert re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}", used), used
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), used


def test_an_action_is_one_commit_everywhere() -> None:
    """Whoever raises one raises all."""
    used = {step["uses"] for name in NAMES for step in steps(name) if "uses" in step}

    assert len({use.split("@")[0] for use in used}) == len(used)


@pytest.mark.parametrize("name", NAMES)
def test_no_expression_of_others_is_run(name: str) -> None:
    """In a command only a stage is filled in; what people write comes by the environment."""
    for command in commands(name):
        assert set(re.findall(r"\$\{\{ (.*?) \}\}", command)) <= {"matrix.stage", "inputs.stage"}

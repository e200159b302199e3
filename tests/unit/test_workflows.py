"""The workflows are held to what is there: make targets, stages, and the rights that each job really needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from infra.setting_types import StageName
from infra.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github/workflows"
# What the update bot calls the pins of a folder, by a file in it.
PINS = {"*.in": "uv", "package-lock.json": "npm", "pom.xml": "maven", "docker-compose.yml": "docker-compose"}
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
    """Synthesised, compared, offered by hand, and deployed in the order in which a change should meet them."""
    jobs = workflow("checks.yml")["jobs"] | workflow("diff.yml")["jobs"]
    deploying = workflow("deploy.yml")["jobs"]
    order = [job["with"]["stage"] for job in deploying.values() if "with" in job]

    for job in ("synth", "diff"):
        assert jobs[job]["strategy"]["matrix"]["stage"] == STAGES
    assert workflow("deploy-stage.yml")[ON]["workflow_dispatch"]["inputs"]["stage"]["options"] == STAGES
    assert order == STAGES
    for before, after in zip(["checks", *STAGES], STAGES, strict=False):
        assert deploying[after]["needs"] == before


def test_nothing_that_is_not_merged_gets_where_it_could_deploy() -> None:
    """The environments' rules ask for approval, and their variables name the role: a pull request's code has others."""

    def environments(name: str) -> set[str]:
        found = set()
        for job in workflow(name)["jobs"].values():
            if "uses" in job:
                found |= environments(Path(job["uses"]).name)
            elif "environment" in job:
                found |= {re.sub(r"\$\{\{ .*? \}\}", stage, job["environment"]) for stage in STAGES}
        return found

    deploying = environments("deploy.yml")
    assert deploying == set(STAGES)
    assert workflow("deploy.yml")[ON] == {"push": {"branches": ["main"]}}
    for name in NAMES:
        if "pull_request" in workflow(name)[ON]:
            assert not environments(name) & deploying, name


def test_a_called_workflow_does_not_wait_for_its_caller() -> None:
    """In one group with its caller it would, for ever."""
    for name in NAMES:
        found = workflow(name)
        for job in found["jobs"].values():
            if "uses" in job:
                called = workflow(Path(job["uses"]).name)
                for waits in (called, *called["jobs"].values()):
                    if "concurrency" in waits:
                        assert waits["concurrency"]["group"] != found.get("concurrency", {}).get("group")


@pytest.mark.parametrize("target", ["deploy", "diff", "synth", "test"])
def test_the_functions_python_is_there_where_it_compiles(target: str) -> None:
    """It makes the byte code, of which the assets' hashes tell; `make` itself runs on the oldest that is promised, named last."""
    runtime = str(Settings.model_fields["runtime"].default).removeprefix("python")
    jobs = [job for name in NAMES for job in workflow(name)["jobs"].values()]
    running = [job for job in jobs if re.search(rf"make {target}\b(?!-)", str(job.get("steps")))]

    assert running
    for job in running:
        versions = next(
            step["with"]["python-version"] for step in job["steps"] if "python" in step.get("uses", "")
        )
        assert versions.split() == [runtime, "3.11"]


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


def test_the_bot_is_asked_about_every_folder_of_pins() -> None:
    """Those of another would grow old unseen."""
    asked = {
        (update["package-ecosystem"], folder)
        for update in yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
        for folder in update.get("directories") or [update["directory"]]
    }
    there = {
        (kind, f"/{path.parent.relative_to(ROOT)}".removesuffix("."))
        for pattern, kind in PINS.items()
        for path in ROOT.rglob(pattern)
        # Not what was installed or built, whose folders are at the root.
        if not path.relative_to(ROOT).parts[0].startswith((".", "node_modules", "cdk.out"))
    }

    assert asked == there | {("github-actions", "/")}


def test_no_deployment_is_cut_off() -> None:
    """A newer one waits: CloudFormation goes on with what was begun, whoever watched it."""
    assert workflow("deploy.yml")["concurrency"]["cancel-in-progress"] is False

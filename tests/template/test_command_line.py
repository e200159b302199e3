"""`cdk synth` as people and CI run it: the real command, without credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.template.given import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CDK = ROOT / "node_modules/.bin/cdk"


def run(home: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command at the root as on a machine that has never heard of AWS."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    clean |= {
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20",
    }
    return subprocess.run(
        command, cwd=ROOT, env=clean | variables, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(not CDK.exists(), reason="the CDK command line is not installed (make setup)")
def test_synth_without_credentials(tmp_path: Path) -> None:
    """The production stage, with the layers really built and CloudFormation's own validation on."""
    result = run(
        tmp_path,
        str(CDK),
        *("synth", "--quiet", "--output", str(tmp_path / "cdk.out")),
        *("-c", "stage=prod", "-c", "new_cluster=serverless", "-c", "byte_code=optional"),
    )

    assert result.returncode == 0, result.stderr
    made = sorted(path.name for path in (tmp_path / "cdk.out").glob("*.template.json"))
    assert made == [
        f"ras-prod-{part}.template.json"
        for part in ("api", "client", "data", "ingest", "msk", "network", "operations")
    ]
    manifest = json.loads((tmp_path / "cdk.out/manifest.json").read_text())
    assert "missing" not in manifest
    assert "eu-north-1" in manifest["artifacts"]["ras-prod-data"]["environment"]


def test_wrong_setting_ends_the_app_with_one_sentence(tmp_path: Path) -> None:
    """No traceback: the setting's name, its value, what is allowed."""
    result = run(tmp_path, sys.executable, "app.py", CDK_CONTEXT_JSON=json.dumps({"mapping_mode": "lazy"}))

    assert result.returncode == 1
    assert result.stderr == "setting 'mapping_mode': 'lazy': Input should be 'provisioned' or 'on_demand'\n"


def test_destroy_wants_a_stage_and_a_stack(tmp_path: Path) -> None:
    """Nothing is destroyed by leaving something out; what is asked for is destroyed of that stage only."""
    for given, told in (
        (["STACK=operations"], "say which STAGE"),
        (["STAGE=prod"], "say which STACK"),
    ):
        refused = run(tmp_path, "make", "--dry-run", "destroy", *given)
        assert refused.returncode != 0
        assert told in refused.stderr

    for target in ("synth", "diff", "deploy", "destroy"):
        for other in ("-c stage=prod", '-c "stage=prod"', "--context  stage=prod", "--context=stage=prod"):
            refused = run(
                tmp_path, "make", "--dry-run", target, "STAGE=dev", "STACK=all", f"ARGS=-c retries=5 {other}"
            )
            assert refused.returncode != 0
            assert "say the stage by STAGE alone" in refused.stderr
    page = "ARGS=-c runbook_url=https://wiki/?stage=prod"
    assert run(tmp_path, "make", "--dry-run", "deploy", "STAGE=prod", page).returncode == 0

    one = run(tmp_path, "make", "--dry-run", "destroy", "STAGE=prod", "STACK=operations").stdout
    every = run(tmp_path, "make", "--dry-run", "destroy", "STAGE=prod", "STACK=all").stdout
    assert "cdk destroy ras-prod-operations" in one
    assert "cdk destroy --all" in every
    assert "-c stage=prod -c byte_code=optional -c new_cluster=serverless" in one
    assert "-c stage=prod -c byte_code=optional -c new_cluster=serverless" in every

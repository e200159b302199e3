"""What the settings of tests name in AWS; importing this loads no CDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("local", "dev", "staging", "prod")

ACCOUNT = "111122223333"
REGION = "eu-north-1"
CLUSTER_ARN = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/platform/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-2"

# What a stage has to be told beside its name: these two say which cluster is meant.
NEW_CLUSTER = {stage: {"new_cluster": "serverless"} for stage in ("staging", "prod")}

GIVEN_VPC = json.dumps(
    {
        "vpc_id": "vpc-0a1b2c3d",
        "cidr": "10.20.0.0/16",
        "subnet_ids": ["subnet-0a1b2c3d", "subnet-1a1b2c3d"],
        "route_table_ids": ["rtb-0a1b2c3d"],
    }
)


def context() -> dict[str, Any]:
    """The context that `cdk.json` gives every synthesis, feature flags among it."""
    read: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return read

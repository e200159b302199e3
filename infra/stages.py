"""The stages, each by what it has otherwise than the settings' defaults."""

import platform
import sys
from typing import Any, Literal

from infra.setting_types import StageName

# Every emulator answers for this account.
LOCAL_ACCOUNT = "000000000000"

_MACHINE: dict[str, Literal["arm64", "x86_64"]] = {"aarch64": "arm64", "arm64": "arm64"}


def preset(stage: StageName, region: str) -> dict[str, Any]:
    """The values that a stage gives where nobody says another."""
    match stage:
        case "local":
            return {
                "account": LOCAL_ACCOUNT,
                # Functions run in the emulator's own interpreter, which `make setup` makes from this one.
                "runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
                "architecture": _MACHINE.get(platform.machine(), "x86_64"),
                "functions_on_host": True,
                # No emulator has a cluster or a VPC: mappings name a placeholder, which the local poller serves.
                "cluster_arn": f"arn:aws:kafka:{region}:{LOCAL_ACCOUNT}:cluster/ras-local/{'0' * 8}-local-1",
                "private_network": False,
                "restrict_to_vpc_endpoint": False,
                "tls_only": False,
                # No emulated function is restored from a snapshot, and the emulator refuses alarms over several metrics.
                "snap_start": False,
                "own_key": False,
                "operations": False,
                "api_log_role": False,
                "api_access_logs": False,
                "tracing": False,
                "deletion_protection": False,
                "removal_policy": "destroy",
                "log_retention_days": 1,
                "dead_letter_days": 1,
            }
        case "dev":
            return {
                "new_cluster": "serverless",
                "deletion_protection": False,
                "removal_policy": "destroy",
                "log_level": "DEBUG",
                "log_retention_days": 7,
                "dead_letter_days": 14,
            }
        case "staging":
            return _KEEPING_DATA | {"availability_zones": _zones(region)}
        case "prod":
            return _KEEPING_DATA | {
                "availability_zones": _zones(region),
                "log_retention_days": 90,
                "dead_letter_days": 365,
            }


_KEEPING_DATA: dict[str, Any] = {"byte_code": "required"}


def _zones(region: str) -> int:
    """A broker in each of three zones can be lost; MSK takes two subnets only in one region (its developer guide, on creating a cluster)."""
    return 2 if region == "us-west-1" else 3

"""What a SnapStart snapshot may hold: one is taken of a started function, and many environments are restored from it.

A client and the code behind it may be in it, which is what makes a restore fast. These may not:
- connections (they would be dead): making a client opens none, the first call does;
- credentials for good: botocore keeps them with their expiry and asks again after it, by the wall clock;
- random numbers that should differ (every copy would draw the same pauses between retries): `random` is seeded
  again after a restore. Correlation ids are `uuid4`, which draws from the kernel, and it seeds itself;
- answers: neither the health nor anything read from the table is kept between requests, in any function.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def is_taken() -> bool:
    """Whether Lambda starts this process to take a snapshot of it."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def prepare(build: Callable[[], object]) -> None:
    """Do now what the first request would do otherwise, and see to it that the copies differ where they should."""
    # Part of Lambda's runtime, and only there.
    from snapshot_restore_py import register_after_restore

    build()
    register_after_restore(random.seed)

"""A process that polls until it is told to end."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .poller import Poller


def log_to_standard_output() -> None:
    """Everything from INFO on, a line each with its time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)


def run_until_terminated(poller: Poller) -> NoReturn:
    """Poll until SIGTERM or SIGINT, then end the process with 0, once what was being delivered is committed."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    poller.run(stopping)
    logging.shutdown()
    # The clients of groups that were never joined are left as they are: closing them would wait for the broker.
    os._exit(0)

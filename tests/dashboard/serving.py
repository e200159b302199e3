"""A dashboard that listens, in a thread of this process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ras.dashboard import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras.dashboard.request_guard import Access
    from ras.dashboard.web import Opener


@contextmanager
def serving(opener: Opener, access: Access | None = None) -> Iterator[str]:
    """Its address, without the last slash; without `access` it answers whoever asks."""
    listening = serve.listen()
    started = threading.Event()
    server = serve.server(opener, listening, access, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not started.wait(0.1):
            assert thread.is_alive(), "the dashboard ended while it was starting"
        yield serve.address(listening).rstrip("/")
    finally:
        server.should_exit = True
        while thread.is_alive():
            time.sleep(0.01)

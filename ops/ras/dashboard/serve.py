"""Serving the dashboard on 127.0.0.1.

`python -m ras.dashboard.serve STATE_FOLDER ADDRESS_FILE` is a process of the stack on this machine: it writes its
address once it listens, and waits for the stack to be up with its first request.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from ras.dashboard import PORT
from ras.dashboard.data_source import Reopened
from ras.dashboard.web import create
from ras.environment import number
from ras.errors import SettingError
from ras.state import StateDir, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras.dashboard.web import Opener


def listen(wish: int = 0) -> socket.socket:
    """A socket on the wished port, else on RAS_DASHBOARD_PORT, else on PORT or any free one.

    Raises OperatorError where the port that somebody named is taken.
    """
    wish = wish or number("RAS_DASHBOARD_PORT", 0)
    for port in (wish,) if wish else (PORT, 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            listening.close()
            continue
        listening.listen(128)
        return listening
    raise SettingError(f"port {wish} is taken or not a port", "Choose another.")


def address(listening: socket.socket) -> str:
    """The dashboard's address on this socket."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}/"


def serve(opener: Opener, listening: socket.socket, on_start: Callable[[], None] = lambda: None) -> NoReturn:
    """Answer until SIGTERM or Ctrl-C, which end the process. `on_start` is called once requests are answered."""
    status = 0
    # A shell's background job is started deaf to it; uvicorn hears it all the same, and would end as if nothing had been said.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        server(opener, listening, on_start).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn passes on what it was told
        status = 130
    # The interpreter would wait for threads that wait for AWS; they hold nothing that needs an orderly end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class _Server(uvicorn.Server):
    on_start: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_start()


def server(
    opener: Opener, listening: socket.socket, on_start: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """The server, not yet running."""
    made = _Server(
        uvicorn.Config(
            create(opener, port=listening.getsockname()[1]),
            access_log=False,
            log_level="warning",
            loop="asyncio",
            http="h11",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )
    made.on_start = on_start
    return made


def main(arguments: list[str]) -> None:
    folder, address_file = (Path(argument) for argument in arguments)
    listening = listen()
    serve(
        Reopened(StateDir(folder)),
        listening,
        lambda: write_private(address_file, address(listening)),
    )


if __name__ == "__main__":
    main(sys.argv[1:])

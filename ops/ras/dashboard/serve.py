"""Serving the dashboard on 127.0.0.1.

`python -m ras.dashboard.serve STATE_FOLDER ADDRESS_FILE` is a process of the stack on this machine: it writes its
address once it listens, and waits for the stack to be up with its first request.
"""

from __future__ import annotations

import html
import os
import signal
import socket
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import uvicorn

from ras.dashboard import PORT
from ras.dashboard.data_source import Reopened
from ras.dashboard.request_guard import TOKEN_FIELD, Access
from ras.dashboard.web import create
from ras.environment import number
from ras.errors import SettingError
from ras.state_folder import StateDir, write_private

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


def address(listening: socket.socket, access: Access | None = None) -> str:
    """The dashboard's address on this socket, with the secret that lets in whoever opens it."""
    token = f"?{TOKEN_FIELD}={access.token}" if access else ""
    return f"http://127.0.0.1:{listening.getsockname()[1]}/{token}"


def open_in_browser(address: str, state: StateDir) -> None:
    """Open an address in the browser by a file that leads there.

    A browser's arguments can be read by every account of the machine, and the address holds a secret.
    """
    page = state.root / "dashboard.html"
    state.root.mkdir(parents=True, exist_ok=True)
    write_private(page, f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(address)}">')
    webbrowser.open(page.as_uri())


def serve(
    opener: Opener,
    listening: socket.socket,
    access: Access | None,
    on_start: Callable[[], None] = lambda: None,
) -> NoReturn:
    """Answer until SIGTERM or Ctrl-C, which end the process. `on_start` is called once requests are answered."""
    status = 0
    # A shell's background job is started deaf to it; uvicorn hears it all the same, and would end as if nothing had been said.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        server(opener, listening, access, on_start).run(sockets=[listening])
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
    opener: Opener,
    listening: socket.socket,
    access: Access | None,
    on_start: Callable[[], None] = lambda: None,
) -> uvicorn.Server:
    """The server, not yet running."""
    made = _Server(
        uvicorn.Config(
            create(opener, port=listening.getsockname()[1], access=access),
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
    listening, access = listen(), Access()
    serve(
        Reopened(StateDir(folder)),
        listening,
        access,
        lambda: write_private(address_file, address(listening, access)),
    )


if __name__ == "__main__":
    main(sys.argv[1:])

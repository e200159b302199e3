"""Fetch the servers that tests and benchmarks run against, or renew their pins: `python -m ras_local.servers.fetch --help`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ras import interrupts
from ras.errors import OperatorError

from ras_local.servers import fetched, java_servers, rust_servers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def names() -> list[str]:
    """Every pinned server."""
    return sorted(path.name for path in fetched.PINS.iterdir() if path.is_dir())


def fetch(name: str) -> Path:
    """Fetch a server if it is not there yet; its jars' folder or its program.

    Raises OperatorError when a tool is missing or fails.
    """
    return rust_servers.fetch(name) if rust_servers.is_pinned(name) else java_servers.fetch(name)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ras_local.servers.fetch", description=__doc__)
    parser.add_argument("server", nargs="*", help=f"by default all of: {', '.join(names())}")
    parser.add_argument(
        "--lock",
        action="store_true",
        help="write the hashes of a Java server's jars anew, after a change of its pom.xml",
    )
    options = parser.parse_args(arguments)
    wanted: list[str] = options.server or names()
    if unknown := sorted(set(wanted) - set(names())):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(names())}")
    interrupts.end_as_interrupted()
    failed = False
    for name in wanted:
        try:
            if options.lock and not rust_servers.is_pinned(name):
                java_servers.lock(name)
            elif not options.lock:
                print(f"{name}: {fetch(name)}")
        except OperatorError as error:
            failed = True
            print(f"{error.message}\n{error.advice}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

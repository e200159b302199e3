"""Where the `ras` command starts: before its imports, which take most of a second.

So that Ctrl-C ends it quietly from the first moment on, and so that an operator's environment does not decide how it
reaches this machine or what its output can hold.
"""

from __future__ import annotations

import codecs
import os
import signal
import sys

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main() -> None:
    """Run the command that the arguments name, and exit."""
    # Nothing has begun that would have to be cleaned up: an exception could only end in some import's traceback.
    before = signal.signal(signal.SIGINT, _end)
    prepare()
    from ras.cli import main as command

    signal.signal(signal.SIGINT, before)
    command()


def prepare() -> None:
    """Make the process's environment and its outputs such as the commands, and what they start, can work with."""
    for name in ("no_proxy", "NO_PROXY"):
        # The lower case decides where there are both. Servers on this machine are reached without a proxy.
        given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        missing = [one for one in _LOOPBACK if one not in given.split(",")]
        os.environ[name] = ",".join([*filter(None, [given]), *missing])
    codecs.register_error("ras.escaped", _escaped)
    for stream in (sys.stdout, sys.stderr):
        # As JSON writes them: JSON stays JSON. A test's or a caller's stream may be another.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="ras.escaped")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def _end(*_: object) -> None:
    os._exit(130)

"""Servers written in Rust: built once by cargo from crates.io, and kept in this project's own folder.

A server is a folder under `localstack/servers/` with a `crate.toml`: crate, exact version, features, the program that
comes of it, and the oldest Rust release that builds it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ras.errors import FailedError, NotInstalledError

from ras_local.servers import fetched

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT_S = 1800
"""For so long a build may take: about 4 minutes on two idle cores."""


@dataclass(frozen=True)
class Crate:
    """The contents of a `crate.toml`; `rust` is a release such as `1.88`."""

    name: str
    version: str
    features: list[str]
    program: str
    rust: str


def is_pinned(name: str) -> bool:
    """Whether there is a server of this name that cargo builds."""
    return _pins(name).exists()


def missing(name: str) -> str:
    """What this machine lacks to run a server, in words; empty when it lacks nothing."""
    if _folder(name).exists():
        return ""
    if shutil.which("cargo") is None:
        return "no cargo on the path"
    oldest, found = _crate(name).rust, _release()
    if _numbers(found) < _numbers(oldest):
        return f"Rust is release {found or 'unknown'}, {oldest} or newer is needed"
    return ""


def fetch(name: str) -> Path:
    """The program of a server, built if it was not yet (minutes, once).

    Raises OperatorError when cargo or a new enough Rust is missing, or the build fails.
    """
    if lacking := missing(name):
        raise NotInstalledError(
            f"{name} cannot be built here: {lacking}",
            f"Install Rust {_crate(name).rust} or newer (https://rustup.rs), which brings cargo.",
        )
    crate = _crate(name)
    return fetched.once(_folder(name), lambda folder: _build(crate, folder)) / "bin" / crate.program


def _build(crate: Crate, folder: Path) -> None:
    print(
        f"building {crate.name} {crate.version} with cargo, once: some minutes", file=sys.stderr, flush=True
    )
    command = [
        "cargo",
        "install",
        crate.name,
        f"--version={crate.version}",
        "--locked",
        "--no-default-features",
    ]
    command += [f"--features={','.join(crate.features)}", f"--root={folder}"]
    # On a terminal cargo shows its own progress.
    shown = sys.stderr.isatty()
    target = folder.parent / "target"
    try:
        done = subprocess.run(
            command,
            # What is compiled on the way goes with the scratch folder.
            env={**os.environ, "CARGO_TARGET_DIR": str(target)},
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"cargo took over {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise FailedError("cargo failed", "\n".join((done.stdout or "").splitlines()[-15:]))
    if not (folder / "bin" / crate.program).exists():
        raise FailedError(
            f"cargo built no program {crate.program}", "`program` in crate.toml is not one of the crate's."
        )


def _pins(name: str) -> Path:
    return fetched.PINS / name / "crate.toml"


def _crate(name: str) -> Crate:
    read: dict[str, Any] = tomllib.loads(_pins(name).read_text(encoding="utf-8"))
    return Crate(**read)


def _folder(name: str) -> Path:
    return fetched.folder(name, [_pins(name)])


@cache
def _release() -> str:
    """The release of the compiler that cargo uses, for example 1.88.0; empty when there is none."""
    try:
        answer = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    found = re.match(r"rustc (\d+(?:\.\d+)+)", answer.stdout)
    return found[1] if found else ""


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".") if part)

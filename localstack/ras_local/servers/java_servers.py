"""Servers that run on Java: their jars from Maven Central, fetched once, and the command lines that start them.

A server is a folder under `localstack/servers/`: a `pom.xml` that pins exact versions, and `jars.sha256` with the hash
of every jar that comes of it. What is fetched is kept as `ras_local.servers.fetched` says.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ras.errors import FailedError, NotInstalledError

from ras_local.servers import fetched

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKSUMS = "jars.sha256"

OLDEST = 17
"""The Java release that Kafka's brokers need at least, since 4.0."""

TIMEOUT_S = 600

_ADVICE = f"Install a JDK {OLDEST} or newer and Maven 3.6.3 or newer (Debian: apt install default-jdk-headless maven)."


def missing(name: str) -> str:
    """What this machine lacks to run a server, in words; empty when it lacks nothing."""
    if _java() is None:
        return "no java on the path"
    if _release() < OLDEST:
        return f"java is release {_release()}, {OLDEST} or newer is needed"
    if _folder(name).exists():
        return ""
    return "" if _tool("mvn") else "no mvn"


def fetch(name: str) -> Path:
    """The folder with a server's jars, fetched if it is not there yet (some seconds, 50 MB).

    Raises OperatorError when a tool is missing, Maven fails, or a jar is not the one that was pinned.
    """
    if lacking := missing(name):
        raise NotInstalledError(f"{name} cannot run here: {lacking}", _ADVICE)

    def fill(folder: Path) -> None:
        _download(name, folder)
        _verify(name, folder)

    return fetched.once(_folder(name), fill)


def command(
    name: str,
    main: str,
    arguments: Sequence[str],
    *,
    heap_mb: int,
    options: Sequence[str] = (),
    classes: Sequence[Path] = (),
) -> list[str]:
    """The command line that runs a class of a fetched server, in a JVM made for small and quick rather than for days.

    `classes` are folders with more classes, which come after the server's. Raises OperatorError as `fetch` does.
    """
    folder = fetch(name)
    return [
        str(_java()),
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        # Without it every JVM leaves a file in the machine's temporary folder when it is killed.
        "-XX:-UsePerfData",
        # So that what listens on the loopback address says so, and not its IPv6 form.
        "-Djava.net.preferIPv4Stack=true",
        *options,
        "-classpath",
        os.pathsep.join(map(str, (folder, folder / "*", *classes))),
        main,
        *arguments,
    ]


def compile_sources(sources: Sequence[Path], folder: Path, *, server: Path) -> None:
    """Compile Java sources into a folder, against the jars of the server fetched to `server`.

    Raises OperatorError when there is no javac, or it fails.
    """
    classpath = ["-classpath", str(server / "*"), "-d", str(folder)]
    _run("javac", [*classpath, *map(str, sources)])


def _folder(name: str) -> Path:
    return fetched.folder(name, [fetched.PINS / name / pins for pins in ("pom.xml", CHECKSUMS)])


def _download(name: str, folder: Path) -> None:
    _run(
        "mvn",
        [
            "--quiet",
            "--batch-mode",
            "--strict-checksums",
            f"--file={fetched.PINS / name / 'pom.xml'}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            # Native libraries come as files of their own too, but the server carries them inside its jars.
            "-DincludeTypes=jar",
            f"-DoutputDirectory={folder}",
        ],
    )


def _checksums(folder: Path) -> dict[str, str]:
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in sorted(folder.glob("*.jar"))}


def _verify(name: str, folder: Path) -> None:
    pinned: dict[str, str] = {}
    for line in (fetched.PINS / name / CHECKSUMS).read_text().splitlines():
        checksum, jar = line.split()
        pinned[jar] = checksum
    found = _checksums(folder)
    wrong = sorted({jar for jar, _ in pinned.items() ^ found.items()})
    if wrong:
        raise FailedError(
            f"{name}: not the pinned jars: {', '.join(wrong)}",
            f"If {name}'s pom.xml was changed on purpose, run `make lock-servers`.",
        )


def lock(name: str) -> None:
    """Write the hashes of what Maven gives now. Raises OperatorError as `fetch` does."""
    with tempfile.TemporaryDirectory() as scratch:
        _download(name, Path(scratch))
        lines = [f"{checksum}  {jar}\n" for jar, checksum in _checksums(Path(scratch)).items()]
    (fetched.PINS / name / CHECKSUMS).write_text("".join(lines))


def _tool(name: str) -> str | None:
    """A tool of the JDK that JAVA_HOME names, else of the path."""
    home = os.environ.get("JAVA_HOME")
    return (shutil.which(name, path=str(Path(home) / "bin")) if home else None) or shutil.which(name)


def _java() -> str | None:
    return _tool("java")


@cache
def _release() -> int:
    """Java's release, for example 17; 0 when it does not say."""
    answer = subprocess.run([str(_java()), "-version"], capture_output=True, text=True, check=False)
    # Before release 9 the first number was a 1.
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(found[1]) if found else 0


def _run(tool: str, arguments: Sequence[str]) -> None:
    program = _tool(tool)
    if program is None:
        raise NotInstalledError(f"{tool} is not installed", _ADVICE)
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"{tool} took over {TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise FailedError(f"{tool} failed", "\n".join(done.stdout.splitlines()[-15:]))

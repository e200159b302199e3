"""Fetching servers that run on Java, with a Java, a compiler and a Maven that only pretend."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from ras.errors import OperatorError
from ras_local.servers import fetch, fetched, java_servers

from tests.local.pretended import install, left_behind, no_tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JAR = b"the jar\n"
# Puts one jar where it is told, and a mark beside itself for every time it ran.
MAVEN = """
echo ran >> "$0.ran"
for argument; do
  case "$argument" in -DoutputDirectory=*) printf 'the jar\\n' > "${argument#*=}/thing-1.jar";; esac
done
"""


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder on the path, empty; and a server `thing` of one jar that was never fetched."""
    folder = no_tools(tmp_path, monkeypatch)
    source = fetched.PINS / "thing"
    source.mkdir(parents=True)
    (source / "pom.xml").write_text("<project/>")
    (source / java_servers.CHECKSUMS).write_text(f"{hashlib.sha256(JAR).hexdigest()}  thing-1.jar\n")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java_servers._release.cache_clear()
    yield folder
    java_servers._release.cache_clear()


def install_java(folder: Path, version: str = "17.0.15") -> None:
    install(folder, "java", f"""echo 'openjdk version "{version}" 2025-04-15' >&2""")


def test_a_server_is_fetched_once(tools: Path) -> None:
    """Maven runs the first time; after that neither it nor a network is needed."""
    install_java(tools)
    install(tools, "mvn", MAVEN)
    folder = java_servers.fetch("thing")
    assert (folder / "thing-1.jar").read_bytes() == JAR

    (tools / "mvn").unlink()
    assert java_servers.fetch("thing") == folder
    assert (tools / "mvn.ran").read_text() == "ran\n"


def test_another_pom_is_another_folder(tools: Path) -> None:
    """A changed pin is fetched anew, and the old jars stay for who still needs them."""
    install_java(tools)
    install(tools, "mvn", MAVEN)
    first = java_servers.fetch("thing")
    (fetched.PINS / "thing" / "pom.xml").write_text("<project><!-- newer --></project>")

    assert java_servers.fetch("thing") != first
    assert first.exists()


def test_a_jar_that_was_not_pinned_is_refused(tools: Path) -> None:
    """Whatever Maven brings must be what was written down; nothing of the rest is kept."""
    install_java(tools)
    install(tools, "mvn", MAVEN.replace("the jar", "another jar"))

    with pytest.raises(OperatorError, match=r"not the pinned jars: thing-1\.jar"):
        java_servers.fetch("thing")
    assert left_behind() == []


def test_writing_the_hashes_down_makes_it_the_pinned_one(tools: Path) -> None:
    """`--lock` writes what Maven brings today in the format of sha256sum."""
    install_java(tools)
    install(tools, "mvn", MAVEN.replace("the jar", "another jar"))
    assert fetch.main(["--lock", "thing"]) == 0

    digest = hashlib.sha256(b"another jar\n").hexdigest()
    assert (fetched.PINS / "thing" / java_servers.CHECKSUMS).read_text() == f"{digest}  thing-1.jar\n"
    assert (java_servers.fetch("thing") / "thing-1.jar").exists()


def test_what_maven_says_is_passed_on(tools: Path) -> None:
    """Without a network, for example; nothing half fetched stays."""
    install_java(tools)
    install(tools, "mvn", "echo no route to host; exit 1")

    with pytest.raises(OperatorError, match="mvn failed") as raised:
        java_servers.fetch("thing")
    assert "no route to host" in raised.value.advice
    assert left_behind() == []


def test_what_is_missing_is_named(tools: Path) -> None:
    """First Java, then its release, then the tools that fetching needs."""
    assert java_servers.missing("thing") == "no java on the path"
    install_java(tools, "11.0.2")
    assert java_servers.missing("thing") == "java is release 11, 17 or newer is needed"
    install_java(tools)
    java_servers._release.cache_clear()
    assert java_servers.missing("thing") == "no mvn"
    with pytest.raises(OperatorError, match="no mvn") as raised:
        java_servers.command("thing", "Main", [], heap_mb=1)
    assert "Install a JDK" in raised.value.advice


def test_the_jars_are_on_the_class_path(tools: Path) -> None:
    """A server's classes are found in its jars."""
    install_java(tools)
    install(tools, "mvn", MAVEN)
    folder = java_servers.fetch("thing")

    command = java_servers.command("thing", "Main", ["-x"], heap_mb=64)
    assert f"{folder}:{folder}/*" in command
    assert command[-2:] == ["Main", "-x"]


def test_java_home_comes_before_the_path(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several are installed, the user's choice counts."""
    install_java(tools, "11")
    install_java(tmp_path / "jdk" / "bin", "21")
    install(tools, "mvn", MAVEN)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))

    assert java_servers.command("thing", "Main", [], heap_mb=64)[0] == str(tmp_path / "jdk" / "bin" / "java")

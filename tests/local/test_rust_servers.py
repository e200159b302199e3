"""Building servers that are written in Rust, with a cargo and a compiler that only pretend."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from ras.errors import OperatorError
from ras_local.servers import fetch, fetched, rust_servers

from tests.local.pretended import install, left_behind, no_tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PINS = """
name = "thing-rs"
version = "1.2.3"
features = ["http", "memory"]
program = "thing"
rust = "1.88"
"""

# Like cargo it builds the newest release with the newest dependencies and the default features, unless it is told
# otherwise. The program that it makes says what it was built from. It leaves a mark beside itself for every time it ran.
CARGO = """
echo ran >> "$0.ran"
crate=$2 version=newest dependencies=newest features=default,
for argument; do
  case "$argument" in
    --version=*) version=${argument#*=};;
    --locked) dependencies=locked;;
    --no-default-features) features=;;
    --features=*) features=$features${argument#*=};;
    --root=*) root=${argument#*=};;
  esac
done
/bin/mkdir -p "$root/bin" "$CARGO_TARGET_DIR"
echo rubble > "$CARGO_TARGET_DIR/thing.o"
echo "$1 $crate $version $dependencies $features" > "$root/bin/thing"
"""


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder on the path, empty; and a server `thing` that was never built."""
    folder = no_tools(tmp_path, monkeypatch)
    (fetched.PINS / "thing").mkdir(parents=True)
    (fetched.PINS / "thing" / "crate.toml").write_text(PINS)
    rust_servers._release.cache_clear()
    yield folder
    rust_servers._release.cache_clear()


def install_rust(folder: Path, release: str = "1.95.0", cargo: str = CARGO) -> None:
    install(folder, "rustc", f"echo 'rustc {release} (0123456789 2026-04-14)'")
    install(folder, "cargo", cargo)


def test_a_server_is_built_once(tools: Path) -> None:
    """cargo runs the first time; after that neither it nor a compiler is needed."""
    install_rust(tools)
    program = rust_servers.fetch("thing")
    assert program.exists()

    for tool in ("cargo", "rustc"):
        (tools / tool).unlink()
    rust_servers._release.cache_clear()
    assert rust_servers.fetch("thing") == program
    assert (tools / "cargo.ran").read_text() == "ran\n"


def test_what_is_pinned_is_what_is_built(tools: Path) -> None:
    """The pinned release with the dependencies of its own lock file, and no feature but those that are pinned."""
    install_rust(tools)

    assert rust_servers.fetch("thing").read_text() == "install thing-rs 1.2.3 locked http,memory\n"


def test_another_pin_is_built_anew(tools: Path) -> None:
    """The old program stays for who still needs it."""
    install_rust(tools)
    first = rust_servers.fetch("thing")
    (fetched.PINS / "thing" / "crate.toml").write_text(PINS.replace("1.2.3", "1.2.4"))

    assert " 1.2.4 " in rust_servers.fetch("thing").read_text()
    assert " 1.2.3 " in first.read_text()


def test_nothing_of_the_build_stays(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled dependencies are hundreds of megabytes; the user's own folder for them is not used either."""
    monkeypatch.setenv("CARGO_TARGET_DIR", str(tmp_path / "own"))
    install_rust(tools)
    program = rust_servers.fetch("thing")

    assert left_behind() == [program.parent.parent.name]
    assert not (tmp_path / "own").exists()


def test_without_cargo_it_says_what_to_install() -> None:
    """And what of it is missing."""
    with pytest.raises(OperatorError, match="thing cannot be built here: no cargo on the path") as raised:
        rust_servers.fetch("thing")

    assert "Install Rust 1.88 or newer" in raised.value.advice


@pytest.mark.parametrize(
    ("release", "answer"),
    [
        ("1.80.1", "Rust is release 1.80.1, 1.88 or newer is needed"),
        ("1.9.0", "Rust is release 1.9.0, 1.88 or newer is needed"),
        ("1.88.0", ""),
        ("1.100.0", ""),
        ("2.0.0", ""),
        ("1.88.0-nightly", ""),
    ],
)
def test_a_release_that_is_too_old_is_named(tools: Path, release: str, answer: str) -> None:
    """With the oldest that will do. Releases are compared by their numbers: 1.9 is older than 1.88."""
    install_rust(tools, release)

    assert rust_servers.missing("thing") == answer


@pytest.mark.parametrize("compiler", ["", "echo no toolchain is installed >&2; exit 1"])
def test_a_cargo_without_a_compiler_is_not_enough(tools: Path, compiler: str) -> None:
    """As rustup leaves it before a toolchain is chosen."""
    install(tools, "cargo", CARGO)
    if compiler:
        install(tools, "rustc", compiler)

    with pytest.raises(OperatorError, match=r"Rust is release unknown, 1\.88 or newer is needed"):
        rust_servers.fetch("thing")


def test_what_cargo_says_is_passed_on(tools: Path) -> None:
    """Its last lines, where the error is; nothing half built stays, and the next attempt builds."""
    failing = (
        CARGO + "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); done; echo no route >&2; exit 101"
    )
    install_rust(tools, cargo=failing)
    with pytest.raises(OperatorError, match="cargo failed") as raised:
        rust_servers.fetch("thing")
    assert raised.value.advice.splitlines()[-2:] == ["line 39", "no route"]
    assert "line 0\n" not in raised.value.advice
    assert left_behind() == []

    install_rust(tools)
    assert rust_servers.fetch("thing").exists()


def test_a_build_without_the_program_is_not_kept(tools: Path) -> None:
    """As after a wrong `program` in the pins: the next one builds again."""
    install_rust(tools, cargo="exit 0")

    with pytest.raises(OperatorError, match="no program thing"):
        rust_servers.fetch("thing")
    assert left_behind() == []


def test_two_that_want_it_build_it_once(tools: Path) -> None:
    """The second waits for the first."""
    install_rust(tools, cargo=f"{CARGO}\n/bin/sleep 0.3")
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(rust_servers.fetch("thing"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (tools / "cargo.ran").read_text() == "ran\n"
    assert len(found) == 2
    assert len(set(found)) == 1


def test_the_command_prints_where_it_is(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name every pinned server is fetched."""
    install_rust(tools)
    assert fetch.main([]) == 0

    assert capsys.readouterr().out == f"thing: {rust_servers.fetch('thing')}\n"


def test_the_command_says_what_is_missing(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that cannot be fetched does not keep the others from being fetched, but the command fails."""
    (fetched.PINS / "a-jar").mkdir()
    for pins in ("pom.xml", "jars.sha256"):
        (fetched.PINS / "a-jar" / pins).touch()
    install_rust(tools)
    assert fetch.main([]) == 1

    printed = capsys.readouterr()
    assert "a-jar cannot run here: no java on the path\nInstall a JDK" in printed.err
    assert printed.out.startswith("thing: ")


def test_an_unknown_server_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """It names those that there are."""
    with pytest.raises(SystemExit) as raised:
        fetch.main(["thing", "thong"])

    assert raised.value.code == 2
    assert "unknown: thong; there are thing" in capsys.readouterr().err


def test_its_pins_are_not_renewed_with_the_jars(tools: Path) -> None:
    """`--lock` is for Java servers: a crate brings its own lock file."""
    assert fetch.main(["--lock"]) == 0

    assert (fetched.PINS / "thing" / "crate.toml").read_text() == PINS
    assert not (tools / "cargo.ran").exists()

"""The runbook and the upgrades' page: every section answers the same questions, every command exists."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from ras.cli import main

from infra.settings import Settings
from tests.template.given import ROOT

RUNBOOK = ROOT / "docs/runbook.md"
SECTIONS = dict(
    re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), flags=re.MULTILINE | re.DOTALL)
)
UPGRADES = (ROOT / "docs/upgrades.md").read_text()
COMMANDS = [
    (section, command)
    for section, text in SECTIONS.items()
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    for command in block.splitlines()
    if command.startswith("ras ")
]


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_say_what_why_and_what_to_do(section: str) -> None:
    """Whoever is woken finds the same three answers in each, with commands of this project."""
    for heading in ("**What it means.**", "**See why.**", "**Do.**"):
        assert heading in SECTIONS[section]
    assert any(where == section for where, _ in COMMANDS)


@pytest.mark.parametrize(("section", "command"), COMMANDS)
def test_commands_of_the_runbook_parse(section: str, command: str) -> None:  # noqa: ARG001 - names the example
    """Commands, options and their values exist as written."""
    parse(command)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^ras [^#\n]+", UPGRADES, re.MULTILINE))))
def test_commands_of_the_upgrades_parse(command: str) -> None:
    """As those of the runbook."""
    parse(command)


def test_deployments_of_the_upgrades_are_settings() -> None:
    """Each `-c` of docs/upgrades.md, and each of its table, is a setting."""
    named = re.findall(r"-c ([a-z_]+)=", UPGRADES) + re.findall(r"\b([a-z]+_[a-z_]+)=\w", UPGRADES)

    assert named
    assert set(named) <= set(Settings.model_fields)


@pytest.mark.parametrize(
    "command",
    [
        "ras dead-letter list",
        "ras dead-letters list --kind lost",
        "ras replay --via broker",
        "ras query",
        "ras up now",
    ],
)
def test_parsing_sees_wrong_commands(command: str) -> None:
    """The check above does fail."""
    with pytest.raises(click.UsageError):
        parse(command)


def parse(line: str) -> None:
    """Parse a command line of `ras` as click does before it runs anything. Raises UsageError."""
    name, *words = shlex.split(line)
    command: click.Command = main
    context = command.make_context(name, words)
    while isinstance(command, click.Group):
        found_name, found, words = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(found_name, words, parent=context)

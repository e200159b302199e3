"""What a benchmark found: printed, and written to `.build/bench/<name>.json` and `<name>.svg`, with the machine named."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import psutil
from ras.state_folder import REPOSITORY
from ras.terminal import console
from ras.terminal import table as printed_table

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = REPOSITORY / ".build" / "bench"

Cell = str | int | float | None


@dataclass
class Table:
    """A table of results. `name` is what other benchmarks and the page know it by; a cell that is None was not measured."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    note: str = ""


@dataclass
class Report:
    """A whole run. `command` makes it again; `left_out` says what could not run here, and what to install for it."""

    name: str
    command: str
    tables: list[Table] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    data: dict[str, Any] = field(default_factory=dict)
    """What other benchmarks compute with, unrounded."""

    def write(self) -> None:
        """Print the tables and write everything as JSON."""
        out = console()
        for made in self.tables:
            shown = printed_table(*made.columns, numbers=tuple(made.columns[1:]))
            for row in made.rows:
                shown.add_row(*(text(cell) for cell in row))
            out.print(f"\n{made.title}")
            out.print(shown)
            if made.note:
                out.print(made.note)
        for reason in self.left_out:
            out.print(f"left out: {reason}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        out.print(f"\nwritten to {path.relative_to(REPOSITORY)}")

    def plot(self, title: str, unit: str, groups: Mapping[str, Mapping[str, float | None]]) -> None:
        """Grouped bars on a logarithmic axis: `groups` has a value per series, by group."""
        import matplotlib as mpl

        mpl.use("Agg")
        # Text stays text, and the same numbers give the same file.
        mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": self.name})
        from matplotlib import pyplot

        series = list(dict.fromkeys(name for values in groups.values() for name in values))
        width = 0.8 / max(len(series), 1)
        figure, axes = pyplot.subplots(figsize=(max(7, 1.2 * len(groups)), 4), layout="constrained")
        for number, name in enumerate(series):
            places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(groups))]
            values = [group.get(name) or 0 for group in groups.values()]
            bars = axes.bar(places, values, width, label=name)
            axes.bar_label(
                bars,
                [text(float(value)) if value else "" for value in values],
                fontsize=7,
                rotation=90,
                padding=2,
            )
        axes.set_yscale("log")
        axes.margins(y=0.25)
        axes.set_xticks(range(len(groups)), [fill(group, 16) for group in groups], fontsize=8)
        axes.set_ylabel(unit)
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=8)
        FOLDER.mkdir(parents=True, exist_ok=True)
        figure.savefig(FOLDER / f"{self.name}.svg", metadata={"Date": None})
        pyplot.close(figure)


def read(name: str) -> dict[str, Any]:
    """What a benchmark wrote last. Raises FileNotFoundError."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def text(cell: Cell) -> str:
    """A cell as people read it: three digits that count."""
    match cell:
        case None:
            return "—"
        case float() if cell >= 100:
            return f"{cell:,.0f}"
        case float():
            return f"{cell:.3g}"
        case int():
            return f"{cell:,}"
    return cell


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy the machine was before."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "load_average": [round(number, 2) for number in os.getloadavg()],
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )

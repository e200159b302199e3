"""Writes what was measured last into docs/performance.md, between its markers, and the plots into docs/images/.

`python -m benchmarks.render_docs` after `make bench` (and `make scale`). A benchmark that has not run leaves its part as it is.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from typing import Any

from ras.state_folder import REPOSITORY

from benchmarks import report

PAGE = REPOSITORY / "docs" / "performance.md"
IMAGES = REPOSITORY / "docs" / "images"

_PART = re.compile(r"(?P<begin><!-- bench:(?P<name>\w+) -->\n).*?(?P<end><!-- /bench -->)", re.DOTALL)


def markdown(measured: dict[str, Any]) -> str:
    """A benchmark's part of the page."""
    machine = measured["machine"]
    lines = [
        f"`{measured['command']}`, {machine['at'][:10]}, on {machine['processors']} processors"
        f" ({machine['processor']}), {machine['memory_gb']} GB, Python {machine['python']},"
        f" {machine['system']}, load average {machine['load_average'][0]} before."
    ]
    for table in measured["tables"]:
        lines += ["", f"**{table['title']}**", ""]
        lines.append("| " + " | ".join(table["columns"]) + " |")
        lines.append("|---" + "|--:" * (len(table["columns"]) - 1) + "|")
        lines += ["| " + " | ".join(map(report.text, row)) + " |" for row in table["rows"]]
        if table["note"]:
            lines += ["", table["note"]]
    lines += [f"\nLeft out: {reason}" for reason in measured["left_out"]]
    if (report.FOLDER / f"{measured['name']}.svg").exists():
        lines += ["", f"![{measured['tables'][0]['title']}](images/bench-{measured['name']}.svg)"]
    return "\n".join(lines) + "\n"


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    IMAGES.mkdir(exist_ok=True)
    missing = []

    def renewed(part: re.Match[str]) -> str:
        name = part["name"]
        try:
            measured = report.read(name)
        except FileNotFoundError:
            missing.append(name)
            return part[0]
        plot = report.FOLDER / f"{name}.svg"
        if plot.exists():
            shutil.copyfile(plot, IMAGES / f"bench-{name}.svg")
        return f"{part['begin']}{markdown(measured)}{part['end']}"

    PAGE.write_text(_PART.sub(renewed, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name in missing:
        print(f"{name} was not measured: its part of {PAGE.name} is left as it is")
    return 0


if __name__ == "__main__":
    sys.exit(main())

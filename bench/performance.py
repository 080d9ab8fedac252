"""`reports/performance.md` from the JSON of the benchmark suite in `tests/benchmarks` (`nox -s bench`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.environment import describe
from bench.files import atomic_write

NOTES = {
    "grid_sample": "the formulation in plain PyTorch",
    "torch-ms-deform-attn": "the PyPI package of that name",
    "transformers": "Hugging Face transformers, the same weights",
}


def render(results: dict[str, Any], environment: dict[str, str]) -> str:
    """Markdown: one table per group, a row per case, the contenders of one run side by side.

    Args:
        results: what `pytest --benchmark-json` writes; each `extra_info["others"]` there holds the median
            seconds of the other contenders, timed in turns with ours.
        environment: names and values, as `bench.environment.describe` gives them.
    """
    lines = [
        "# Performance",
        "",
        "Medians in ms, and how many times faster ours is; a row's contenders took turns.",
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in results["benchmarks"]:
        groups.setdefault(item["group"], []).append(item)
    names = list(
        dict.fromkeys(name for item in results["benchmarks"] for name in item["extra_info"]["others"])
    )
    for group, items in groups.items():
        lines += ["", f"## {group}", "", *_table(items, names)]
    lines += ["", "Contenders:", ""]
    lines += [f"- {name}: {NOTES.get(name, '')}".rstrip(": ") for name in names]
    lines += ["", "## Environment", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in environment.items()]
    return "\n".join(lines) + "\n"


def _table(items: Iterable[dict[str, Any]], names: list[str]) -> list[str]:
    head = ["case", "ours", *names, "rounds", "backend"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 2) + "|---|"]
    for item in items:
        ours, info = item["stats"]["median"], item["extra_info"]
        cells = [item["name"], f"{1e3 * ours:.2f}"]
        for name in names:
            other = info["others"].get(name)
            cells.append("not run" if other is None else f"{1e3 * other:.2f} ({other / ours:.1f}x)")
        lines.append(f"| {' | '.join([*cells, str(info['rounds']), info.get('backend', '')])} |")
    return lines


def main(arguments: list[str]) -> int:
    """`python -m bench.performance RESULTS.json REPORT.md`"""
    source, target = map(Path, arguments)
    results = json.loads(source.read_text())
    seconds = sum(item["stats"]["total"] for item in results["benchmarks"])
    atomic_write(target, render(results, describe("nox -s bench", seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

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
    "panopticapi": "COCO's own evaluation, its function for one core; files on both sides",
    "sorted pixels, without files": "the definition, as panopticapi goes about it, with the maps in memory",
    "transformers": "Hugging Face transformers, the same weights; in the row torch.compile also compiled",
    "transformers, eager": "the same without torch.compile",
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
        own = [name for name in names if any(name in item["extra_info"]["others"] for item in items)]
        lines += ["", f"## {group}", "", *_table(items, own)]
        for item in items:
            lines += [*_memory(item), *_parts(item)]
    if not any("cuda" in group for group in groups):
        lines += ["", "Not run on a GPU: there was none."]
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


def _memory(item: dict[str, Any]) -> list[str]:
    """What a call needs at most, of each contender."""
    memory = item["extra_info"].get("memory")
    if not memory:
        return []
    told = (f"{name} {_mebibytes(size)}" for name, size in memory.items())
    return ["", f"Peak memory of a call, {item['name']}: {', '.join(told)}."]


def _mebibytes(size: int | None) -> str:
    return "not measured" if size is None else f"{size / 2**20:.0f} MiB"


def _parts(item: dict[str, Any]) -> list[str]:
    """Where our time goes, and the least time that the model's arithmetic needs here."""
    parts, floor = item["extra_info"].get("parts"), item["extra_info"].get("floor")
    if not parts or not floor:
        return []
    lines = ["", f"Where our time goes ({item['name']}; a part includes those named under it):", ""]
    lines += ["| part | ms |", "|---|---:|"]
    lines += [f"| `{name}` | {1e3 * seconds:.0f} |" for name, seconds in parts.items()]
    work, rate = floor["multiply_adds"] / 1e9, floor["rate"] / 1e9
    return [
        *lines,
        "",
        f"The floor: {work:.1f} G multiply-adds (`flops/exact-v1`) at the {rate:.0f} G a second that a "
        f"matrix product of PyTorch reaches here take {1e3 * work / rate:.0f} ms.",
    ]


def main(arguments: list[str]) -> int:
    """`python -m bench.performance RESULTS.json REPORT.md`"""
    source, target = map(Path, arguments)
    results = json.loads(source.read_text())
    seconds = sum(item["stats"]["total"] for item in results["benchmarks"])
    environment = describe("nox -s bench", seconds)
    environment["timed rounds of ours"] = environment.pop("wall time")
    atomic_write(target, render(results, environment))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""One report, written: Markdown, JSON, CSV and plots of a filled table."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench import plots
from bench.cells import CellResult
from bench.files import atomic_files
from bench.render import csv_text, json_text, payload
from bench.render_markdown import markdown
from bench.render_mini import mini_data, mini_rows, mini_section
from tables import RecordError, TableRecord

BASELINES = Path(__file__).resolve().parent.parent / "reports" / "baselines"


def write(
    out: Path,
    record: TableRecord,
    results: Sequence[CellResult],
    mini: dict | None,
    environment: dict[str, str],
    baselines: Path = BASELINES,
) -> list[Path]:
    """Writes `out`/PAPER/tableID.* and gives the files, the Markdown first.

    All files are new afterwards, or all are as they were. Raises OSError, and RecordError for a baseline
    that is not of this table.
    """
    stem = Path(out) / record.paper / f"table{record.table}"
    replications = {
        "mini": ("Mini replication", mini),
        "baseline": ("Mini replication: the committed baseline run", read_baseline(record, baselines)),
    }
    figures = {"counted": plots.counted_drawing(record, results)}
    sections = []
    for kind, (title, found) in replications.items():
        figures[kind] = plots.mini_drawing(record, mini_rows(record, found)) if found else None
        if found:
            sections.append(
                mini_section(record, found, title, _plot(stem, kind).name if figures[kind] else None)
            )
    counted = _plot(stem, "counted").name if figures["counted"] else None
    data = payload(record, results, environment, mini_data(record, mini) if mini else None)
    texts = {
        stem.with_suffix(".md"): markdown(record, results, sections, counted, environment),
        stem.with_suffix(".json"): json_text(data),
        stem.with_suffix(".csv"): csv_text(data),
    }
    return _write_all(texts, {_plot(stem, kind): figure for kind, figure in figures.items()})


def _plot(stem: Path, kind: str) -> Path:
    return stem.with_name(f"{stem.name}_{kind}.png")


def _write_all(texts: dict[Path, str], figures: dict) -> list[Path]:
    """Writes everything in one step; plots that this report does not have (None) go, unchanged ones stay."""
    drawn = {path: figure for path, figure in figures.items() if figure is not None}
    with atomic_files() as stage:
        for path, text in texts.items():
            stage(path).write_bytes(text.encode("utf-8"))
        for path, figure in drawn.items():
            if not figure.is_in(path):
                figure.save(stage(path))
    for path in figures.keys() - drawn.keys():
        path.unlink(missing_ok=True)
    return [*texts, *drawn]


def baseline_path(record: TableRecord, baselines: Path = BASELINES) -> Path:
    """Where the committed mini run of a table is kept."""
    return Path(baselines) / record.paper / f"table{record.table}_mini.json"


def read_baseline(record: TableRecord, baselines: Path = BASELINES) -> dict | None:
    """The committed mini run, or None. Raises RecordError for one that is not of this table."""
    path = baseline_path(record, baselines)
    if not path.is_file():
        return None
    try:
        mini = json.loads(path.read_text(encoding="utf-8"))
        mini_rows(record, mini)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: not a mini run of {record.paper} table {record.table}: {error}") from None
    return mini

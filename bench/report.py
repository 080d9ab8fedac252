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
EMBEDDED = "embedded"
_TITLES = {"camvid": "CamVid"}


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
    figures = dict.fromkeys(_plot(stem, kind) for kind in ("counted", "mini", "baseline", *_TITLES))
    figures[_plot(stem, "counted")] = plots.counted_drawing(record, results)
    sections, kept = [], read_baselines(record, baselines)
    for kind, title, found in replications(mini, kept):
        figure = figures[_plot(stem, kind)] = plots.mini_drawing(record, mini_rows(record, found))
        sections.append(mini_section(record, found, title, _plot(stem, kind).name if figure else None))
    counted = _plot(stem, "counted").name if figures[_plot(stem, "counted")] else None
    data = payload(record, results, environment, mini_data(record, mini) if mini else None)
    if kept:
        data["mini_baselines"] = {dataset: mini_data(record, found) for dataset, found in kept.items()}
    texts = {
        stem.with_suffix(".md"): markdown(record, results, sections, counted, environment),
        stem.with_suffix(".json"): json_text(data),
        stem.with_suffix(".csv"): csv_text(data),
    }
    return _write_all(texts, figures)


def replications(mini: dict | None, kept: dict[str, dict]) -> list[tuple[str, str, dict]]:
    """The mini replications that a report shows: (end of the plot's file name, title, result); the run of the
    day, where it is not the committed one, and what is committed."""
    runs = [("mini", f"Mini replication{_on(mini['dataset'])}", mini)] if mini else []
    committed = [
        (
            "baseline" if dataset == EMBEDDED else dataset,
            f"Mini replication{_on(dataset)}: the committed baseline run",
            found,
        )
        for dataset, found in kept.items()
    ]
    return [run for run in runs if run[2] not in kept.values()] + committed


def _on(dataset: str) -> str:
    return "" if dataset == EMBEDDED else f" on {_TITLES.get(dataset, dataset)}"


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


def baseline_path(record: TableRecord, baselines: Path = BASELINES, dataset: str = EMBEDDED) -> Path:
    """Where the committed mini run of a table on a data set is kept."""
    ending = "_mini" if dataset == EMBEDDED else f"-{dataset}"
    return Path(baselines) / record.paper / f"table{record.table}{ending}.json"


def read_baselines(record: TableRecord, baselines: Path = BASELINES) -> dict[str, dict]:
    """The committed mini runs of a table by data set, the embedded one first. Raises RecordError for one that
    is not of this table."""
    kept = {EMBEDDED: baseline_path(record, baselines)}
    stem = f"table{record.table}-"
    for path in sorted((Path(baselines) / record.paper).glob(f"{stem}*.json")):
        kept[path.stem.removeprefix(stem)] = path
    return {dataset: _baseline(record, path) for dataset, path in kept.items() if path.is_file()}


def _baseline(record: TableRecord, path: Path) -> dict:
    try:
        mini = json.loads(path.read_text(encoding="utf-8"))
        mini_rows(record, mini)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: not a mini run of {record.paper} table {record.table}: {error}") from None
    return mini

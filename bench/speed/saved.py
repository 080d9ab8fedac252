"""The committed measurement of a table's speeds, which every report of the table shows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.files import atomic_write
from bench.speed.timing import Timed
from tables import RecordError, TableRecord

BASELINES = Path(__file__).resolve().parents[2] / "reports" / "baselines"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Speeds with what they depend on: `device` in words, versions, `date`."""

    device: str
    torch: str
    operators: str
    date: str
    timed: tuple[Timed, ...]

    @property
    def words(self) -> str:
        """For a cell's reason."""
        rounds = max(len(found.seconds) for found in self.timed)
        return f"{self.device}, torch {self.torch}, {rounds} rounds in turns, {self.date[:10]}"


def saved_path(record: TableRecord, baselines: Path = BASELINES) -> Path:
    """Where the measurement of a table is kept."""
    return baselines / record.paper / f"table{record.table}_speed.json"


def save(record: TableRecord, found: Measurement, baselines: Path = BASELINES) -> Path:
    """Keeps a measurement as the committed one; gives its file."""
    path = saved_path(record, baselines)
    atomic_write(path, json.dumps(asdict(found), indent=1) + "\n")
    return path


def read(record: TableRecord, baselines: Path = BASELINES) -> Measurement | None:
    """The committed measurement, or None. Raises RecordError for a file that is none of this table."""
    path = saved_path(record, baselines)
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        timed = tuple(_timed(record, line) for line in data.pop("timed"))
        if not timed:
            raise ValueError("no cell was timed")
        return Measurement(**data, timed=timed)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        name = f"{record.paper} table {record.table}"
        raise RecordError(f"{path}: not a measurement of {name}: {error}") from None


def _timed(record: TableRecord, line: dict) -> Timed:
    cell = record.row(line["row"]).cells[line["column"]]
    seconds = tuple(float(value) for value in line["seconds"])
    if cell.printed is None or not seconds or min(seconds) <= 0:
        raise ValueError(f"row {line['row']}, {line['column']}: no printed number, or no positive seconds")
    return Timed(line["row"], line["column"], seconds)

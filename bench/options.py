"""Options that several commands share: which model, changed how, on which data, with which weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.data.base import DatasetInfo, SegmentationDataset
    from models.inference import Task
    from models.spec import Spec

TRAIN_PREFIX = "train."


@dataclass(frozen=True)
class ModelChoice:
    """A model that the options name: `label` for messages and folders, `spec` to build it from, the `dataset`
    whose classes it has, and the `task` that it was made for.
    """

    label: str
    spec: Spec
    dataset: str
    task: Task = "semantic"


def add_model_options(parser: argparse.ArgumentParser, rows: bool = False) -> None:
    """Adds --preset, --table, --row, --variant and --set. With `rows`, a table without --row means all its
    rows.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", metavar="NAME", help="a model, such as faseg_r50_ade20k")
    which.add_argument("--table", metavar="PAPER/TABLE", help="the rows of a printed table, such as faseg/4")
    row_help = "the printed line, from 1" + ("; default: every line that can be built" if rows else "")
    parser.add_argument("--row", type=int, metavar="N", help=f"with --table: {row_help}")
    parser.add_argument(
        "--column", metavar="ID", help="with --table: the column whose model is meant, if a row has several"
    )
    parser.add_argument(
        "--variant", choices=("released", "paper"), help="where an authors' code and text differ"
    )
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="PATH=VALUE",
        help="change a field of the model (decoder.num_queries=50) or of the training (train.lr=3e-4)",
    )  # fmt: skip


def add_data_options(parser: argparse.ArgumentParser, split: str) -> None:
    """Adds --dataset, --root, --split and --skip-corrupt."""
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help="embedded, ade20k, cityscapes or camvid"
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="the dataset's folder (embedded has none)")
    parser.add_argument("--split", default=split, help="default: %(default)s")
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="leave unreadable files out, and say how many"
    )


def add_task_option(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Adds --task."""
    parser.add_argument(
        "--task", choices=("semantic", "panoptic", "instance"), help=f"{meaning} (default: the model's)"
    )


def add_weights_options(parser: argparse.ArgumentParser) -> None:
    """Adds --weights and --run."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--weights", type=Path, metavar="FILE", help="a released checkpoint, or a run's")
    which.add_argument(
        "--run", type=Path, metavar="DIR", dest="folder", help="a run folder: its model and weights"
    )


def positive(text: str) -> int:
    """The type of an option that counts something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def count(text: str) -> int:
    """The type of an option that may be 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def chosen_device(name: str | None) -> torch.device:
    """The device that --device names; by default CUDA where there is one. Raises UserError."""
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise UserError(f"--device {name!r}: expected cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name!r}: there are {torch.cuda.device_count()} CUDA devices here")
    return device


def open_data(args: argparse.Namespace, split: str | None = None, **options: object) -> SegmentationDataset:
    """The dataset that `add_data_options` describes. Raises UserError."""
    from bench.data import open_dataset

    if args.skip_corrupt and args.dataset != "embedded":
        options["skip_corrupt"] = True
    return open_dataset(args.dataset, args.root, split or args.split, **options)


def skipped_line(skipped: Sequence[str]) -> str:
    """What --skip-corrupt left out."""
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    samples = "sample" if len(skipped) == 1 else "samples"
    return f"skipped {len(skipped)} unreadable {samples}: {'; '.join(skipped[:3])}{more}"


def chosen_models(args: argparse.Namespace, dataset: str | None = None) -> list[ModelChoice]:
    """The models that `add_model_options` describes, with the changes of --set that concern them.

    `dataset` chooses among the presets of a table's row. Raises UserError or SpecError, naming what is wrong.
    """
    from bench.tasks import split_preset

    if args.table is not None:
        if args.variant is not None:
            raise UserError("--variant needs --preset; each row of a table says its own")
        choices = _rows(args.table, args.row, dataset, args.column)
    elif args.preset is not None:
        spec = _preset(args.preset, args.variant)
        choices = [ModelChoice(args.preset, spec, *split_preset(args.preset))]
    else:
        raise UserError(
            "which model? give --preset NAME or --table PAPER/TABLE (python -m bench table shows tables)"
        )
    if args.table is None and (args.row is not None or args.column is not None):
        raise UserError(f"--{'row' if args.row is not None else 'column'} needs --table")
    changes = model_changes(args.changes)
    return [replace(choice, spec=choice.spec.override(changes)) for choice in choices]


def chosen_model(args: argparse.Namespace, dataset: str | None = None) -> ModelChoice:
    """The one model that the options describe. Raises UserError if they describe several."""
    choices = chosen_models(args, dataset)
    if len(choices) > 1:
        raise UserError(f"--table {args.table} has {len(choices)} rows; say which with --row")
    return choices[0]


def model_changes(texts: list[str]) -> dict[str, Any]:
    """The overrides among `--set` values that concern the model."""
    pairs = map(parse_change, texts)
    return {path: value for path, value in pairs if not path.startswith(TRAIN_PREFIX)}


def train_changes(texts: list[str]) -> dict[str, Any]:
    """The overrides that concern the training run, without their prefix "train."."""
    pairs = map(parse_change, texts)
    return {path.removeprefix(TRAIN_PREFIX): value for path, value in pairs if path.startswith(TRAIN_PREFIX)}


def parse_change(text: str) -> tuple[str, Any]:
    """`PATH=VALUE` as path and value: JSON where it is JSON, else the text itself. Raises UserError."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set {text!r}: expected PATH=VALUE")
    try:
        return path.strip(), json.loads(value)
    except json.JSONDecodeError:
        return path.strip(), value.strip()


@dataclass(frozen=True)
class Weighted:
    """A model that has its weights, `words` about where they come from, its classes and its task."""

    model: nn.Module
    words: str
    info: DatasetInfo
    task: Task


def weighted_model(args: argparse.Namespace, data: DatasetInfo | None = None) -> Weighted:
    """The model that the options describe.

    `data`: the classes of the data set that it is used on; by default those that it was made for. Raises
    UserError, SpecError or CheckpointError.
    """
    from bench.data.classes import dataset_classes
    from bench.tasks import task_info, things_first

    if args.folder is None:
        choice = chosen_model(args, getattr(args, "dataset", None))
        spec, task, path = choice.spec, choice.task, args.weights
        info = task_info(data or dataset_classes(choice.dataset), task, things_first(spec))
    else:
        if any((args.preset, args.table, args.row, args.column, args.variant, args.changes)):
            unused = "--preset, --table, --row, --column, --variant and --set"
            raise UserError(f"--run brings its own model; leave out {unused}")
        (spec, task, info), path = run_model(args.folder), args.folder / "checkpoint.pt"
        info = info if data is None else task_info(data, task, things_first(spec))
    if spec.num_classes != info.num_classes:
        raise UserError(f"the model has {spec.num_classes} classes, {info.name} has {info.num_classes}")
    model = spec.build()
    if path is None:
        words = "weights: random (no --weights, no --run): the result means nothing"
        return Weighted(model, words, info, task)
    return Weighted(model, load_weights(model, path), info, task)


def run_model(folder: Path) -> tuple[Spec, Task, DatasetInfo]:
    """The model that was trained in a run folder, for what, and its classes. Raises UserError for a folder
    without a run."""
    import models  # noqa: F401 - makes the parts known
    from bench.data.base import DatasetInfo
    from bench.train.folder import RunFolder
    from models.spec import Spec, from_dict

    description = RunFolder(folder).description()
    data = description["dataset"]
    info = DatasetInfo(
        name=data["name"],
        classes=tuple(data["classes"]),
        colors=tuple(tuple(color) for color in data["colors"]),
        things=frozenset(data.get("things", ())),
        categories=tuple(data.get("categories", ())),
    )
    return from_dict(Spec, description["model"]), description["train"].get("task", "semantic"), info


def load_weights(model: nn.Module, path: Path) -> str:
    """Loads a file into `model`: a released checkpoint, or a run's checkpoint. Returns what it did, in words.

    Raises CheckpointError or UserError naming the file and what does not fit.
    """
    from bench.train.checkpoint import is_checkpoint, load_model
    from models import load_official

    if not path.is_file():
        raise UserError(f"no weights at {path}")
    if is_checkpoint(path):
        return f"weights: {path}, step {load_model(path, model)}"
    return f"weights: {path}, {load_official(model, path).matched} tensors"


def _rows(table: str, row: int | None, dataset: str | None, column: str | None) -> list[ModelChoice]:
    from bench.cells import load_table, row_spec
    from bench.errors import nearest
    from bench.tasks import split_preset

    paper, slash, number = table.partition("/")
    if not slash:
        raise UserError(f"--table {table!r}: expected PAPER/TABLE, such as faseg/4")
    record = load_table(paper, number)
    if row is not None and not 1 <= row <= len(record.rows):
        raise UserError(f"{paper} table {number} has rows 1 to {len(record.rows)}, not {row}")
    ids = [found.id for found in record.columns]
    if column is not None and column not in ids:
        raise UserError(f"{paper} table {number} has no column {column!r}{nearest(column, ids)}")
    wanted = dataset if column is None else record.column(column).preset_key
    found = []
    for line in record.rows if row is None else [record.row(row)]:
        if not line.preset:
            if row is not None:
                raise UserError(f"{paper} table {number}, row {row}: {line.unbuildable or 'cannot be built'}")
            continue
        key = wanted if wanted in line.preset else next(iter(line.preset))
        label = f"{paper}-table{number}-row{line.number}" + (f"-{column}" if column else "")
        found.append(ModelChoice(label, row_spec(line, key), *split_preset(line.preset[key])))
    return found


def _preset(name: str, variant: str | None) -> Spec:
    import models

    return models.preset(name) if variant is None else models.preset(name, variant)

"""Options that several commands share: which model, changed how, on which data, with which weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.weights import RANDOM, load_weights

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.data.base import DatasetInfo, SegmentationDataset
    from models.inference import Task
    from models.spec import Spec
    from tables import Column, Row

TRAIN_PREFIX = "train."
RELEASED = "released"
"""What --weights says instead of a file's name."""


@dataclass(frozen=True)
class ModelChoice:
    """A model that the options name: `label` for messages and folders, `spec` to build it from, the `dataset`
    whose classes it has, the `task` that it was made for, and the `preset` that it was made of; of a table's
    row also its `place`: paper, table, row and the key of its preset.
    """

    label: str
    spec: Spec
    dataset: str
    task: Task = "semantic"
    preset: str | None = None
    place: tuple[str, str, int, str] | None = None


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


def add_data_options(parser: argparse.ArgumentParser, split: str, required: bool = True) -> None:
    """Adds --dataset, --root, --split and --skip-corrupt."""
    default = "" if required else "; default: the one that the model was made for"
    parser.add_argument(
        "--dataset", required=required, metavar="NAME",
        help=f"embedded, ade20k, cityscapes, coco, ...{default}",
    )  # fmt: skip
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
    """Adds --weights, --accept-licence and --run."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--weights", type=Path, metavar="FILE",
        help=f"a released checkpoint, or a run's; {RELEASED}: the authors' own, downloaded",
    )  # fmt: skip
    which.add_argument(
        "--run", type=Path, metavar="DIR", dest="folder", help="a run folder: its model and weights"
    )
    parser.add_argument(
        "--accept-licence", action="store_true", help=f"of the authors' weights, with --weights {RELEASED}"
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
        choices = [ModelChoice(args.preset, spec, *split_preset(args.preset), args.preset)]
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
class Chosen:
    """A model and the file of its weights: None for random ones, RELEASED for the authors', not yet fetched.

    `classes` are those of a run; those of a preset follow from its data set.
    """

    model: ModelChoice
    weights: Path | None
    classes: DatasetInfo | None = None

    def on(self, data: DatasetInfo | None = None) -> DatasetInfo:
        """The classes that the model has on a data set, by default on that which it was made for.

        Raises UserError where their numbers differ.
        """
        from bench.data.classes import dataset_classes
        from bench.tasks import task_info, things_first

        info, spec = self.classes, self.model.spec
        if data is not None or info is None:
            data = data or dataset_classes(self.model.dataset)
            info = task_info(data, self.model.task, things_first(spec))
        if spec.num_classes != info.num_classes:
            raise UserError(f"the model has {spec.num_classes} classes, {info.name} has {info.num_classes}")
        return info


@dataclass(frozen=True)
class Weighted:
    """A model that has its weights, `words` about where they come from, its classes and its task."""

    model: nn.Module
    words: str
    info: DatasetInfo
    task: Task


def chosen_weights(args: argparse.Namespace) -> Chosen:
    """The model and the weights that the options describe; no file of weights is looked at.

    Raises UserError or SpecError.
    """
    if args.folder is None:
        return Chosen(chosen_model(args, getattr(args, "dataset", None)), args.weights)
    if any((args.preset, args.table, args.row, args.column, args.variant, args.changes)):
        unused = "--preset, --table, --row, --column, --variant and --set"
        raise UserError(f"--run brings its own model; leave out {unused}")
    spec, task, info = run_model(args.folder)
    choice = ModelChoice(args.folder.name, spec, info.name, task)
    return Chosen(choice, args.folder / "checkpoint.pt", info)


def weights_file(args: argparse.Namespace, chosen: Chosen) -> Path | None:
    """The file of the weights; the authors' own are fetched. None: random weights.

    Raises UserError where they were not released, or as `bench.getting.weights.fetch_weights` does.
    """
    if chosen.weights != Path(RELEASED):
        return chosen.weights
    from bench.accuracy.released import release
    from bench.getting.report import Bar
    from bench.getting.weights import fetch_weights

    name = release(chosen.model)
    with Bar() as report:
        return fetch_weights(chosen.model.preset, args.accept_licence, name=name, report=report)


def weighted_model(args: argparse.Namespace, data: DatasetInfo | None = None) -> Weighted:
    """The model that the options describe, with its weights. `data`: the classes of the data set that it is
    used on.

    Raises UserError, SpecError or CheckpointError.
    """
    chosen = chosen_weights(args)
    info, path = chosen.on(data), weights_file(args, chosen)
    model = chosen.model.spec.build()
    words = RANDOM if path is None else load_weights(model, path)
    return Weighted(model, words, info, chosen.model.task)


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


def _rows(table: str, row: int | None, dataset: str | None, column: str | None) -> list[ModelChoice]:
    from bench.cells import load_table
    from bench.errors import nearest

    paper, slash, number = table.partition("/")
    if not slash:
        raise UserError(f"--table {table!r}: expected PAPER/TABLE, such as faseg/4")
    record = load_table(paper, number)
    if row is not None and not 1 <= row <= len(record.rows):
        raise UserError(f"{paper} table {number} has rows 1 to {len(record.rows)}, not {row}")
    ids = [found.id for found in record.columns]
    if column is not None and column not in ids:
        raise UserError(f"{paper} table {number} has no column {column!r}{nearest(column, ids)}")
    asked = None if column is None else record.column(column)
    found = []
    for line in record.rows if row is None else [record.row(row)]:
        if not line.preset:
            if row is not None:
                raise UserError(f"{paper} table {number}, row {row}: {line.unbuildable or 'cannot be built'}")
            continue
        key = asked.preset_key if asked else dataset if dataset in line.preset else next(iter(line.preset))
        if key not in line.preset:
            if row is not None:
                raise UserError(f"{paper} table {number}, row {row} has no model for the column {column!r}")
            continue
        found.append(_row_choice((paper, number, line.number, key), line, asked))
    return found


def _row_choice(place: tuple[str, str, int, str], row: Row, column: Column | None) -> ModelChoice:
    from bench.counting import cell_spec, row_spec
    from bench.tasks import key_task, split_preset

    paper, table, number, key = place
    label = f"{paper}-table{table}-row{number}" + (f"-{column.id}" if column else "")
    spec = cell_spec(row, column) if column else row_spec(row, key)
    dataset, task = split_preset(row.preset[key])
    return ModelChoice(label, spec, dataset, key_task(key) or task, row.preset[key], place)


def _preset(name: str, variant: str | None) -> Spec:
    import models

    return models.preset(name) if variant is None else models.preset(name, variant)

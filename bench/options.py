"""Options that several commands share: which model, changed how, on which data, with which weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, nearest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.data.base import DatasetInfo, SegmentationDataset
    from models.spec import Spec

TRAIN_PREFIX = "train."


@dataclass(frozen=True)
class ModelChoice:
    """A model that the options name: `label` for messages and folders, `spec` to build it from, and the
    `dataset` whose classes it has.
    """

    label: str
    spec: Spec
    dataset: str


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
    if args.table is not None:
        if args.variant is not None:
            raise UserError("--variant needs --preset; each row of a table says its own")
        choices = _rows(args.table, args.row, dataset)
    elif args.preset is not None:
        choices = [ModelChoice(args.preset, _preset(args.preset, args.variant), _dataset_of(args.preset))]
    else:
        raise UserError(
            "which model? give --preset NAME or --table PAPER/TABLE (python -m bench table shows tables)"
        )
    if args.row is not None and args.table is None:
        raise UserError("--row needs --table")
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


def weighted_model(args: argparse.Namespace, classes: int | None = None) -> tuple[nn.Module, str]:
    """The model that the options describe, and in words where its weights come from.

    `classes`: how many the data has. Raises UserError, SpecError or CheckpointError.
    """
    if args.folder is None:
        spec = chosen_model(args, getattr(args, "dataset", None)).spec
        path = args.weights
    else:
        if args.preset or args.table or args.row or args.variant or args.changes:
            unused = "--preset, --table, --row, --variant and --set"
            raise UserError(f"--run brings its own model; leave out {unused}")
        spec, path = run_model(args.folder), args.folder / "checkpoint.pt"
    if classes is not None and spec.num_classes != classes:
        raise UserError(f"the model has {spec.num_classes} classes, {args.dataset} has {classes}")
    model = spec.build()
    if path is None:
        return model, "weights: random (no --weights, no --run): the result means nothing"
    return model, load_weights(model, path)


def run_model(folder: Path) -> Spec:
    """The model that was trained in a run folder. Raises UserError for a folder without a run."""
    import models  # noqa: F401 - makes the parts known
    from bench.train.folder import RunFolder
    from models.spec import Spec, from_dict

    return from_dict(Spec, RunFolder(folder).description()["model"])


def classes_of(args: argparse.Namespace) -> DatasetInfo:
    """The classes that the chosen model was made for: those of --dataset, else of --run, else of the
    preset."""
    from bench.data.base import DatasetInfo
    from bench.train.folder import RunFolder

    if args.dataset is None and args.folder is not None:
        data = RunFolder(args.folder).description()["dataset"]
        colors = tuple(tuple(color) for color in data["colors"])
        return DatasetInfo(name=data["name"], classes=tuple(data["classes"]), colors=colors)
    return dataset_info(args.dataset or chosen_model(args).dataset)


def dataset_info(name: str) -> DatasetInfo:
    """The classes of a dataset, without its files. Raises UserError for an unknown name."""
    from bench.data import categories, dataset_names, synthetic

    if name not in dataset_names():
        raise UserError(f"unknown dataset {name!r}{nearest(name, dataset_names())}")
    return synthetic.INFO if name == "embedded" else getattr(categories, name)()


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


def _rows(table: str, row: int | None, dataset: str | None) -> list[ModelChoice]:
    from bench.cells import load_table, row_spec

    paper, slash, number = table.partition("/")
    if not slash:
        raise UserError(f"--table {table!r}: expected PAPER/TABLE, such as faseg/4")
    record = load_table(paper, number)
    if row is not None and not 1 <= row <= len(record.rows):
        raise UserError(f"{paper} table {number} has rows 1 to {len(record.rows)}, not {row}")
    found = []
    for line in record.rows if row is None else [record.row(row)]:
        if not line.preset:
            if row is not None:
                raise UserError(f"{paper} table {number}, row {row}: {line.unbuildable or 'cannot be built'}")
            continue
        data = dataset if dataset in line.preset else next(iter(line.preset))
        found.append(ModelChoice(f"{paper}-table{number}-row{line.number}", row_spec(line, data), data))
    return found


def _preset(name: str, variant: str | None) -> Spec:
    import models

    return models.preset(name) if variant is None else models.preset(name, variant)


def _dataset_of(preset: str) -> str:
    """The dataset in a preset's name: "faseg_r50_ade20k" is for ade20k."""
    from bench.data import dataset_names

    return next((name for name in dataset_names() if name in preset.split("_")), "")

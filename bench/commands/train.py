"""`train`: trains a model, or the rows of a table, on a dataset; a killed run is continued by the same
command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import options
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.base import DatasetInfo, SegmentationDataset
    from bench.options import ModelChoice
    from bench.train import TrainSpec
    from models.inference import Task
    from models.spec import Spec

_EVALUATION_SPLIT = "val"


def register(subparsers) -> None:  # noqa: ANN001
    """Adds the command."""
    parser = subparsers.add_parser("train", help="train a model or the rows of a table")
    options.add_model_options(parser, rows=True)
    options.add_data_options(parser, "train")
    options.add_task_option(parser, "what the model learns to do")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run folder (default: runs/MODEL-DATASET-SEED)"
    )
    parser.add_argument("--steps", type=int, help="default: the dataset's recipe")
    parser.add_argument("--batch", type=int, help="images a step; default: the dataset's recipe")
    parser.add_argument(
        "--eval-every", type=options.count, metavar="STEPS", help="between evaluations; 0: the last only"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="a released checkpoint, or a run's, to start from"
    )
    parser.add_argument(
        "--backbone-weights", type=Path, metavar="FILE", help="ImageNet weights in timm's layout"
    )
    parser.add_argument("--mini", action="store_true", help="at the size of the mini replications, for a CPU")
    parser.add_argument(
        "--overfit", type=int, metavar="N",
        help="train and evaluate on the first N images, without augmentation and dropout",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue the run in the folder (the default)")
    again.add_argument("--fresh", action="store_true", help="delete the run in the folder and start over")
    parser.add_argument(
        "--workers", type=options.count, metavar="N",
        help="processes that prepare batches; default: 4 on CUDA, else none",
    )
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains each chosen model and prints its scores."""
    if args.overfit is not None and args.overfit < 1:
        raise UserError(f"--overfit {args.overfit}: at least one image is needed")
    choices = options.chosen_models(args, args.dataset)
    training, evaluation = _data(args)
    for choice in choices:
        out = args.out or Path("runs") / f"{choice.label}-{args.dataset}-{args.seed}"
        if args.out and len(choices) > 1:
            out = args.out / choice.label
        _train(args, choice, training, evaluation, out)
    return 0


def _data(args: argparse.Namespace) -> tuple[SegmentationDataset, SegmentationDataset]:
    """What is trained on and what is evaluated on."""
    from bench.evaluate.subset import Subset

    training = options.open_data(args)
    if args.overfit:
        first = Subset(training, args.overfit)
        return first, first
    if training.skipped:
        print(options.skipped_line(training.skipped))
    return training, options.open_data(args, _EVALUATION_SPLIT)


def _train(
    args: argparse.Namespace,
    choice: ModelChoice,
    training: SegmentationDataset,
    evaluation: SegmentationDataset,
    out: Path,
) -> None:
    import torch

    from bench.evaluate import evaluate
    from bench.evaluate.predict import require_task
    from bench.tasks import TaskView, require_labels, things_first
    from bench.train import Hooks, train
    from bench.train.recipes import test_recipe

    task = args.task or choice.task
    views = [TaskView(data, task, things_first(choice.spec)) for data in (training, evaluation)]
    require_labels(views[0], task)
    model = _model_spec(args, choice, task, views[0].info)
    spec = _train_spec(args, model, task)
    device = options.chosen_device(args.device)
    test = test_recipe(args.dataset, model)
    require_task(model.inference.build(), task, test)
    print(f"{choice.label} on {args.dataset}, {spec.steps} steps of {spec.batch} images, seed {spec.seed}")
    print(f"task: {task}; run folder: {out}; test images: {len(evaluation)} of {evaluation.split!r}")

    def initialise(network: torch.nn.Module) -> None:
        if args.weights:
            print(options.load_weights(network, args.weights))
        elif model.backbone.weights:
            print(f"weights: random, but for the backbone's from {model.backbone.weights}")
        else:
            print("weights: random (no --weights, no --backbone-weights)")

    def score(network: torch.nn.Module) -> dict:
        scores = evaluate(network, views[1], task, test)
        return {name: None if s != s else s for name, s in scores.items() if name != "per_class"}

    result = train(
        model, spec, views[0], out, resume=not args.fresh, device=device,
        workers=(4 if device.type == "cuda" else 0) if args.workers is None else args.workers,
        hooks=Hooks(initialise=initialise, evaluate=score), progress=sys.stderr.isatty(),
    )  # fmt: skip
    print(
        f"{_words(result.metrics[-1]['evaluation'], task)} on {evaluation.split!r} after {spec.steps} steps, "
        f"{result.seconds:.0f} s; weights in {out / 'checkpoint.pt'}"
    )


def _words(scores: dict, task: Task) -> str:
    """The scores that a task is told by, in one line."""
    from bench.tasks import SHOWN

    known = {name: scores[name] for name in SHOWN[task] if scores[name] is not None}
    return ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in known.items())


def _model_spec(args: argparse.Namespace, choice: ModelChoice, task: Task, info: DatasetInfo) -> Spec:
    from bench.mini.shrink import shrink
    from bench.tasks import fit_classes
    from bench.train.recipes import without_dropout

    changes, spec = options.model_changes(args.changes), choice.spec
    if "num_classes" not in changes:
        spec = fit_classes(spec, info)
    if spec.num_classes != choice.spec.num_classes:
        print(f"classes: {info.num_classes}, as {args.dataset} has (the preset: {choice.spec.num_classes})")
    if spec.num_classes < info.num_classes:
        classes = f"{args.dataset} has {info.num_classes} classes"
        raise UserError(f"num_classes = {spec.num_classes}, but {classes}")
    if args.mini:
        spec = shrink(spec, task).override(changes)
    if args.overfit:
        spec = without_dropout(spec).override(changes)
    return spec.override({"backbone.weights": str(args.backbone_weights)}) if args.backbone_weights else spec


def _train_spec(args: argparse.Namespace, model: Spec, task: Task) -> TrainSpec:
    from bench.train.recipes import overfit_recipe, train_recipe

    spec = overfit_recipe(args.overfit, model) if args.overfit else train_recipe(args.dataset, model, task)
    given = {"steps": args.steps, "batch": args.batch, "seed": args.seed, "eval_every": args.eval_every}
    changes = {name: value for name, value in given.items() if value is not None}
    spec = spec.override({"task": task, **changes, **options.train_changes(args.changes)})
    if spec.task != task:
        raise UserError(f"--set train.task={spec.task}: say --task {spec.task}")
    return spec

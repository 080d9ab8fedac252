"""`train`: trains a model, or the rows of a table, on a dataset; a killed run is continued by the same
command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench import options
from bench.errors import UserError

if TYPE_CHECKING:
    import torch

    from bench.data.base import DatasetInfo, SegmentationDataset
    from bench.options import ModelChoice
    from bench.train import TrainSpec
    from bench.train.distributed import World
    from bench.train.signals import Signals
    from models.inference import Task
    from models.spec import Spec

_EVALUATION_SPLIT = "val"


def register(subparsers) -> None:  # noqa: ANN001
    """Adds the command."""
    parser = subparsers.add_parser("train", help="train a model or the rows of a table")
    options.add_model_options(parser, rows=True)
    options.add_data_options(parser, "train", required=False)
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
        "--backbone-weights", type=Path, metavar="FILE",
        help=f"ImageNet weights, of timm or the backbone's authors; {options.RELEASED}: downloaded",
    )  # fmt: skip
    parser.add_argument(
        "--accept-licence", action="store_true", help=f"of what is downloaded, with {options.RELEASED}"
    )
    parser.add_argument("--mini", action="store_true", help="at the size of the mini replications, for a CPU")
    parser.add_argument(
        "--overfit", type=int, metavar="N",
        help="train and evaluate on the first N images, without augmentation and dropout",
    )
    parser.add_argument(
        "--dry-run", action="store_true",
        help="say what the training would be, with its memory and hours, without data",
    )  # fmt: skip
    parser.add_argument(
        "--processes", type=options.positive, default=1, metavar="N",
        help="with --dry-run: as many devices, as by torchrun; default: %(default)s",
    )  # fmt: skip
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
    """Trains each chosen model and prints its scores, or with --dry-run what that would be."""
    from bench.train.distributed import local_device, processes
    from bench.train.signals import Signals, Stopped

    if args.overfit is not None and args.overfit < 1:
        raise UserError(f"--overfit {args.overfit}: at least one image is needed")
    choices = options.chosen_models(args, args.dataset)
    device = options.chosen_device(local_device(args.device))
    if args.dry_run:
        return _dry_run(args, choices, device)
    stop = Signals()
    with stop.caught(), processes(device) as world:
        try:
            for choice in choices:
                name = args.dataset or choice.dataset
                out = args.out or Path("runs") / f"{choice.label}-{name}-{args.seed}"
                if args.out and len(choices) > 1:
                    out = args.out / choice.label
                _train(_with_dataset(args, name), choice, out, device, world, stop)
        except Stopped as stopped:
            if world.first:
                print(f"{stopped}; the same command goes on", file=sys.stderr)
            return stopped.status
    return 0


def _dry_run(args: argparse.Namespace, choices: list[ModelChoice], device: torch.device) -> int:
    """Prints the plan of each chosen training; needs no data."""
    from bench.data.registry import registered
    from bench.tasks import task_info, things_first
    from bench.train.plan import Plan

    for choice in choices:
        task, name = args.task or choice.task, args.dataset or choice.dataset
        chosen = _with_dataset(args, name)
        info = task_info(registered(name).classes(), task, things_first(choice.spec))
        model = _model_spec(chosen, choice, task, info, _silent)
        spec = _train_spec(chosen, choice, model, task)
        plan = Plan(
            label=choice.label, preset=choice.preset or choice.label, dataset=name, model=model, run=spec,
            processes=args.processes,
        )  # fmt: skip
        for line in plan.lines(device):
            print(line, flush=True)
    return 0


def _with_dataset(args: argparse.Namespace, name: str) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), "dataset": name})


def _data(args: argparse.Namespace, task: Task) -> tuple[SegmentationDataset, SegmentationDataset]:
    """What is trained on and what is evaluated on."""
    from bench.evaluate.subset import Subset

    training = options.open_data(args, task=task)
    if args.overfit:
        first = Subset(training, args.overfit)
        return first, first
    return training, options.open_data(args, _EVALUATION_SPLIT, task=task)


def _train(
    args: argparse.Namespace,
    choice: ModelChoice,
    out: Path,
    device: torch.device,
    world: World,
    stop: Signals,
) -> None:
    from bench.evaluate import evaluate
    from bench.evaluate.predict import require_task
    from bench.tasks import TaskView, require_labels, things_first
    from bench.train import Hooks, train
    from bench.train.recipes import test_recipe

    task = args.task or choice.task
    training, evaluation = _data(args, task)
    views = [TaskView(data, task, things_first(choice.spec)) for data in (training, evaluation)]
    require_labels(views[0], task)
    say = print if world.first else _silent
    if training.skipped:
        say(options.skipped_line(training.skipped))
    model = _model_spec(args, choice, task, views[0].info, say)
    if weights := world.decide(lambda: _backbone_weights(args, choice)):
        model = model.override({"backbone.weights": weights})
    spec = _train_spec(args, choice, model, task)
    test = test_recipe(args.dataset, model, task)
    require_task(model.inference.build(), task, test)
    steps = f"{spec.steps} steps of {spec.batch} images, seed {spec.seed}"
    say(f"{choice.label} on {args.dataset}, {steps}" + f", {world.size} processes" * (world.size > 1))
    say(f"task: {task}; run folder: {out}; test images: {len(evaluation)} of {evaluation.split!r}")

    def initialise(network: torch.nn.Module) -> None:
        if args.weights:
            say(options.load_weights(network, args.weights))
        elif model.backbone.weights:
            say(f"weights: random, but for the backbone's from {model.backbone.weights}")
        else:
            say("weights: random (no --weights, no --backbone-weights)")

    def score(network: torch.nn.Module) -> dict:
        with stop.at_once():
            scores = evaluate(network, views[1], task, test)
        return {name: None if s != s else s for name, s in scores.items() if name != "per_class"}

    result = train(
        model, spec, views[0], out, resume=not args.fresh, device=device,
        workers=(4 if device.type == "cuda" else 0) if args.workers is None else args.workers,
        hooks=Hooks(initialise=initialise, evaluate=score, stop=stop), world=world,
        progress=sys.stderr.isatty(),
    )  # fmt: skip
    if world.first:
        print(
            f"{_words(result.metrics[-1]['evaluation'], task)} on {evaluation.split!r} after {spec.steps} "
            f"steps, {result.seconds:.0f} s; weights in {out / 'checkpoint.pt'}"
        )


def _silent(*_: object) -> None:
    """What all processes but the first one say."""


def _words(scores: dict, task: Task) -> str:
    """The scores that a task is told by, in one line."""
    from bench.tasks import SHOWN

    known = {name: scores[name] for name in SHOWN[task] if scores[name] is not None}
    return ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in known.items())


def _model_spec(
    args: argparse.Namespace,
    choice: ModelChoice,
    task: Task,
    info: DatasetInfo,
    say: Callable[[str], None],
) -> Spec:
    from bench.mini.shrink import shrink
    from bench.tasks import fit_classes
    from bench.train.recipes import without_dropout

    changes, spec = options.model_changes(args.changes), choice.spec
    if "num_classes" not in changes:
        spec = fit_classes(spec, info)
    if spec.num_classes != choice.spec.num_classes:
        say(f"classes: {info.num_classes}, as {args.dataset} has (the preset: {choice.spec.num_classes})")
    if spec.num_classes < info.num_classes:
        classes = f"{args.dataset} has {info.num_classes} classes"
        raise UserError(f"num_classes = {spec.num_classes}, but {classes}")
    if args.mini:
        spec = shrink(spec, task).override(changes)
    if args.overfit:
        spec = without_dropout(spec).override(changes)
    return spec


def _backbone_weights(args: argparse.Namespace, choice: ModelChoice) -> str | None:
    """The file that --backbone-weights names; the published one is fetched."""
    if args.backbone_weights != Path(options.RELEASED):
        return args.backbone_weights and str(args.backbone_weights)
    from bench.getting.report import Bar
    from bench.getting.weights import fetch_backbone

    with Bar() as report:
        return str(fetch_backbone(choice.preset, args.accept_licence, report=report))


def _train_spec(args: argparse.Namespace, choice: ModelChoice, model: Spec, task: Task) -> TrainSpec:
    from bench.printed import as_printed
    from bench.train.recipes import overfit_recipe, train_recipe

    spec = overfit_recipe(args.overfit, model) if args.overfit else train_recipe(args.dataset, model, task)
    if choice.place and not args.overfit:
        spec = as_printed(spec, choice.place, args.dataset)
    given = {"steps": args.steps, "batch": args.batch, "seed": args.seed, "eval_every": args.eval_every}
    changes = {name: value for name, value in given.items() if value is not None}
    spec = spec.override({"task": task, **changes, **options.train_changes(args.changes)})
    if spec.task != task:
        raise UserError(f"--set train.task={spec.task}: say --task {spec.task}")
    return spec

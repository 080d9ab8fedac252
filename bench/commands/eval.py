"""`eval`: what a model with given weights scores on a dataset, or what a cell of a table comes to."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import options
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.accuracy.plan import Plan
    from bench.data.base import SegmentationDataset
    from bench.evaluate.run import Result
    from bench.evaluate.shard import Evaluation
    from bench.options import Chosen
    from bench.records import Store
    from models.inference import Task

Run = tuple[str, int] | None
"""A corruption and its severity; None: the images as they are."""


def register(subparsers) -> None:  # noqa: ANN001
    """Adds the command."""
    parser = subparsers.add_parser("eval", help="evaluate weights on a dataset")
    options.add_model_options(parser)
    options.add_data_options(parser, "val")
    options.add_weights_options(parser)
    options.add_task_option(parser, "what is scored")
    parser.add_argument(
        "--official", action="store_true",
        help="keep the scores as those of the authors' weights, though no hash of the file is known here",
    )  # fmt: skip
    parser.add_argument(
        "--multi-scale", action="store_true", help="mean of six scales, each with its mirror image"
    )
    parser.add_argument(
        "--attention", action="store_true",
        help="instead of scores: the share of attention on the foreground, and how it correlates with masks",
    )  # fmt: skip
    parser.add_argument("--boundary", action="store_true", help="Boundary PQ or AP instead of that of masks")
    parser.add_argument(
        "--corruption", metavar="NAME[:SEVERITY]",
        help="disturb the images; without a severity the mean over all five; all: of all kinds as well",
    )  # fmt: skip
    parser.add_argument(
        "--frost", type=Path, metavar="DIR",
        help="photographs of ice for the corruption frost (default: generated ice, no evidence of a cell)",
    )  # fmt: skip
    parser.add_argument("--limit", type=options.positive, metavar="N", help="only the first N images")
    parser.add_argument(
        "--processes", type=options.positive, default=1, metavar="N", help="that share the images; default: 1"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="keeps what each image adds, for an evaluation that is killed (default: in the result store)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the scores."""
    from bench.records import Store

    chosen = options.chosen_weights(args)
    plan = _plan(args, chosen.model.task)
    data = options.open_data(args, plan.split, task=_labels(chosen.model.task, plan.task))
    runs = _evaluations(args, chosen, plan, data)
    if args.attention:
        return _attend(args, next(iter(runs.values())))
    store, results = Store(), {}
    for name, evaluation in runs.items():
        results[name] = _run(args, evaluation, store, name)
        if results[name] is None:  # not the first of several ranks: it prints nothing
            del results[name]
    if results:
        _tell(args, chosen, plan, runs, results, store)
    return 0


def _tell(
    args: argparse.Namespace,
    chosen: Chosen,
    plan: Plan,
    runs: dict[Run, Evaluation],
    results: dict[Run, Result],
    store: Store,
) -> None:
    """Prints the scores and keeps those that are evidence."""
    from bench.accuracy.scored import keep
    from bench.evaluate.corruptions import GENERATED, shows_frost
    from bench.evaluate.mean import by_corruption

    evaluation, words = next(iter(runs.values())), []
    for corruption, result in by_corruption(results, plan.corruption).items():
        asked = replace(plan, corruption=corruption)
        if args.frost is None and corruption and shows_frost(corruption):
            kept = [f"{corruption}: not kept as evidence: {GENERATED} (--frost DIR)"]
        else:
            kept = keep(store, chosen, asked, evaluation, result, args.official)
        words = [
            result.weights,
            *(["scores: of an earlier evaluation of the same"] * result.remembered),
            *kept,
        ]
    print("\n".join(words), file=sys.stderr)
    found = {
        "images": len(evaluation.dataset), "skipped": list(evaluation.dataset.skipped), "task": plan.task,
        **result.scores,
    }  # fmt: skip
    if args.json:
        print(_json(found))
    else:
        print("\n".join(_lines(found, evaluation.dataset.info.classes, plan.task)))


def _attend(args: argparse.Namespace, evaluation: Evaluation) -> int:
    """Prints where the queries look."""
    from tqdm import tqdm

    from bench.evaluate.attention import attention_statistics

    device = options.chosen_device(args.device)
    model, words = evaluation.network(device)
    print(words, file=sys.stderr)
    found = attention_statistics(
        model, evaluation.dataset, evaluation.task, evaluation.test, device=device,
        progress=lambda samples: tqdm(samples, "attention", len(evaluation.dataset), disable=None),
    )  # fmt: skip
    told = {"images": len(evaluation.dataset), "task": evaluation.task, **found}
    print(_json(told) if args.json else "\n".join(f"{name:<24}{told[name]:>8.4f}" for name in found))
    return 0


def _plan(args: argparse.Namespace, task: Task) -> Plan:
    """How the model is scored: as the column asks, or as the options say. Raises UserError."""
    from bench.accuracy.plan import Plan, plan

    if args.table and args.column:
        from bench.cells import load_table

        record = load_table(*args.table.split("/", 1))
        column = record.column(args.column)
        found = plan(column, record.row(args.row).cells.get(args.column) if args.row else None)
        if isinstance(found, str):
            raise UserError(f"{args.table}, column {args.column}: {found}")
        if args.split not in ("val", found.split):
            of = f"column {args.column} of {args.table}"
            raise UserError(f"--split {args.split}: {of} is of {found.split!r}")
    else:
        found = Plan(task=task, score="", split=args.split)
    return replace(
        found,
        task=args.task or found.task,
        images=args.limit or found.images,
        whole=args.limit is None,
        multi_scale=args.multi_scale or found.multi_scale,
        boundary=args.boundary or found.boundary,
        corruption=args.corruption or found.corruption,
    )


def _labels(model: Task, scored: Task) -> Task:
    """The labels to read. A panoptic model's semantic map is scored on its panoptic labels, its objects on
    those of instance segmentation (Mask2Former, Table I)."""
    return model if (model, scored) == ("panoptic", "semantic") else scored


def _evaluations(
    args: argparse.Namespace, chosen: Chosen, plan: Plan, data: SegmentationDataset
) -> dict[Run, Evaluation]:
    """What is to be evaluated, by corruption and severity, or under None; the weights are there.

    Raises UserError.
    """
    from bench.evaluate.corruptions import corrupted, corruption_runs
    from bench.evaluate.shard import Evaluation
    from bench.evaluate.subset import Subset
    from bench.tasks import TaskView, require_labels, things_first
    from bench.train.recipes import test_recipe

    spec, model_task = chosen.model.spec, chosen.model.task
    chosen.on(data.info)
    data = Subset(data, plan.images) if plan.images else data
    runs: list[Run] = corruption_runs(plan.corruption) if plan.corruption else [None]
    shown = {run: corrupted(data, *run, args.frost) if run else data for run in runs}
    shown = {run: TaskView(each, model_task, things_first(spec)) for run, each in shown.items()}
    require_labels(TaskView(data, model_task, things_first(spec)), plan.task)
    test = test_recipe(args.dataset, spec)
    test = test.of_several_scales(chosen.model.preset) if plan.multi_scale else test
    weights = options.weights_file(args, chosen)
    return {
        run: Evaluation(
            model=spec, weights=weights, dataset=each, task=plan.task, test=test, boundary=plan.boundary
        )
        for run, each in shown.items()
    }


def _run(args: argparse.Namespace, evaluation: Evaluation, store: Store, name: Run) -> Result | None:
    from tqdm import tqdm

    from bench.evaluate.run import run

    device, label = options.chosen_device(args.device), "-".join(map(str, name or ("eval",)))
    quiet = None if sys.stderr.isatty() else True
    with tqdm(desc=label, unit="image", total=len(evaluation.dataset), disable=quiet) as bar:
        return run(
            evaluation, store, folder=args.out / label if args.out and name else args.out,
            device=str(device), processes=args.processes,
            say=lambda text: print(text, file=sys.stderr), advance=bar.update,
        )  # fmt: skip


def _json(found: dict) -> str:
    from bench.evaluate.run import storable

    scores = {name: value for name, value in found.items() if isinstance(value, float | list)}
    return json.dumps({**found, **storable(scores)})


def _lines(found: dict, classes: tuple[str, ...], task: Task) -> list[str]:
    from bench.tasks import SHOWN

    lines = [_line(name, value) for name, value in zip(classes, found["per_class"], strict=True)]
    if found["skipped"]:
        lines.append(options.skipped_line(found["skipped"]))
    shown = (_line(name, found[name]) for name in SHOWN[task])
    return [*lines, *shown, f"{'images':<24}{found['images']:>8}"]


def _line(name: str, value: float) -> str:
    return f"{name:<24}{'–' if value != value else f'{value:.2f}':>8}"

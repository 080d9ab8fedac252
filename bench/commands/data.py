"""`python -m bench data`: prepare a dataset, verify it, look at it, export the embedded one."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.getting.command import add_get, get

if TYPE_CHECKING:
    from bench.data.verify import Verification

_TASKS = ("semantic", "panoptic", "instance")
_SHOWN_FAULTS = 10


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds `data` with its own subcommands; alone it says what layouts the datasets have."""
    parser = subparsers.add_parser(
        "data", help="prepare, verify, look at and export datasets; alone: the layouts"
    )
    parser.set_defaults(run=_layouts)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    _add_prepare(actions)
    _add_verify(actions)
    _add_show(actions)
    _add_export(actions)
    add_get(actions).set_defaults(run=_get)


def _get(args: argparse.Namespace) -> int:
    for line in get(args):
        print(line, flush=True)
    return 0


def _add_prepare(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "prepare", help="make the label files that are read but not published; goes on where it was stopped"
    )
    parser.add_argument("--dataset", required=True, help="ade20k or coco")
    parser.add_argument("--root", type=Path, required=True, help="folder of the dataset")
    parser.add_argument("--split", action="append", help="train or val; may be repeated (default: both)")
    parser.add_argument("--workers", type=_count, default=0, help="processes beside this one (default: 0)")
    parser.set_defaults(run=_prepare)


def _add_verify(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("verify", help="check that a dataset is complete, readable and well labelled")
    _add_source(parser, splits="default: all that are evaluated")
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="count unreadable files, do not fail on them"
    )
    parser.add_argument(
        "--subset", action="store_true", help="do not compare the counts with the published ones"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the summary (default: verify/ in the result store)"
    )
    parser.set_defaults(run=_verify)


def _add_show(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("show", help="draw a contact sheet: images, labels, legend")
    _add_source(parser, splits="default: val")
    parser.add_argument("--count", type=_positive, default=12, help="samples on the sheet (default: 12)")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    parser.set_defaults(run=_show)


def _add_export(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser("export", help="write the embedded dataset in the layout of a public one")
    parser.add_argument("--layout", required=True, help="name of a dataset of files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--task", choices=_TASKS, default="semantic",
        help="panoptic, instance: with the labels of objects, things being classes of things there (default: "
        "semantic, class i being class i)",
    )  # fmt: skip
    parser.add_argument("--zip", action="store_true", help="as zips with the official names")
    parser.add_argument(
        "--split", action="append", help="train, val or test; may be repeated (default: train, val)"
    )
    parser.add_argument(
        "--size", type=_positive, default=192, help="side of the images in pixels (default: 192)"
    )
    parser.add_argument(
        "--length", type=_positive, help="samples a split (default: 2000 train, 200 val and test)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=_export)


def _add_source(parser: argparse.ArgumentParser, splits: str) -> None:
    parser.add_argument("--dataset", required=True, help="a name of python -m bench data")
    parser.add_argument("--root", type=Path, help="folder or zip of the dataset, or folder of its zips")
    parser.add_argument("--task", choices=_TASKS, default="semantic", help="which labels (default: semantic)")
    parser.add_argument("--split", help=f"train, val or test ({splits})")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


def _layouts(args: argparse.Namespace) -> int:
    from bench.data.registry import ENTRIES

    print(
        "embedded: generated, no files; everything else needs --root ROOT: a folder, a zip, a folder of zips"
    )
    for entry in ENTRIES.values():
        if entry.layout:
            counts = ", ".join(f"{count:,} {split}" for split, count in entry.counts.items())
            print(f"\n{entry.name} ({counts}): {', '.join(entry.tasks)}")
            print(f"  layout     {entry.layout}\n  published  {entry.published}")
    print("\npython -m bench data verify --dataset NAME --root ROOT   checks it")
    return 0


def _prepare(args: argparse.Namespace) -> int:
    from bench.data.prepare import prepare

    made = prepare(args.dataset, args.root, args.split, workers=args.workers, progress=_progress)
    for path in made:
        print(f"made {path}")
    if not made:
        print(f"{args.dataset}: nothing to do, all is there")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from bench.data import open_dataset
    from bench.data.registry import registered
    from bench.data.verify import verify

    folder = args.out or Path(os.environ.get("MASKBENCH_STORE") or ".maskbench") / "verify"
    counts = registered(args.dataset).counts_for(args.task)
    splits = [args.split] if args.split else list(counts) or ["train", "val", "test"]
    kind = args.dataset if args.task == "semantic" else f"{args.dataset}-{args.task}"
    faults: list[str] = []
    for split in splits:
        try:
            dataset = open_dataset(args.dataset, root=args.root, split=split, task=args.task)
        except UserError as error:
            if not faults:  # nothing else to tell: most likely it is the root that is wrong
                raise
            faults.append(str(error))
            continue
        published = None if args.subset else dataset.published or counts.get(split)
        found = verify(dataset, published=published, skip_corrupt=args.skip_corrupt, progress=_progress)
        faults += found.faults
        _report(found, folder / f"{kind}-{split}.json")
    if faults:
        for fault in faults[:_SHOWN_FAULTS] if len(faults) > 1 else []:
            print(f"  {fault}")
        raise UserError(
            faults[0] if len(faults) == 1 else f"{len(faults)} faults in {args.dataset}: {faults[0]}"
        )
    return 0


def _report(found: "Verification", path: Path) -> None:
    from bench.files import atomic_write

    atomic_write(path, json.dumps(dataclasses.asdict(found), indent=1) + "\n")
    labelled = sum(found.pixels.values())
    ignored = 100 * found.ignored / max(labelled + found.ignored, 1)
    share = f"{ignored:.1f} % of the pixels ignored, " if labelled else ""
    sizes = ", ".join(list(found.sizes)[:3]) + (
        f" and {len(found.sizes) - 3} more" if len(found.sizes) > 3 else ""
    )
    faults = "1 fault" if len(found.faults) == 1 else f"{len(found.faults)} faults"
    published = f" ({found.published} published)" if found.published is not None else ""
    print(
        f"{found.dataset} {found.split}: {found.samples} samples{published}, sizes {sizes or 'unknown'}, "
        f"{share}{_objects(found)}{faults}, {len(found.skipped)} skipped, checksum {found.checksum}"
    )
    for skipped in found.skipped[:_SHOWN_FAULTS]:
        print(f"  skipped: {skipped}")
    print(f"  summary: {path}")


def _objects(found: "Verification") -> str:
    if not found.objects and not found.crowds:
        return ""
    crowds = "1 crowd" if found.crowds == 1 else f"{found.crowds:,} crowds"
    return f"{sum(found.objects.values()):,} objects and {crowds}, "


def _show(args: argparse.Namespace) -> int:
    from bench.data import open_dataset
    from bench.data.picture import contact_sheet
    from bench.files import atomic_path

    dataset = open_dataset(args.dataset, root=args.root, split=args.split or "val", task=args.task)
    count = min(args.count, len(dataset))
    step = len(dataset) // count
    samples = [dataset[i * step] for i in _progress(range(count), count, "samples")]
    sheet = contact_sheet(samples, dataset.info)
    with atomic_path(args.out) as path:
        sheet.save(path, format="PNG")
    print(f"{args.out}: {count} of {len(dataset)} samples of {args.dataset} {dataset.split}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from bench.data import open_dataset
    from bench.data.export import export, export_zipped

    options = {"size": args.size, "length": args.length, "seed": args.seed}
    datasets = [open_dataset("embedded", split=split, **options) for split in args.split or ("train", "val")]
    objects = args.task != "semantic"
    if args.zip:
        paths = export_zipped(datasets, args.layout, args.out, _progress, objects=objects)
        splits = ", ".join(f"{len(dataset)} {dataset.split}" for dataset in datasets)
        print(f"{args.out}: {', '.join(path.name for path in paths)} with {splits} samples")
        return 0
    for dataset in datasets:
        export(dataset, args.layout, args.out, _progress, objects=objects)
        count, split = len(dataset), dataset.split
        print(f"{args.out}: {count} samples of split {split} in the {args.layout} layout")
    return 0


def _progress(items: Iterable, total: int, label: str) -> Iterable:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=label, unit="", file=sys.stderr, leave=False, disable=None)

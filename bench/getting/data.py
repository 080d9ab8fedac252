"""The data sets: where they are to be had, and bringing those here that anyone may download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError, nearest
from bench.getting.download import download
from bench.getting.extract import unpack
from bench.getting.registry import Part, PublishedData, registry
from bench.getting.report import SILENT, Reporter


def page_of(dataset: str) -> str:
    """The page where a data set is published. Raises UserError for one that has none."""
    return published(dataset).page


def how_to_get_data(dataset: str) -> str:
    """One line on how a data set comes here. Raises UserError for one that is not published."""
    found = published(dataset)
    if found.parts:
        return f"{found.title}: python -m bench data get {found.name} --root DIR"
    return f"{found.title} can only be had by hand, at {found.page}: {found.how}"


def published(dataset: str) -> PublishedData:
    """What the registry knows of a data set. Raises UserError."""
    known = registry().datasets
    if dataset not in known:
        if dataset == "embedded":
            raise UserError("the embedded data set is generated: there is nothing to get")
        raise UserError(f"unknown data set {dataset!r}{nearest(dataset, known)}")
    return known[dataset]


def chosen_parts(dataset: str, names: Sequence[str] = ()) -> tuple[Part, ...]:
    """The parts of a data set with these names, in the registry's order; without names all of them.

    Raises UserError: no such part, or a data set that can only be had by hand (the message says where).
    """
    found = published(dataset)
    if not found.parts:
        raise UserError(f"{how_to_get_data(dataset)} (licence: {found.licence})")
    known = [part.name for part in found.parts]
    for name in names:
        if name not in known:
            raise UserError(f"{dataset} has no part {name!r}: {', '.join(known)}")
    return tuple(part for part in found.parts if not names or part.name in names)


def get_data(
    dataset: str, root: Path, parts: Sequence[str] = (), *, extract: bool = False, report: Reporter = SILENT
) -> list[Path]:
    """Downloads (the named parts of) a data set into the folder `root`, made as needed. Returns the files.

    Zips stay packed, for the loaders read them as they are; `extract` unpacks them beside themselves. Raises
    as `chosen_parts`, `bench.getting.download.download` and `bench.getting.extract.unpack` do.
    """
    files = []
    for part in chosen_parts(dataset, parts):
        path = download(part.url, root / part.file, part.expected, report=report)
        files.append(path)
        if part.unpack or extract:
            unpack(path, root / part.unpack, report)
    return files

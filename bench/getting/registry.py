"""Which files the authors publish, where, under which licence, and what tells them from others.

This is data, in the TOML files beside this module; an entry that does not name the page where its address was
found is refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from bench.getting.check import Expected

FOLDER = Path(__file__).parent
_HASH_IN_NAME = re.compile(r"[-_]([0-9a-f]{6,})\.[a-z]+$")
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}


class RegistryError(ValueError):
    """The registry's own data are wrong; the message names file and key."""


@dataclass(frozen=True)
class Licence:
    """name: SPDX identifier or words; url: its text; note: what one should know before accepting it."""

    name: str
    url: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.url}{'; ' + self.note if self.note else ''})"


@dataclass(frozen=True)
class ReleasedWeights:
    """A published checkpoint.

    Attributes:
        preset: the model that it fits.
        name: of the configuration, as its authors call it.
        url: the file itself; None where `page` leads to it and a person has to fetch it.
        file: its name on disk.
        page: where the authors publish it.
        expected: size in bytes and printed hash (or the first digits of one), as far as known.
        pretrained: the data of the backbone's pretraining, where releases of one preset differ in it.
        scores: what the authors say it reaches, as printed there, in percent.
    """

    preset: str
    name: str
    url: str | None
    file: str
    page: str
    licence: Licence
    expected: Expected = Expected()
    pretrained: str = ""
    scores: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A file of a data set. source: where its address was found; unpack: for an archive that is not read as
    it is, the folder in the root that it belongs in."""

    name: str
    holds: str
    url: str
    source: str
    expected: Expected = Expected()
    unpack: str = ""

    @property
    def file(self) -> str:
        """Its name on disk."""
        return file_name(self.url)


@dataclass(frozen=True)
class PublishedData:
    """A data set: its parts, or, without any, how to come by it (`how`) from its `page`."""

    name: str
    title: str
    page: str
    licence: Licence
    parts: tuple[Part, ...] = ()
    how: str = ""


@dataclass(frozen=True)
class Unreleased:
    """Why presets whose names begin with `presets` have no weights, unless they are listed with some."""

    presets: str
    why: str
    page: str


@dataclass(frozen=True)
class Registry:
    """weights: in the order of the files, of several for a preset the usual one first; backbones: ImageNet
    weights, whose `preset` is the part of the presets' names that they are for."""

    weights: tuple[ReleasedWeights, ...]
    backbones: tuple[ReleasedWeights, ...]
    datasets: Mapping[str, PublishedData]
    unreleased: tuple[Unreleased, ...]


@cache
def registry() -> Registry:
    """The project's registry. Raises RegistryError."""
    return read_registry(FOLDER)


def read_registry(folder: Path) -> Registry:
    """The registry in a folder: datasets.toml, unreleased.toml, backbones.toml and weights/*.toml.

    Raises RegistryError naming file and key.
    """
    weights = [entry for path in sorted(folder.glob("weights/*.toml")) for entry in _weights(path)]
    for kind in ("name", "url"):
        values = [getattr(entry, kind) for entry in weights if getattr(entry, kind) is not None]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise RegistryError(f"{folder}: {kind} {twice[0]!r} is listed twice")
    found = [_dataset(table) for table in _tables(folder / "datasets.toml", "dataset")]
    reasons = [Unreleased(**table) for table in _tables(folder / "unreleased.toml", "unreleased")]
    return Registry(
        tuple(weights),
        tuple(_weights(folder / "backbones.toml")),
        {dataset.name: dataset for dataset in found},
        tuple(reasons),
    )


def file_name(url: str) -> str:
    """The last part of an address."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RegistryError(f"{path}: {error}") from error


def _tables(path: Path, key: str) -> list[dict[str, Any]]:
    return list(_read(path).get(key, ()))


_COMMON = {"licence", "licence_url", "note", "page", "hash_in_name"}
_ENTRY = {"preset", "name", "url", "file", "size", "hash", "pretrained", "scores"}
_PART = {"name", "holds", "url", "source", "size", "hash", "hash_source", "unpack"}
_DATASET = {"name", "title", "page", "licence", "licence_url", "note", "part", "how"}


def _weights(path: Path) -> Iterator[ReleasedWeights]:
    """What every entry of a file shares stands before the entries; an entry may say otherwise."""
    content = _read(path)
    entries = content.pop("weights", [])
    for own in entries:
        where = f"{path.name}: {own.get('name')!r}"
        table = content | own
        _known(table, _COMMON | _ENTRY, ("preset", "name", "licence", "licence_url", "page"), where)
        url = _address(table, where) if "url" in table else None
        file = table.get("file") or (file_name(url) if url else "")
        if not re.fullmatch(r"[\w.-]+\.(pkl|pth|pt|safetensors)", file):
            raise RegistryError(f"{where}: {file!r} is no name of a checkpoint")
        yield ReleasedWeights(
            preset=table["preset"],
            name=table["name"],
            url=url,
            file=file,
            page=_address(table, where, "page"),
            licence=_licence(table, where),
            expected=_expected(table, file, where),
            pretrained=table.get("pretrained", ""),
            scores=table.get("scores", {}),
        )


def _dataset(table: dict[str, Any]) -> PublishedData:
    where = f"datasets.toml: {table.get('name')!r}"
    _known(table, _DATASET, ("name", "title", "page", "licence", "licence_url"), where)
    parts = tuple(_part(part, where) for part in table.get("part", ()))
    if bool(parts) == ("how" in table):
        raise RegistryError(f"{where}: expected either parts or how to come by it")
    return PublishedData(
        table["name"], table["title"], _address(table, where, "page"), _licence(table, where), parts,
        table.get("how", ""),
    )  # fmt: skip


def _part(table: dict[str, Any], where: str) -> Part:
    where = f"{where}, part {table.get('name')!r}"
    _known(table, _PART, ("name", "holds", "url", "source"), where)
    if ("size" in table or "hash" in table) and "hash_source" not in table:
        raise RegistryError(f"{where}: hash_source is missing")
    url = _address(table, where)
    expected = _expected(table, file_name(url), where)
    return Part(
        table["name"], table["holds"], url, _address(table, where, "source"), expected,
        table.get("unpack", ""),
    )  # fmt: skip


def _expected(table: Mapping[str, Any], file: str, where: str) -> Expected:
    """A hash that is written out, or that the file's name ends with."""
    size, text = table.get("size"), table.get("hash")
    if text is None and "hash_in_name" in table:
        match = _HASH_IN_NAME.search(file)
        if match is None:
            raise RegistryError(f"{where}: {file!r} does not end with a hash")
        text = f"{table['hash_in_name']}:{match[1]}"
    if text is None:
        return Expected(size)
    algorithm, _, digest = text.partition(":")
    if algorithm not in _DIGITS or not re.fullmatch(rf"[0-9a-f]{{6,{_DIGITS[algorithm]}}}", digest):
        raise RegistryError(f"{where}: {text!r} is not md5:, sha1: or sha256: and hexadecimal digits")
    return Expected(size, algorithm, digest)


def _licence(table: Mapping[str, Any], where: str) -> Licence:
    return Licence(table["licence"], _address(table, where, "licence_url"), table.get("note", ""))


def _address(table: Mapping[str, Any], where: str, key: str = "url") -> str:
    parts = urlsplit(table[key])
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise RegistryError(f"{where}: {key} {table[key]!r} is no http address")
    return table[key]


def _known(table: Mapping[str, Any], known: set[str], needed: tuple[str, ...], where: str) -> None:
    if missing := [key for key in needed if key not in table]:
        raise RegistryError(f"{where}: {missing[0]} is missing")
    if unknown := sorted(set(table) - known):
        raise RegistryError(f"{where}: there is no key {unknown[0]!r}")

"""The authors' published checkpoints: which fits a preset, and bringing it here."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.getting.download import download, verify
from bench.getting.pins import store
from bench.getting.registry import ReleasedWeights, registry
from bench.getting.report import SILENT, Reporter


def weights_for(preset: str) -> ReleasedWeights | None:
    """The published checkpoint of a preset as it stands, with nothing overridden; None: there is none.

    Of several (pretrained on other data, trained for longer) the usual one; `releases` has all of them.
    """
    return next(iter(releases(preset)), None)


def releases(preset: str) -> tuple[ReleasedWeights, ...]:
    """All published checkpoints that fit a preset, the usual one first."""
    return tuple(entry for entry in registry().weights if entry.preset == preset)


def why_none(preset: str) -> str:
    """One line on why a preset has no published weights."""
    for reason in registry().unreleased:
        if preset.startswith(reason.presets):
            return f"no weights were released for {preset}: {reason.why} ({reason.page})"
    return f"no weights were released for {preset}"


def how_to_get(preset: str) -> str:
    """One line on what the released weights of a preset are and how they come here, or why there are none."""
    entry = weights_for(preset)
    if entry is None:
        return why_none(preset)
    way = "" if entry.url is None else ", fetched by --weights released --accept-licence"
    return f"weights of {preset} are at {entry.page}, licence {entry.licence.name}{way}"


def fetch_weights(
    preset: str,
    accept_licence: bool,
    folder: Path | None = None,
    *,
    name: str | None = None,
    report: Reporter = SILENT,
) -> Path:
    """The file of a preset's released weights, downloaded to FOLDER/PRESET/ (FOLDER: by default weights/ in
    the result store) unless it is there, and checked each time.

    `name` chooses among several releases.

    Raises:
        UserError: there are none; the licence was not accepted; they can only be had by hand, from the page
            that the message names; or see `download`.
        OSError: the disk fails.
    """
    entry = _chosen(preset, name)
    return fetch(entry, accept_licence, (folder or store() / "weights") / preset, report)


def backbone_for(preset: str) -> ReleasedWeights | None:
    """The usual ImageNet weights of a preset's backbone; None: none are published that can be read here."""
    named = [entry for entry in registry().backbones if f"_{entry.preset}_" in f"_{preset}_"]
    return max(named, key=lambda entry: len(entry.preset), default=None)  # of equals the first


def fetch_backbone(
    preset: str, accept_licence: bool, folder: Path | None = None, *, report: Reporter = SILENT
) -> Path:
    """The file of the ImageNet weights that `backbone_for` names, in FOLDER/backbones/. Raises as
    `fetch_weights` does."""
    entry = backbone_for(preset)
    if entry is None:
        raise UserError(
            f"no ImageNet weights that can be read here are published for the backbone of {preset}"
        )
    return fetch(entry, accept_licence, (folder or store() / "weights") / "backbones", report)


def fetch(entry: ReleasedWeights, accept_licence: bool, folder: Path, report: Reporter = SILENT) -> Path:
    """The file of `entry` in `folder`. Raises as `fetch_weights` does."""
    path = folder / entry.file
    if path.exists():
        verify(entry.url or f"{entry.page}#{entry.file}", path, entry.expected, report=report)
        return path
    if entry.url is None:
        raise UserError(
            f"{entry.name} can only be had by hand: get {entry.file} from {entry.page} and put it at {path}; "
            f"licence: {entry.licence}"
        )
    if not accept_licence:
        raise UserError(
            f"the weights {entry.name} are under the licence {entry.licence}: "
            "add --accept-licence to accept it and download them"
        )
    report.say(f"downloading {entry.name}, licence: {entry.licence}")
    return download(entry.url, path, entry.expected, report=report)


def _chosen(preset: str, name: str | None) -> ReleasedWeights:
    found = releases(preset)
    if not found:
        raise UserError(why_none(preset))
    for entry in found:
        if name in (None, entry.name):
            return entry
    raise UserError(f"{preset} has no released weights {name!r}: {', '.join(entry.name for entry in found)}")

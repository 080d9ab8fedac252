"""Segmentation systems built from parts: specs, presets, and strict loading of released checkpoints."""

from models.official import CheckpointError, LoadReport, load_official, to_official
from models.outputs import MaskTarget, SegmentationOutput
from models.presets import build, preset, presets
from models.spec import Spec, SpecError, from_dict, override, to_dict

__all__ = [
    "CheckpointError",
    "LoadReport",
    "MaskTarget",
    "SegmentationOutput",
    "Spec",
    "SpecError",
    "build",
    "from_dict",
    "load_official",
    "override",
    "preset",
    "presets",
    "to_dict",
    "to_official",
]

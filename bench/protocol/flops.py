"""FLOPs (multiply-adds) of one image, or their mean over images, from the shapes alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bench.protocol import protocols
from bench.protocol.ends import ENDS
from bench.protocol.images import Picture
from bench.protocol.summary import FlopCount, mean, summarise
from bench.protocol.tape import Recorder, Tape
from models.inference import Frame, Size, pad_to_multiple
from models.spec import Spec, SpecError, nearest

POSTPROCESS = "postprocess"


def count(
    spec: Spec,
    size: Size,
    output_size: Size | None = None,
    protocol: str = "flops/fvcore-v1",
    end: str = "scores",
) -> FlopCount:
    """FLOPs from the normalised image to the end, of what the protocol sees of that.

    Args:
        spec: a model whose `build(device)` makes a module.
        size: height and width of the image, which is padded to multiples of the model's `size_divisor`.
        output_size: size of the results; that of the image unless given.
        protocol: a name in `bench.protocol.protocols`.
        end: a name in `bench.protocol.ends`.

    Raises:
        SpecError: unknown protocol or end.
    """
    return average(spec, [Picture(size, output_size or size)], protocol, end)


def average(
    spec: Spec, pictures: Sequence[Picture], protocol: str = "flops/fvcore-v1", end: str = "scores"
) -> FlopCount:
    """The mean of `count` over several images.

    The model is called once for each padded size. Raises SpecError as `count` does.
    """
    rule = protocols.protocol(protocol)
    if end not in ENDS:
        raise SpecError(f"a count cannot end at {end!r}; it can at {nearest(end, ENDS)}")
    return mean([summarise(rule.seen(tape(spec, picture, end)), rule, picture.size) for picture in pictures])


@functools.lru_cache(maxsize=256)
def tape(spec: Spec, picture: Picture, end: str = "scores") -> Tape:
    """The tape of a model from the image to the end, for any protocol."""
    model = _model(spec)
    padded = pad_to_multiple(torch.empty(1, 3, *picture.size, device="meta"), model.size_divisor)
    frame = Frame(tuple(padded.shape[-2:]), *picture)
    recorder, output = _call(spec, frame.padded_size)

    def finish(recorder: Recorder) -> Any:
        with recorder.inside(POSTPROCESS):
            return ENDS[end](model.inference, output, frame)

    return recorder.branch(finish)


@functools.lru_cache(maxsize=1)
def _model(spec: Spec) -> nn.Module:
    return spec.build(device="meta").eval()


@functools.lru_cache(maxsize=64)
def _call(spec: Spec, padded_size: Size) -> tuple[Recorder, Any]:
    """What the model gives for an image of a padded size, and the recorder that has watched it."""
    model, recorder = _model(spec), Recorder()
    images = torch.empty(1, 3, *padded_size, device="meta")

    def run(recorder: Recorder) -> Any:
        with recorder.following(model):
            return model(images)

    return recorder, recorder.run(run)

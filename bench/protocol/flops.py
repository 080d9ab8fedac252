"""FLOPs (multiply-adds) of one image, from the shapes alone."""

from __future__ import annotations

import functools

import torch

from bench.protocol.rules import PROTOCOLS
from bench.protocol.summary import FlopCount, summarise
from bench.protocol.tape import Recorder, Tape, record
from models.inference import pad_to_multiple, semantic_inference
from models.spec import Spec, SpecError, nearest

STRIDE = 32
POSTPROCESS = "postprocess"


def count(
    spec: Spec,
    size: tuple[int, int],
    output_size: tuple[int, int] | None = None,
    protocol: str = "flops/fvcore-v1",
) -> FlopCount:
    """FLOPs from the normalised image to the map of class scores, of what those scores depend on.

    Args:
        spec: a model whose `build(device)` makes a module that gives a `SegmentationOutput`.
        size: height and width of the image, which is padded to multiples of 32.
        output_size: size of the map of scores; that of the image unless given.
        protocol: `flops/fvcore-v1` or `flops/exact-v1`, see `bench.protocol.rules`.

    Raises:
        SpecError: unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise SpecError(f"no FLOP protocol {protocol!r}; there are {nearest(protocol, PROTOCOLS)}")
    tape = semantic_tape(spec, size, output_size or size)
    return summarise(tape.live(), PROTOCOLS[protocol], size)


@functools.lru_cache(maxsize=8)
def semantic_tape(spec: Spec, size: tuple[int, int], output_size: tuple[int, int]) -> Tape:
    """The tape of a semantic model from the image to the scores [1, K, *output_size], for either protocol."""
    model = spec.build(device="meta").eval()
    images = pad_to_multiple(torch.empty(1, 3, *size, device="meta"), STRIDE)

    def run(recorder: Recorder) -> torch.Tensor:
        with recorder.following(model):
            output = model(images)
        with recorder.inside(POSTPROCESS):
            return semantic_inference(output, tuple(images.shape[-2:]), size, output_size)

    return record(run)

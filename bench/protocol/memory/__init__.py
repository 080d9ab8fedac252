"""Training memory without a GPU: protocols `memory/predicted-v1` and `memory/process-v1`.

The peak of allocated bytes of one training step (forward, loss, backward, optimizer), and what nvidia-smi
would show of the process. It runs on fake tensors: shapes and lifetimes are real, no arithmetic is done and
no memory is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from bench.protocol.memory.allocator import BLOCK, MIB
from bench.protocol.memory.papers import paper_setting
from bench.protocol.memory.step import MemorySetting, run_step
from bench.protocol.memory.tracker import Tracker
from models.spec import Spec, SpecError

__all__ = [
    "CONTEXT",
    "NOT_INCLUDED",
    "PROCESS",
    "PROTOCOL",
    "MemoryPrediction",
    "MemorySetting",
    "predict",
    "predict_cell",
]

PROTOCOL = "memory/predicted-v1"
PROCESS = "memory/process-v1"
CONTEXT = 614 * MIB
"""What a process has on a GPU beside the allocator's blocks: the CUDA context and the libraries' kernels.
Fitted: 0.6 GiB is what FASeg's Table 6 leaves over. It is the only number here that is."""

NOT_INCLUDED = (
    "the CUDA context and the libraries' kernels",
    "fragmentation and blocks that the allocator keeps for later",
    "workspaces of cuDNN and cuBLAS",
    "what an operator takes and gives back inside itself",
)
"""Bytes of a GPU that are not predicted. `max_memory_allocated` counts the last two, nvidia-smi all four."""

_FORMULATIONS = {
    "authors": "attention writes out the scores of all heads, as torch.nn.MultiheadAttention of PyTorch 1.9",
    "released": "attention writes out the scores of all heads, DFPQ its product, as FASeg's released code",
    "ours": "our own layers, attention by scaled_dot_product_attention",
}


@dataclass(frozen=True, kw_only=True)
class MemoryPrediction:
    """The peak of a training step and what it was predicted for.

    Attributes:
        setting: of the step.
        peak: most bytes allocated at once, every storage rounded up to the allocator's blocks.
        reserved: bytes that the allocator takes from the device for them and keeps.
        phases: the peak within "forward", "loss", "backward" and "optimizer".
        rest: bytes that live through the whole step: "parameters", "buffers", "optimizer", "batch", and where
            the setting has them "gradients" and "buckets".
    """

    setting: MemorySetting
    peak: int
    reserved: int
    phases: dict[str, int]
    rest: dict[str, int]

    @property
    def by_protocol(self) -> dict[str, int]:
        """The allocated bytes, and what nvidia-smi would show."""
        return {PROTOCOL: self.peak, PROCESS: self.reserved + CONTEXT}

    def assumptions(self) -> list[str]:
        """What the number depends on and what it leaves out, one statement a line."""
        s = self.setting
        precision = "float32" if s.amp == "off" else f"autocast to {s.amp} by CUDA's rules, weights float32"
        kept = "set to zero between steps" if s.keep_gradients else "freed between steps"
        shared = "with" if s.buckets else "without"
        return [
            f"batch {s.batch} of {s.crop[0]}x{s.crop[1]}, {s.objects} objects in every image, "
            "which are matched with the first queries",
            f"{precision}; AdamW; gradients are {kept}, {shared} DistributedDataParallel's copy of them",
            f"second step of a training; {_FORMULATIONS[s.formulation]}",
            f"storages rounded up to {BLOCK} bytes; not included in {PROTOCOL}: {'; '.join(NOT_INCLUDED)}",
            f"{PROCESS}: the segments that PyTorch's allocator takes for the same step and keeps, and "
            f"{CONTEXT // MIB} MiB of a CUDA context and kernels, fitted to FASeg's Table 6",
        ]


def predict(spec: Spec, setting: MemorySetting) -> MemoryPrediction:
    """The memory of one training step of a model.

    Raises:
        SpecError: a setting that does not fit the model, or a system whose loss cannot do without numbers
            (DETR's line and Panoptic SegFormer).
    """
    tracker = Tracker()
    skeleton = spec.build(device="meta")  # outside: PyTorch 2.10 has no fake tensors of its device "meta"
    try:
        with FakeTensorMode():
            rest = run_step(skeleton, setting, tracker)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise SpecError(
            f"{PROTOCOL} cannot predict {spec.part!r}: its training step reads numbers ({error.func})"
        ) from error
    return MemoryPrediction(
        setting=setting,
        peak=tracker.peak,
        reserved=tracker.allocator.reserved,
        phases=dict(tracker.peaks),
        rest=rest,
    )


def predict_cell(paper: str, spec: Spec, batch: int, crop: tuple[int, int], dataset: str) -> MemoryPrediction:
    """The prediction for a printed cell: batch and crop of its column, the rest as `papers` has it.

    Raises SpecError as `predict` does, and where nobody wrote down how the paper trained.
    """
    return predict(spec, paper_setting(paper, batch, crop, dataset))

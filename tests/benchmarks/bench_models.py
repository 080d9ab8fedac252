"""Whole models against Hugging Face transformers, same weights and outputs: `nox -s bench`."""

import pytest
import torch
from contest import contest, matrix_rate, part_times, peak_memory
from torch import nn

from bench.data.loader import Batch
from bench.protocol import flops
from bench.train import Trainer, TrainSpec
from models import MaskTarget, build, load_official, preset
from ops import active_backend

transformers = pytest.importorskip("transformers")

SWIN_T = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
PRESET, SIZE = "mask2former_swin_t_ade20k", 512
PARTS = [
    "backbone", "pixel_decoder.encoder", "pixel_decoder.output", "pixel_decoder", "decoder.head", "decoder"
]  # fmt: skip


def pair(device: str) -> tuple[nn.Module, nn.Module]:
    """Mask2Former Swin-T for 150 classes, ours and theirs, with their random weights."""
    torch.manual_seed(0)
    stages = [f"stage{i}" for i in range(1, 5)]
    swin = transformers.SwinConfig(**SWIN_T, drop_path_rate=0.0, out_features=stages)
    config = transformers.Mask2FormerConfig(backbone_config=swin, num_labels=150)
    theirs = transformers.Mask2FormerForUniversalSegmentation(config).to(device).eval()
    ours = build(PRESET, device).eval()
    load_official(ours, theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["eager", "torch.compile"])
def bench_mask2former(benchmark, mode, device):
    ours, theirs = pair(device)
    images = torch.randn(1, 3, SIZE, SIZE, device=device)
    calls = {"ours": lambda: ours(images), "transformers": lambda: theirs(images)}
    with torch.no_grad():
        mine, other = calls["ours"](), calls["transformers"]()
        torch.testing.assert_close(mine.class_logits, other.class_queries_logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(mine.mask_logits, other.masks_queries_logits, atol=1e-4, rtol=1e-4)
        if mode == "torch.compile":
            compiled = torch.compile(ours, fullgraph=True), torch.compile(theirs)
            calls = {
                "ours": lambda: compiled[0](images),
                "transformers": lambda: compiled[1](images),
                "transformers, eager": lambda: theirs(images),
            }
        benchmark.group = f"Mask2Former Swin-T, {SIZE} x {SIZE}, one image, {device}"
        benchmark.name = mode
        benchmark.extra_info["backend"] = active_backend(device)
        memory = {name: peak_memory(call, device) for name, call in calls.items()}
        ours_call = calls.pop("ours")
        contest(benchmark, ours_call, calls)
        if (mode, device) == ("eager", "cpu"):
            parts = part_times(ours, PARTS, ours_call)
            work = flops.count(preset(PRESET), (SIZE, SIZE), protocol="flops/exact-v1").total
            benchmark.extra_info["parts"] = parts
            benchmark.extra_info["floor"] = {"multiply_adds": work, "rate": matrix_rate()}
    benchmark.extra_info["memory"] = memory


@pytest.mark.parametrize("device", DEVICES)
def bench_training_step(benchmark, device):
    """Forward, loss, backward and optimizer of Mask2Former R50 on images of eight masks; it has no peer."""
    batch = 2 if device == "cpu" else 16
    trainer = Trainer(build("mask2former_r50_ade20k"), TrainSpec(batch=batch, steps=1000), device)
    masks = torch.zeros(8, SIZE, SIZE, dtype=torch.bool)
    for i in range(8):
        masks[i, :, i * SIZE // 8 : (i + 1) * SIZE // 8] = True
    data = Batch(torch.randn(batch, 3, SIZE, SIZE), [MaskTarget(torch.arange(8), masks)] * batch)
    benchmark.group = f"Training step, Mask2Former R50, {SIZE} x {SIZE}, batch {batch}, {device}"
    benchmark.name = "8 masks an image"
    benchmark.extra_info["backend"] = active_backend(device)
    trainer.step(0, data)
    benchmark.extra_info["memory"] = {"ours": peak_memory(lambda: trainer.step(1, data), device)}
    contest(benchmark, lambda: trainer.step(1, data), {}, rounds=5 if device == "cpu" else 20)

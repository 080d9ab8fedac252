"""Deformable attention as the pixel decoder calls it, against its peers: `nox -s bench`."""

import pytest
import torch
from contest import contest
from peers import peers

from ops import active_backend, ms_deform_attn

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
HEADS, CHANNELS, POINTS = 8, 32, 4


def pyramid(size: int) -> list[tuple[int, int]]:
    """Levels of a `size` x `size` image at strides 8, 16, 32."""
    return [(size // stride, size // stride) for stride in (8, 16, 32)]


def make(size: int, sampling: str, device: str, dtype=torch.float32):
    """Value, locations, weights, output gradient; every pixel is a query, as in the encoder.

    `sampling`: "random" puts the points anywhere, "local" some two pixels of each level around the query.
    """
    batch = 1 if device == "cpu" else 4
    generator = torch.Generator().manual_seed(0)
    levels = pyramid(size)
    queries = sum(height * width for height, width in levels)
    shape = (batch, queries, HEADS, len(levels), POINTS)
    locations = torch.rand(*shape, 2, generator=generator)
    if sampling == "local":
        sizes = torch.tensor([(width, height) for height, width in levels])[:, None]
        offsets = 2 * torch.randn(*shape, 2, generator=generator) / sizes
        locations = centres(levels)[:, None, None, None] + offsets
    weights = torch.randn(shape, generator=generator).flatten(3).softmax(-1).view(shape)
    value = torch.randn(batch, queries, HEADS, CHANNELS, generator=generator)
    grad = torch.randn(batch, queries, HEADS * CHANNELS, generator=generator)
    return levels, [tensor.to(device, dtype) for tensor in (value, locations, weights, grad)]


def centres(levels: list[tuple[int, int]]) -> torch.Tensor:
    """[Q, 2]: (x, y) of each pixel of each level, in [0, 1]."""
    parts = []
    for height, width in levels:
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        parts.append(torch.stack([x / width, y / height], dim=-1).view(-1, 2))
    return torch.cat(parts)


def assert_same(result, reference) -> None:
    """All but one in a million: a point that rounds to the other side of a pixel has another derivative."""
    if isinstance(result, torch.Tensor):
        result, reference = (result,), (reference,)
    for ours, theirs in zip(result, reference, strict=True):
        other = ~torch.isclose(ours, theirs, atol=2e-3, rtol=1e-3)
        assert other.float().mean() <= 1e-6, f"{int(other.sum())} of {other.numel()} values differ"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sampling", ["random", "local"])
@pytest.mark.parametrize("size", [512, 1024])
@pytest.mark.parametrize("direction", ["forward", "forward+backward"])
def bench_deformable_attention(benchmark, direction, size, sampling, device):
    levels, (value, locations, weights, grad) = make(size, sampling, device)
    inputs = [tensor.requires_grad_(direction != "forward") for tensor in (value, locations, weights)]

    def call(operator):
        def run():
            with torch.set_grad_enabled(direction != "forward"):
                output = operator(inputs[0], levels, *inputs[1:])
                return output if direction == "forward" else torch.autograd.grad(output, inputs, grad)

        return run

    reference = call(peers()["grid_sample"])()
    result = call(ms_deform_attn)()
    assert_same(result, reference)
    benchmark.group = f"ms_deform_attn, {direction}, {device}"
    benchmark.name = f"{size} x {size}, {sampling} points"
    benchmark.extra_info["backend"] = active_backend(device)
    contest(benchmark, call(ms_deform_attn), {name: call(peer) for name, peer in peers().items()})

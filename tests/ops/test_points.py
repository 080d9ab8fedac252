"""Deformable attention from offsets and logits: one operator against the same arithmetic in PyTorch."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import ops
from ops import active_backend, ms_deform_attn, ms_deform_attn_multiply_adds, ms_deform_attn_points

LEVELS = [(9, 5), (4, 3), (2, 2)]
compiled = pytest.mark.skipif(
    active_backend("cpu") != "compiled", reason="the compiled operators are not available here"
)


def make(batch=2, queries=11, heads=3, channels=7, points=4, images=2, levels=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    pixels = sum(height * width for height, width in LEVELS)
    references = torch.rand(images, queries, levels, 2, generator=generator, dtype=torch.float64).to(dtype)
    return (
        normal(batch, pixels, heads, channels),
        LEVELS,
        references,
        4 * normal(batch, queries, heads, 3, points, 2),
        5 * normal(batch, queries, heads, 3, points),
    )


def by_hand(value, shapes, references, offsets, logits):
    """Level by level and point by point, as Deformable DETR's equation 3 reads."""
    weights = logits.flatten(3).softmax(-1).view(logits.shape)
    locations = torch.empty_like(offsets)
    for level, (height, width) in enumerate(shapes):
        centre = references[:, :, level % references.shape[2]]
        for axis, size in enumerate((width, height)):
            locations[..., level, :, axis] = (
                centre[:, :, None, None, axis] + offsets[..., level, :, axis] / size
            )
    return ms_deform_attn(value, shapes, locations, weights)


def fused(*inputs):
    """What one operator gives; fails where it is not the operator that runs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = ms_deform_attn_points(*inputs)
    counted = {str(op) for op in counter.get_flop_counts()["Global"]}
    assert counted == {"maskbench.ms_deform_attn_points"}
    return result


@compiled
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("images, levels", [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_one_operator_gives_the_same(images, levels, dtype, tolerance):
    inputs = make(images=images, levels=levels, dtype=dtype)
    torch.testing.assert_close(fused(*inputs), by_hand(*inputs), atol=tolerance, rtol=tolerance)


@compiled
@pytest.mark.parametrize("channels, points, queries", [(32, 4, 100), (16, 1, 1), (40, 3, 17), (1, 8, 50)])
def test_other_sizes(channels, points, queries):
    inputs = make(channels=channels, points=points, queries=queries)
    torch.testing.assert_close(fused(*inputs), by_hand(*inputs), atol=1e-5, rtol=1e-5)


@compiled
def test_threads_do_not_change_a_bit():
    inputs = make(queries=300)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            results.append(fused(*inputs))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@compiled
def test_extreme_logits():
    value, shapes, references, offsets, logits = make()
    logits[0, 0, 0, 0, 0] = 1e4  # all weight on one point
    logits[0, 1] = -1e30  # equal weights
    inputs = value, shapes, references, offsets, logits
    torch.testing.assert_close(fused(*inputs), by_hand(*inputs), atol=1e-5, rtol=1e-5)


@compiled
def test_nan_stays_in_its_query():
    value, shapes, references, offsets, logits = make()
    logits[0, 2, 1, 0, 0] = float("nan")
    result = fused(value, shapes, references, offsets, logits).view(2, 11, 3, 7)
    bad = torch.zeros(2, 11, 3, dtype=torch.bool)
    bad[0, 2, 1] = True
    assert torch.equal(result.isnan().any(-1), bad)


def test_gradients_are_those_of_the_formula():
    inputs = make(dtype=torch.float64)
    tensors = [inputs[i].requires_grad_() for i in (0, 2, 3, 4)]
    grad = torch.randn(2, 11, 21, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad(by_hand(*inputs), tensors, grad)
    found = torch.autograd.grad(ms_deform_attn_points(*inputs), tensors, grad)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_extents_given_or_not():
    inputs = make()
    extents = torch.tensor([(width, height) for height, width in LEVELS], dtype=torch.float32)
    value = inputs[0].requires_grad_()
    plain = ms_deform_attn_points(value, *inputs[1:])
    assert torch.equal(plain, ms_deform_attn_points(value, *inputs[1:], extents))


@compiled
def test_opcheck():
    value, shapes, references, offsets, logits = make()
    flat = [size for shape in shapes for size in shape]
    torch.library.opcheck(
        torch.ops.maskbench.ms_deform_attn_points, (value, flat, references, offsets, logits)
    )


def test_flops():
    inputs = make()
    meta = [tensor.to("meta") if isinstance(tensor, torch.Tensor) else tensor for tensor in inputs]
    with FlopCounterMode(display=False) as counter:
        assert ms_deform_attn_points(*meta).shape == (2, 11, 21)
    assert counter.get_total_flops() == 2 * ms_deform_attn_multiply_adds(inputs[3].shape, 7)


@pytest.mark.parametrize("shape", [(3, 11, 3, 2), (2, 10, 3, 2), (2, 11, 2, 2), (2, 11, 3, 4), (2, 11, 2)])
def test_references_that_do_not_fit(shape):
    value, shapes, _, offsets, logits = make()
    with pytest.raises(ValueError, match=r"references .* expected \[B or 1, Q, L or 1, 2\]"):
        ms_deform_attn_points(value, shapes, torch.zeros(shape), offsets, logits)


def test_the_reference_backend_runs_the_formula(monkeypatch):
    monkeypatch.setattr(ops.points.backend, "active_backend", lambda device: "reference")
    inputs = make()
    with torch.no_grad():
        assert torch.equal(ms_deform_attn_points(*inputs), by_hand(*inputs))

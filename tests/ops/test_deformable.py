"""Multi-scale deformable attention: against its definition, torch's own checks, and edge cases."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ops import ms_deform_attn, ms_deform_attn_multiply_adds, ms_deform_attn_reference

SHAPES = [(5, 4), (3, 2), (1, 1)]


def make(batch=2, queries=3, heads=2, channels=3, shapes=SHAPES, points=2, dtype=torch.float64, spread=0.3):
    """Random inputs; locations reach `spread` beyond the image on each side."""
    generator = torch.Generator().manual_seed(0)
    tokens = sum(h * w for h, w in shapes)
    value = torch.randn(batch, tokens, heads, channels, generator=generator, dtype=torch.float64)
    size = (batch, queries, heads, len(shapes), points)
    locations = torch.rand(*size, 2, generator=generator, dtype=torch.float64) * (1 + 2 * spread) - spread
    weights = torch.randn(size, generator=generator, dtype=torch.float64).flatten(3).softmax(-1).view(size)
    return value.to(dtype), shapes, locations.to(dtype), weights.to(dtype)


def by_loops(value, shapes, locations, weights):
    """Pixel by pixel, as bilinear interpolation is defined; outside is zero."""
    batch, queries, heads, levels, points, _ = locations.shape
    output = torch.zeros(batch, queries, heads, value.shape[3], dtype=value.dtype)
    start = 0
    for level, (height, width) in enumerate(shapes):
        for b, q, m, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, points))).tolist():
            x = locations[b, q, m, level, p, 0].item() * width - 0.5
            y = locations[b, q, m, level, p, 1].item() * height - 0.5
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        share = (1 - abs(x - column)) * (1 - abs(y - row)) * weights[b, q, m, level, p]
                        output[b, q, m] += share * value[b, start + row * width + column, m]
        start += height * width
    return output.flatten(2)


@pytest.mark.parametrize(("shapes", "points"), [(SHAPES, 2), ([(4, 7)], 1), ([(1, 9), (6, 1)], 3)])
def test_equals_the_definition(shapes, points):
    inputs = make(shapes=shapes, points=points)
    expected = by_loops(*inputs)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(ms_deform_attn_reference(*inputs), expected)
    torch.testing.assert_close(ms_deform_attn(*inputs), expected)


def test_a_point_on_a_pixel_centre_reads_that_pixel():
    value = torch.arange(6.0).view(1, 6, 1, 1)
    locations = torch.tensor([(2 + 0.5) / 3, (1 + 0.5) / 2]).view(1, 1, 1, 1, 1, 2)
    assert ms_deform_attn(value, [(2, 3)], locations, torch.ones(1, 1, 1, 1, 1)).item() == pytest.approx(5.0)


def test_points_outside_add_nothing():
    value, shapes, locations, weights = make()
    far = torch.where(torch.rand(locations.shape) < 0.5, -1.5, 2.5).to(locations)
    far = far.requires_grad_()
    value = value.requires_grad_()
    output = ms_deform_attn(value, shapes, far, weights)
    assert output.abs().max() == 0
    output.sum().backward()
    assert value.grad.abs().max() == 0 and far.grad.abs().max() == 0


def test_gradients_are_those_of_finite_differences():
    value, shapes, locations, weights = make()
    inputs = [x.requires_grad_() for x in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, s, w: ms_deform_attn(v, shapes, s, w), inputs)


def test_gradients_are_those_of_the_reference():
    value, shapes, locations, weights = make(dtype=torch.float32)
    grads = []
    for function in (ms_deform_attn, ms_deform_attn_reference):
        inputs = [x.clone().requires_grad_() for x in (value, locations, weights)]
        output = function(inputs[0], shapes, *inputs[1:])
        factors = torch.arange(output.numel()).view_as(output)
        grads.append(torch.autograd.grad((output * factors).sum(), inputs))
    for ours, reference in zip(*grads, strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, reference)


def test_torch_accepts_the_operator():
    value, shapes, locations, weights = make()
    flat = [size for shape in shapes for size in shape]
    inputs = [x.requires_grad_() for x in (value, locations, weights)]
    results = torch.library.opcheck(torch.ops.maskbench.ms_deform_attn, (inputs[0], flat, *inputs[1:]))
    assert set(results.values()) == {"SUCCESS"}


def test_non_contiguous_inputs():
    value, shapes, locations, weights = make()
    expected = ms_deform_attn(value, shapes, locations, weights)
    turned = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in (value, locations, weights)]
    assert not any(x.is_contiguous() for x in turned)
    torch.testing.assert_close(ms_deform_attn(turned[0], shapes, *turned[1:]), expected)


@pytest.mark.parametrize(("batch", "queries"), [(0, 3), (2, 0)])
def test_empty_inputs(batch, queries):
    value, shapes, locations, weights = make(batch=batch, queries=queries)
    value.requires_grad_()
    output = ms_deform_attn(value, shapes, locations, weights)
    assert output.shape == (batch, queries, 6)
    output.sum().backward()
    assert value.grad.shape == value.shape and not value.grad.any()


def test_an_empty_level_adds_nothing():
    value, shapes, locations, weights = make(shapes=[(2, 3), (0, 4)])
    expected = by_loops(value, [(2, 3)], locations[:, :, :, :1], weights[:, :, :, :1])
    torch.testing.assert_close(ms_deform_attn(value, shapes, locations, weights), expected)


def test_autocast_computes_in_float32():
    value, shapes, locations, weights = make(dtype=torch.float32)
    exact = ms_deform_attn(value.bfloat16().float(), shapes, locations, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = ms_deform_attn(value.bfloat16(), shapes, locations, weights)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, exact)


def test_runs_on_meta():
    value, shapes, locations, weights = make()
    output = ms_deform_attn(value.to("meta"), shapes, locations.to("meta"), weights.to("meta"))
    assert output.is_meta and output.shape == (2, 3, 6) and output.dtype == torch.float64


def test_flops_are_two_per_multiply_add():
    value, shapes, locations, weights = make(batch=2, queries=3, heads=2, channels=3, points=2)
    samples = 2 * 3 * 2 * 3 * 2
    assert ms_deform_attn_multiply_adds(locations.shape, 3) == 5 * 3 * samples == 1080
    with FlopCounterMode(display=False) as counter:
        ms_deform_attn(value.requires_grad_(), shapes, locations, weights).sum().backward()
    counts = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
    assert counts == {"maskbench.ms_deform_attn": 2160, "maskbench.ms_deform_attn_backward": 6480}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, s, x, w: (v[0], s, x, w), "expected value"),
        (lambda v, s, x, w: (v, s[:2], x, w), "3 levels"),
        (lambda v, s, x, w: (v, [(5, 4), (3, 2), (1, 2)], x, w), "add up"),
        (lambda v, s, x, w: (v, s, x, w[..., :1]), "weights"),
        (lambda v, s, x, w: (v[:1], s, x, w), "do not fit value"),
        (lambda v, s, x, w: (v.float(), s, x, w), "dtypes"),
    ],
)
def test_inputs_that_do_not_fit_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        ms_deform_attn(*change(*make()))

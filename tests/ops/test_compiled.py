"""The compiled CPU kernels of deformable attention: against the reference, bit for bit, at the edges."""

import pytest
import torch

from ops import active_backend, ms_deform_attn, ms_deform_attn_reference


@pytest.fixture(autouse=True, scope="module")
def compiled():
    if active_backend() != "compiled":
        pytest.skip("needs the compiled operators, hence a C++ compiler")


CASES = {  # levels, batch, queries, heads, channels, points
    "models": ([(16, 12), (8, 6), (4, 3)], 1, 50, 8, 32, 4),
    "one of each": ([(3, 5)], 1, 1, 1, 1, 1),
    "odd": ([(7, 3), (1, 9)], 2, 17, 3, 5, 3),
    "wide": ([(4, 4), (2, 2)], 1, 9, 2, 64, 4),
    "not quite wide": ([(4, 5)], 2, 6, 2, 72, 2),
    "many points": ([(3, 3)] * 5, 1, 3, 1, 16, 41),
    "no pixels in a level": ([(3, 2), (0, 4), (2, 2)], 1, 5, 2, 8, 2),
}


def make(levels, batch, queries, heads, channels, points, dtype=torch.float32):
    """Random inputs and an output gradient; locations reach 0.3 beyond the image on each side."""
    generator = torch.Generator().manual_seed(0)
    pixels = sum(height * width for height, width in levels)
    size = (batch, queries, heads, len(levels), points)
    value = torch.randn(batch, pixels, heads, channels, generator=generator)
    locations = torch.rand(*size, 2, generator=generator) * 1.6 - 0.3
    weights = torch.rand(size, generator=generator)
    grad = torch.randn(batch, queries, heads * channels, generator=generator)
    return [tensor.to(dtype) for tensor in (value, locations, weights, grad)]


def run(function, levels, value, locations, weights, grad):
    """Output and the three gradients."""
    inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    output = function(inputs[0], levels, *inputs[1:])
    return [output.detach(), *torch.autograd.grad(output, inputs, grad)]


def exact(levels, tensors):
    return run(ms_deform_attn_reference, levels, *(tensor.double() for tensor in tensors))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("dtype", "forward", "backward"),
    [
        (torch.float64, 1e-12, 1e-11),
        (torch.float32, 1e-5, 1e-4),
        (torch.bfloat16, 2e-2, 4e-2),
        (torch.float16, 3e-3, 6e-3),
    ],
    ids=["fp64", "fp32", "bf16", "fp16"],
)
def test_equals_the_reference(case, dtype, forward, backward):
    levels = CASES[case][0]
    tensors = make(*CASES[case], dtype=dtype)
    results, expected = run(ms_deform_attn, levels, *tensors), exact(levels, tensors)
    for result, reference, tolerance in zip(results, expected, (forward, *[backward] * 3), strict=True):
        assert result.dtype == dtype and result.is_contiguous() and reference.abs().max() > 0
        scale = max(1.0, reference.abs().max().item())
        torch.testing.assert_close(result.double() / scale, reference / scale, atol=tolerance, rtol=0)


def test_gradients_are_those_of_finite_differences():
    value, locations, weights, _ = make([(4, 3), (2, 2)], 1, 3, 2, 9, 2, dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, s, w: ms_deform_attn(v, [(4, 3), (2, 2)], s, w), inputs)


@pytest.mark.parametrize("case", ["models", "odd", "many points"])
def test_bits_do_not_depend_on_threads_or_runs(case):
    levels, threads = CASES[case][0], torch.get_num_threads()
    tensors = make(*CASES[case])
    try:
        runs = []
        for count in (1, 2, 7, 16, 2):
            torch.set_num_threads(count)
            runs.append(run(ms_deform_attn, levels, *tensors))
    finally:
        torch.set_num_threads(threads)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize("far", [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e9, -1e9])
def test_a_location_that_is_no_place_reads_zero(far):
    levels = CASES["odd"][0]
    value, locations, weights, grad = make(*CASES["odd"])
    lost = torch.rand(locations.shape[:-1], generator=torch.Generator().manual_seed(1)) < 0.3
    locations[..., 0][lost] = far
    results = run(ms_deform_attn, levels, value, locations, weights, grad)
    expected = exact(levels, (value, locations, weights, grad))
    somewhere = locations.nan_to_num(0.5, 0.5, 0.5).clamp(-2, 2)
    without = run(ms_deform_attn, levels, value, somewhere, weights.masked_fill(lost, 0), grad)
    for result, reference in zip(results, expected, strict=True):
        assert result.isfinite().all()
        torch.testing.assert_close(result.double(), reference, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(results[:2], without[:2])
    assert not results[2][lost].any() and not results[3][lost].any()


def test_values_that_are_not_finite_stay_where_they_are():
    levels = [(4, 4)]
    value, locations, weights, _ = make(levels, 1, 40, 1, 32, 4)
    value[0, 0] = float("nan")
    output = ms_deform_attn(value, levels, locations, weights)
    expected = ms_deform_attn_reference(value, levels, locations, weights)
    assert 0 < expected.isnan().sum() < expected.numel()
    torch.testing.assert_close(output, expected, equal_nan=True)


@pytest.mark.parametrize("size", ["batch", "queries", "heads", "channels", "points"])
def test_empty_inputs(size):
    levels, *sizes = [(3, 2), (1, 1)], 2, 3, 2, 4, 2
    sizes[("batch", "queries", "heads", "channels", "points").index(size)] = 0
    tensors = make(levels, *sizes)
    results = run(ms_deform_attn, levels, *tensors)
    assert results[0].shape == tensors[3].shape
    for result, like in zip(results[1:], tensors, strict=False):
        assert result.shape == like.shape
    assert not any(result.any() for result in results)


def test_inputs_in_any_memory_order():
    levels = CASES["odd"][0]
    tensors = make(*CASES["odd"])
    expected = run(ms_deform_attn, levels, *tensors)
    turned = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in tensors]
    turned[3] = tensors[3][:, :1].expand_as(tensors[3])
    expected_same = run(ms_deform_attn, levels, *tensors[:3], turned[3].contiguous())
    results = run(ms_deform_attn, levels, *turned)
    assert not any(tensor.is_contiguous() for tensor in turned)
    assert torch.equal(results[0], expected[0])
    assert all(torch.equal(a, b) for a, b in zip(results, expected_same, strict=True))


def test_the_kernel_itself_checks_its_inputs():
    value, locations, weights, grad = make(*CASES["odd"])
    flat = [size for level in CASES["odd"][0] for size in level]
    kernel, backward = torch.ops.maskbench.ms_deform_attn, torch.ops.maskbench.ms_deform_attn_backward
    kernel(value, flat, locations, weights)
    with pytest.raises(RuntimeError, match="add up"):
        kernel(value, [7, 3, 1, 8], locations, weights)
    with pytest.raises(RuntimeError, match="negative"):
        kernel(value, [-7, -3, 1, 9], locations, weights)
    with pytest.raises(RuntimeError, match="fit together"):
        kernel(value, flat, locations, weights[:, :1])
    with pytest.raises(RuntimeError, match="dimensions"):
        kernel(value, flat, locations, weights[0])
    with pytest.raises(RuntimeError, match="floating point"):
        kernel(value.int(), flat, locations, weights)
    with pytest.raises(RuntimeError, match="gradient"):
        backward(grad[:, 1:], value, flat, locations, weights)


def test_torch_accepts_the_backward_operator():
    value, locations, weights, grad = make(*CASES["odd"])
    flat = [size for level in CASES["odd"][0] for size in level]
    results = torch.library.opcheck(
        torch.ops.maskbench.ms_deform_attn_backward, (grad, value, flat, locations, weights)
    )
    assert set(results.values()) == {"SUCCESS"}


class Attention(torch.nn.Module):
    """The operator between the arithmetic that models put around it."""

    levels = CASES["odd"][0]

    def forward(self, value, offsets, logits):
        sizes = torch.tensor([(width, height) for height, width in self.levels])[:, None]
        weights = logits.flatten(3).softmax(-1).view(logits.shape)
        return ms_deform_attn(value * 2, self.levels, 0.5 + offsets / sizes, weights).relu()


def test_compiles_as_one_graph():
    value, locations, weights, grad = make(*CASES["odd"])
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    model = Attention()
    expected = model(*inputs)
    output = torch.compile(model, fullgraph=True, backend="aot_eager")(*inputs)
    torch.testing.assert_close(output, expected)
    ours, reference = (torch.autograd.grad(x, inputs, grad) for x in (output, expected))
    torch.testing.assert_close(ours, reference)


@pytest.mark.slow
def test_runs_from_generated_code():
    levels = CASES["odd"][0]
    value, locations, weights, _ = make(*CASES["odd"])
    model = torch.compile(lambda v, s, w: ms_deform_attn(v * 2, levels, s, w), fullgraph=True)
    torch.testing.assert_close(
        model(value, locations, weights), ms_deform_attn(value * 2, levels, locations, weights)
    )


def test_exports():
    value, locations, weights, _ = make(*CASES["odd"])
    program = torch.export.export(Attention(), (value, locations, weights))
    assert any(node.target is torch.ops.maskbench.ms_deform_attn.default for node in program.graph.nodes)
    torch.testing.assert_close(
        program.module()(value, locations, weights), Attention()(value, locations, weights)
    )

"""The CUDA kernels: through Triton's interpreter, its compiler, and on a device where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ops
from ops import ms_deform_attn, ms_deform_attn_reference

pytest.importorskip("triton")

ROOT = Path(ops.__file__).parents[1]

INTERPRETED = """
import torch
from ops import triton_deformable as kernels
from ops.reference import ms_deform_attn_backward_reference, ms_deform_attn_reference

generator = torch.Generator().manual_seed(0)
def check(dtype, batch, heads, channels, points, levels, queries, tolerance):
    pixels = sum(height * width for height, width in levels)
    size = (batch, queries, heads, len(levels), points)
    value = torch.randn(batch, pixels, heads, channels, generator=generator).to(dtype)
    locations = (torch.rand(*size, 2, generator=generator) * 1.6 - 0.3).to(dtype)
    locations[0, 0, 0, 0, 0, 0], locations[0, 1, 0, 0, 0, 1] = float("nan"), 1e30
    weights = torch.rand(size, generator=generator).to(dtype)
    grad = torch.randn(batch, queries, heads * channels, generator=generator).to(dtype)
    exact = [x.double() for x in (value, locations, weights)]
    output = kernels.forward(value, levels, locations, weights)
    assert output.dtype == dtype
    expected = [ms_deform_attn_reference(exact[0], levels, *exact[1:])]
    expected += ms_deform_attn_backward_reference(grad.double(), exact[0], levels, *exact[1:])
    for fixed in (False, True):
        torch.use_deterministic_algorithms(fixed)
        results = [output, *kernels.backward(grad, value, levels, locations, weights)]
        for result, reference in zip(results, expected):
            error = (result.double() - reference).abs().max() / reference.abs().max()
            assert error < tolerance, (dtype, channels, fixed, error)

check(torch.float32, 2, 2, 5, 2, [(4, 3), (2, 2)], 7, 1e-5)
check(torch.float64, 1, 2, 4, 1, [(3, 5)], 3, 1e-12)
check(torch.bfloat16, 1, 1, 8, 2, [(3, 5)], 9, 2e-2)
nothing = torch.ones(1, 0, 1, 1, 1)
empty = kernels.backward(torch.ones(1, 0, 4), torch.ones(1, 4, 1, 4), [(2, 2)], nothing[..., None], nothing)
assert not empty[0].any() and empty[1].shape == (1, 0, 1, 1, 1, 1)
print("agree")
"""


def test_interpreted_kernels_equal_the_reference():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", INTERPRETED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["agree"]


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True])
def test_kernels_compile_for_a_gpu(fixed):
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ops.triton_kernels import backward_kernel, forward_kernel

    sizes = {
        "HEADS": 8, "CHANNELS": 32, "LEVELS": 2, "POINTS": 4, "BLOCK": 32, "WIDTH": 32, "SUM": tl.float32
    }  # fmt: skip
    tensors = ("value", "locations", "weights", "output", "grad", "grad_locations", "grad_weights")
    types = dict.fromkeys(tensors, "*bf16")
    types |= {"levels": "*i32", "pixels": "i32", "queries": "i32", "scale": "*fp64"}
    types["grad_value"] = "*i64" if fixed else "*fp32"
    for kernel, constants in ((forward_kernel, sizes), (backward_kernel, {**sizes, "FIXED": fixed})):
        signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
        binary = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
        assert len(binary.asm["cubin"]) > 1000
    assert ("relaxed.add.u64" in binary.asm["ptx"]) == fixed


def inputs(dtype, channels=32):
    generator = torch.Generator("cuda").manual_seed(0)
    levels = [(24, 16), (12, 8), (6, 4)]
    shape = (2, 504, 8, 3, 4)
    value = torch.randn(2, 504, 8, channels, generator=generator, device="cuda")
    locations = torch.rand(*shape, 2, generator=generator, device="cuda") * 1.4 - 0.2
    weights = torch.rand(shape, generator=generator, device="cuda")
    return levels, [tensor.to(dtype).requires_grad_() for tensor in (value, locations, weights)]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 4e-2), (torch.float16, 6e-3)]
)
@pytest.mark.parametrize("channels", [32, 24])
def test_on_a_device_equals_the_reference(dtype, tolerance, channels):
    levels, tensors = inputs(dtype, channels)
    output = ms_deform_attn(tensors[0], levels, *tensors[1:])
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    expected = ms_deform_attn_reference(exact[0], levels, *exact[1:])
    grad = torch.randn_like(expected)
    results = [output, *torch.autograd.grad(output, tensors, grad.to(dtype))]
    references = [expected, *torch.autograd.grad(expected, exact, grad)]
    for result, reference in zip(results, references, strict=True):
        assert (result.double() - reference).abs().max() < tolerance * reference.abs().max()


@pytest.mark.gpu
def test_on_a_device_the_same_bits_where_asked_for():
    levels, tensors = inputs(torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(3):
            output = ms_deform_attn(tensors[0], levels, *tensors[1:])
            runs.append(torch.autograd.grad(output.square().sum(), tensors))
    finally:
        torch.use_deterministic_algorithms(False)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))

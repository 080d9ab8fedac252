"""Shortcuts of inference on the CPU against what they replace."""

import pytest
import torch
import torch.nn.functional as F

from models.shrink import shrink
from models.slices import in_slices


def test_slices_are_put_together_in_order():
    seen = []

    def function(a, b):
        seen.append((len(a), None if b is None else len(b)))
        return a * 2 if b is None else a + b

    x, y = torch.arange(25.0), torch.arange(25.0, 50.0)
    with torch.no_grad():
        assert torch.equal(in_slices(function, x, y, rows=10), x + y)
        assert torch.equal(in_slices(function, x, None, rows=10), 2 * x)
    assert seen == [(10, 10), (10, 10), (5, 5), (10, None), (10, None), (5, None)]


@pytest.mark.parametrize("rows, grad", [(13, False), (10, True)])
def test_one_call_where_slices_do_not_pay(rows, grad):
    calls = []
    with torch.set_grad_enabled(grad):
        in_slices(lambda x: calls.append(len(x)) or x, torch.zeros(25), rows=rows)
    assert calls == [25]


@pytest.mark.parametrize(
    "size, result", [((64, 48), (32, 24)), ((64, 48), (16, 12)), ((64, 48), (8, 6)), ((16, 16), (1, 1))]
)
def test_shrinks_as_bilinear_interpolation(size, result):
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(maps, size=result, mode="bilinear", align_corners=False)
    torch.testing.assert_close(shrink(maps, result), wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("result", [(64, 48), (32, 16), (21, 16), (25, 19), (128, 96), (32, 48)])
def test_other_factors_are_left_to_pytorch(result):
    maps = torch.randn(1, 2, 64, 48, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(maps, size=result, mode="bilinear", align_corners=False)
    assert torch.equal(shrink(maps, result), wanted)

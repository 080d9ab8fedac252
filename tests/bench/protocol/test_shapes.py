"""Shapes without asking PyTorch are those that PyTorch gives."""

import pytest
import torch

from bench.protocol import shapes

X = torch.empty(2, 6, 8, 4, device="meta")
CASES = {
    "linear": (X, torch.empty(3, 4, device="meta"), torch.empty(3, device="meta")),
    "layer_norm": (X, [4], None, None, 1e-5),
    "group_norm": (X, 3, None, None, 1e-5),
    "relu": (X,),
    "gelu": (X,),
    "add": (X, X),
    "mul": (X, 2.0),
    "upsample_bilinear2d": (X, [5, 7], False),
    "scaled_dot_product_attention": (
        X,
        torch.empty(2, 6, 9, 4, device="meta"),
        torch.empty(2, 6, 9, 5, device="meta"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_shape_is_the_one_that_pytorch_gives(name):
    found = shapes.result(f"aten::{name}", CASES[name], {})
    asked = getattr(torch.ops.aten, name)(*CASES[name])
    assert (found.shape, found.dtype, found.device) == (asked.shape, asked.dtype, asked.device)


def test_what_is_not_simple_is_asked_for():
    assert shapes.result("aten::add", (X, X[:1]), {}) is None  # broadcasts
    assert shapes.result("aten::add", (X, X), {"alpha": 2}) is None
    assert shapes.result("aten::add", (X, X.double()), {}) is None
    assert shapes.result("aten::add", (X.int(), 1), {}) is None
    assert shapes.result("aten::upsample_bilinear2d", (X, None, False, [2.0, 2.0]), {}) is None
    assert shapes.result("aten::softmax", (X, -1), {}) is None

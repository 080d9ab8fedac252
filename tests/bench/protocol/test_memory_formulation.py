"""The authors' formulations give what ours give, and CUDA's autocast rules hold on the CPU."""

import pytest
import torch
import torch.nn.functional as F

from bench.protocol.memory import formulation
from bench.protocol.memory.autocast import cuda_autocast
from models.attention import MultiheadAttention
from models.backbones.swin import WindowAttention
from models.queries.dfpq import AttentionPooling


@pytest.mark.parametrize("scores", [None, "masked", "logits"])
def test_multihead_attention_is_the_same_written_out(scores):
    torch.manual_seed(0)
    ours = MultiheadAttention(16, 4).eval()
    query, key, value = torch.randn(2, 5, 16), torch.randn(2, 9, 16), torch.randn(2, 9, 16)
    forbidden = torch.rand(2, 5, 9) < 0.3 if scores != "logits" else None
    bias = torch.randn(1, 4, 5, 9) if scores is None else None
    expected = ours(query, key, value, forbidden, scores, bias)
    with formulation.formulation("authors"):
        output, mean = ours(query, key, value, forbidden, scores, bias)
    torch.testing.assert_close(output, expected[0])
    assert (mean is None) == (scores is None)
    if scores:
        torch.testing.assert_close(mean, expected[1])


def test_windowed_attention_is_the_same_written_out():
    torch.manual_seed(0)
    ours = WindowAttention(16, 2, 3)
    x, positions, mask = torch.randn(4, 9, 16), torch.randint(0, 25, (9, 9)), torch.randn(4, 9, 9)
    expected = ours(x, positions, mask)
    with formulation.formulation("authors"):
        torch.testing.assert_close(ours(x, positions, mask), expected)


def test_pooling_is_the_same_as_a_product_and_a_sum():
    torch.manual_seed(0)
    pool, scores, positions = AttentionPooling(), torch.rand(2, 5, 9), torch.randn(1, 9, 4)
    expected = pool(scores, positions)
    with formulation.formulation("released"):
        torch.testing.assert_close(pool(scores, positions), expected)


def test_everything_is_put_back():
    before = MultiheadAttention.forward, F.dropout
    with pytest.raises(RuntimeError), formulation.formulation("released"):
        assert MultiheadAttention.forward is not before[0]
        raise RuntimeError
    assert (MultiheadAttention.forward, F.dropout) == before


def test_autocast_follows_cuda_and_is_put_back():
    half = torch.zeros(2, 4, 4, 4, dtype=torch.bfloat16)
    with cuda_autocast(torch.bfloat16):
        product = torch.zeros(4, 4) @ torch.zeros(4, 4)
        wide = [
            half.softmax(-1),
            F.log_softmax(half, -1),
            F.layer_norm(half, (4,)),
            F.group_norm(half, 2),
            half.sum(),
            half.sum(1),
            F.binary_cross_entropy_with_logits(half, half),
        ]
        resized = F.interpolate(half, scale_factor=2, mode="bilinear")
    assert product.dtype == resized.dtype == torch.bfloat16
    assert {x.dtype for x in wide} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        assert half.softmax(-1).dtype == torch.bfloat16


def test_autocast_keeps_gradients():
    x = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True)
    with cuda_autocast(torch.bfloat16):
        F.layer_norm(x, (4,)).square().sum().backward()
    assert x.grad.dtype == torch.bfloat16

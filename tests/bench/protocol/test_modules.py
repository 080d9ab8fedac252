"""What mmcv's counter says of plain modules, by its hooks, and what it does not see."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.protocol.modules import MMCV
from models.attention.multihead import MultiheadAttention
from models.decoders.location import LocationDecoder
from models.decoders.mask_decoder import MaskBlock
from models.heads import MLP
from tests.bench.protocol.oracle import our_count


class Call(nn.Module):
    """A function, or a function of a module, as a module."""

    def __init__(self, function, module=None):
        super().__init__()
        self.function, self.module = function, module

    def forward(self, *inputs):
        return self.function(*inputs) if self.module is None else self.function(self.module, *inputs)


IMAGE, TOKENS = torch.zeros(1, 8, 12, 10), torch.zeros(2, 5, 16)

CASES = {
    "convolution with bias": (nn.Conv2d(8, 6, 3, padding=1), IMAGE, 120 * 6 * (8 * 9 + 1)),
    "convolution without": (nn.Conv2d(8, 6, 3, stride=2, bias=False), IMAGE, 5 * 4 * 6 * 8 * 9),
    "grouped convolution": (nn.Conv2d(8, 8, 5, padding=2, groups=8), IMAGE, 120 * 8 * (25 + 1)),
    "linear, never with its bias": (nn.Linear(16, 7), TOKENS, 10 * 16 * 7),
    "batch norm": (nn.BatchNorm2d(8), IMAGE, 2 * 960),
    "batch norm without weights": (nn.BatchNorm2d(8, affine=False), IMAGE, 960),
    "group norm": (nn.GroupNorm(2, 8), IMAGE, 2 * 960),
    "layer norm": (nn.LayerNorm(16), TOKENS, 2 * 160),
    "layer norm without weights": (nn.LayerNorm(16, elementwise_affine=False), TOKENS, 160),
    "relu": (nn.ReLU(), IMAGE, 960),
    "relu in place": (nn.Sequential(nn.Linear(16, 3), nn.ReLU(inplace=True)), TOKENS, 10 * 16 * 3 + 30),
    "gelu, sigmoid, softmax": (nn.Sequential(nn.GELU(), nn.Sigmoid(), nn.Softmax(-1)), TOKENS, 0),
    "max pooling counts what it reads": (nn.MaxPool2d(3, 2, 1), IMAGE, 960),
    "average pooling": (nn.AvgPool2d(2), IMAGE, 960),
    "adaptive pooling": (nn.AdaptiveAvgPool2d(1), IMAGE, 960),
    "upsampling by a module": (nn.Upsample(scale_factor=2, mode="nearest"), IMAGE, 4 * 960),
    "upsampling by a function": (
        Call(lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear")),
        IMAGE,
        0,
    ),
    "products": (Call(lambda x: x @ x.mT), TOKENS, 0),
    "attention": (Call(lambda m, x: m(x, x, x)[0], MultiheadAttention(16, 4)), TOKENS, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_what_the_hooks_say(name):
    module, x, expected = CASES[name]
    found = our_count(module, x, protocol=MMCV)
    assert found.total == expected
    assert found.uncounted == {}


def bare(cls, **modules):
    """A module of a class without what its constructor makes."""

    class Bare(cls):
        def __init__(self):
            nn.Module.__init__(self)
            for name, module in modules.items():
                self.add_module(name, module)

        def forward(self, x):
            for module in self.children():
                x = module(x)
            return x

    return Bare()


def test_attention_that_the_released_code_spells_out_counts_its_linear_layers():
    attention = Call(lambda m, x: m(x, x, x)[0], MultiheadAttention(16, 4))
    assert our_count(bare(MaskBlock, attention=attention), TOKENS, protocol=MMCV).total == 4 * 10 * 16 * 16


def test_box_heads_run_twice_in_the_released_decoder():
    head = MLP(16, 16, 4, 3)
    once = 10 * (16 * 16 * 2 + 16 * 4) + 2 * 160  # and two ReLUs
    assert our_count(head, TOKENS, protocol=MMCV).total == once
    assert our_count(bare(LocationDecoder, head=head), TOKENS, protocol=MMCV).total == 2 * once


def test_zeros_are_explained():
    assert "type that the tool does not know" in MMCV.why_nothing("matmul")

"""Every formula, and what is dead, against fvcore on real tensors."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from tests.bench.protocol.oracle import fvcore_count, our_count


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Attention(nn.Module):
    """Multi-head attention with weights, as the released decoders call it, with or without a mask."""

    def __init__(self, masked):
        super().__init__()
        self.layer = nn.MultiheadAttention(16, 4)
        self.masked = masked

    def forward(self, queries, memory):
        mask = (queries[..., :1] > memory[..., 0].flatten()).transpose(0, 1).repeat(4, 1, 1)
        return self.layer(queries, memory + 1, memory, attn_mask=mask if self.masked else None)[0]


def norms():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.BatchNorm2d(8, affine=False),
        nn.BatchNorm2d(8, track_running_stats=False),  # with the statistics of the batch, like layer norm
        nn.GroupNorm(4, 8, affine=False), nn.InstanceNorm2d(8, affine=True), nn.LayerNorm(7),
        nn.LayerNorm(7, elementwise_affine=False), nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip


IMAGE = torch.zeros(1, 3, 15, 15)
TOKENS = torch.zeros(2, 5, 16)

CASES = {
    "convolutions": (
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 12, 3, groups=3, stride=2),
            nn.Conv2d(12, 12, 5, groups=12, dilation=1),
            nn.ConvTranspose2d(12, 4, 2, stride=2),
        ),  # fmt: skip
        (IMAGE,),
    ),
    "convolutions of lines": (
        nn.Sequential(nn.Conv1d(16, 6, 3, groups=2), nn.ConvTranspose1d(6, 5, 4, stride=3)),
        (torch.zeros(2, 16, 9),),
    ),
    "convolutions of volumes": (
        nn.Sequential(nn.Conv3d(4, 6, 3, groups=2), nn.ConvTranspose3d(6, 5, 2, stride=2)),
        (torch.zeros(1, 4, 5, 6, 7),),
    ),
    "normalisation": (norms(), (IMAGE,)),
    "interpolation": (
        Call(
            lambda x: (
                F.interpolate(x, size=(20, 31), mode="bilinear", align_corners=False).sum()
                + F.interpolate(x, scale_factor=2.0, mode="nearest").sum()
                + F.grid_sample(x, torch.zeros(1, 4, 6, 2, device=x.device), align_corners=False).sum()
            )
        ),
        (IMAGE,),
    ),
    "linear": (nn.Sequential(nn.Linear(16, 40), nn.GELU(), nn.Linear(40, 3, bias=False)), (TOKENS,)),
    "products": (
        Call(lambda x: (x @ x.mT).sum() + torch.bmm(x.mT, x).sum() + (x[0] @ x[1].t()).sum()),
        (TOKENS,),
    ),
    "batched product": (Call(lambda x: x.view(2, 5, 4, 4).transpose(1, 2) @ x.view(2, 4, 4, 5)), (TOKENS,)),
    "einsum": (Call(lambda x: torch.einsum("bqc,bkhc -> bqkh", x, x.view(2, 5, 1, 16))), (TOKENS,)),
    "einsum, large": (
        Call(lambda m, f: torch.einsum("bqc,bchw->bqhw", m, f)),
        (torch.zeros(1, 37, 19), torch.zeros(1, 19, 53, 61)),
    ),
    "einsum, not printed": (
        Call(lambda a, b: torch.einsum("nct,ncp->ntp", a, b)),
        (torch.zeros(3, 37, 53), torch.zeros(3, 37, 61)),
    ),
    "self-attention": (Attention(masked=False), (TOKENS, TOKENS)),
    "masked attention": (Attention(masked=True), (torch.zeros(7, 1, 16), torch.zeros(11, 1, 16))),
    "fused attention": (
        Call(lambda q, kv: F.scaled_dot_product_attention(q, kv, kv[..., :2])),
        (torch.zeros(2, 3, 7, 4), torch.zeros(2, 3, 11, 4)),
    ),
    "transformer layer": (nn.TransformerDecoderLayer(16, 4, 32, batch_first=True), (TOKENS, TOKENS)),
    "resnet": (torchvision.models.resnet18(num_classes=7), (torch.zeros(1, 3, 64, 96),)),
    "swin": (torchvision.models.swin_t(num_classes=7), (torch.zeros(1, 3, 64, 64),)),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_what_fvcore_counts(name):
    module, inputs = CASES[name]
    total, by_operator = fvcore_count(module, *inputs)
    ours = our_count(module, *inputs)
    assert ours.uncounted == {}
    assert total > 0
    assert ours.total == total
    assert ours.by_operator == by_operator

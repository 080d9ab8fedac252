"""Only what reaches the result is counted; views and in-place writes carry the dependence."""

import pytest
import torch
from torch import nn

from bench.protocol.tape import record
from tests.bench.protocol.oracle import fvcore_count, our_count


class Branches(nn.Module):
    """Four linear layers of different widths; `forward` decides which of them the result needs."""

    def __init__(self, combine):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(10, width) for width in (10, 20, 40, 80))
        self.combine = combine

    def forward(self, x):
        return self.combine(*(layer(x) for layer in self.layers))


def through_views(a, b, c, d):
    return a, b.view(4, 5, 4).transpose(0, 1)[1:, 2].reshape(-1)[3:]


def written_in_place(a, b, c, d):
    buffer = torch.zeros(4, 60, device=a.device)
    buffer[:, :20] += b
    buffer[:, 20:].copy_(c)
    return buffer.flatten()[5:]


def written_after_use(a, b, c, d):
    result = a.sum()
    a.mul_(d[:, :10])  # too late to matter
    return result


def chosen_by_comparison(a, b, c, d):
    return torch.where(b[:, :10] > 0, a, 1.0)


def indexed(a, b, c, d):
    return a[b.sum(1).argsort()].detach()


def chunks(a, b, c, d):
    return d.chunk(2, dim=1)[1].unbind(0)[0]


LIVE = {
    through_views: 10 + 20,
    written_in_place: 20 + 40,
    written_after_use: 10,
    chosen_by_comparison: 10 + 20,
    indexed: 10 + 20,
    chunks: 80,
}
TRACED = [through_views, chosen_by_comparison, indexed, chunks]  # a TorchScript trace keeps in-place writes


@pytest.mark.parametrize("combine", LIVE, ids=lambda function: function.__name__)
def test_counts_the_layers_that_reach_the_result(combine):
    module, x = Branches(combine), torch.zeros(4, 10)
    assert our_count(module, x).total == LIVE[combine] * 4 * 10


@pytest.mark.parametrize("combine", TRACED, ids=lambda f: f.__name__)
def test_fvcore_drops_the_same_layers(combine):
    module, x = Branches(combine), torch.zeros(4, 10)
    assert fvcore_count(module, x)[0] == our_count(module, x).total


def test_everything_is_on_the_tape_and_parts_are_top_level_children():
    model = nn.Module()
    model.add_module("trunk", nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 10)))
    model.add_module("head", nn.Linear(10, 5))
    model = model.to("meta")

    x = torch.empty(1, 10, device="meta")

    def run(recorder):
        with recorder.following(model):
            features = model.trunk(x)
            model.head(features)
        with recorder.inside("after"):
            return features @ features.t()

    tape = record(run)
    assert [(e.op, e.part, e.cost.macs) for e in tape.entries] == [
        ("aten::linear", "trunk", 300),
        ("aten::relu", "trunk", 0),
        ("aten::linear", "trunk", 300),
        ("aten::linear", "head", 50),
        ("aten::matmul", "after", 10),
    ]
    assert [e.part for e in tape.live()] == ["trunk"] * 3 + ["after"]
    assert tape.entries[0].modules == (nn.Sequential, nn.Linear)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())

import pytest
import torch
from torch import nn

import models
from bench.train.recompute import blocks, recompute_blocks
from tests.bench.train import systems


def test_blocks_are_the_innermost_repeated_parts():
    names = set(blocks(models.build("faseg_swin_t_ade20k", "meta")))
    assert {"backbone.layers.0.blocks.0", "pixel_decoder.encoder.layers.5", "decoder.blocks.8"} < names
    assert not any("head" in name or name.endswith(("attention", "mlp")) for name in names)
    r50 = set(blocks(models.build("detr_r50_coco_panoptic", "meta")))
    assert len(r50) == 16 + 6 + 6 and "backbone.layer1.0" in r50 and "decoder.layers.5" in r50


class Stack(nn.Module):
    """Blocks with a batch norm and dropout, and a record that later ones read."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x):
        record = {}
        for number, block in enumerate(self.blocks):
            x = block(x, record)
            record[number] = x.detach()
        return x


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.calls = 0

    def forward(self, x, record):
        self.calls += 1
        inner = nn.functional.dropout(self.norm(x), 0.5, self.training)
        return x + self.linear(inner).tanh() * (1 + len(record))


def test_gradients_statistics_and_chance_are_the_same():
    results = []
    for forgetful in (False, True):
        torch.manual_seed(0)
        model, x = Stack(), torch.randn(8, 4)
        if forgetful:
            assert recompute_blocks(model) == ["blocks.0", "blocks.1", "blocks.2"]
        for _ in range(2):
            model(x).square().sum().backward()
        gradients = [p.grad for p in model.parameters()]
        results.append([*gradients, *model.state_dict().values(), torch.rand(3)])
        assert [block.calls for block in model.blocks] == [4 if forgetful else 2] * 3
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    model.eval()(x)
    assert [block.calls for block in model.blocks] == [5] * 3
    assert all(block.norm.momentum == 0.1 for block in model.blocks)


@pytest.mark.parametrize("name", ["faseg_r50_ade20k", "panoptic_segformer_r50_coco"])
def test_a_step_is_the_same(name):
    one, other = (systems.trained(name, 1, checkpointing=on) for on in (False, True))
    assert one[0][0] == pytest.approx(other[0][0], rel=1e-6) and torch.allclose(one[1], other[1], atol=1e-7)


def test_less_is_kept():
    from bench.protocol.memory import MemorySetting, predict
    from bench.train.plan import Recomputed

    spec = systems.small("maskformer_r50_ade20k")[0]
    spec = spec.override({"backbone.layers": [3, 4, 6, 3], "backbone.width": 32, "decoder.num_queries": 4})
    setting = MemorySetting(batch=2, crop=(256, 256), objects=1, formulation="ours", amp="bf16")
    found = [predict(s, setting) for s in (spec, Recomputed(spec))]
    kept, forgotten = (each.phases["backward"] - sum(each.rest.values()) for each in found)
    assert forgotten < 0.75 * kept

"""Attention statistics of small models, against sums written out and maps made by hand."""

import json
import random

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import nn

from bench.data import open_dataset
from bench.data.targets import Targets
from bench.errors import UserError
from bench.evaluate import TestSpec
from bench.evaluate.attention import (
    AttentionStatistics,
    attention_correlation,
    attention_share,
    attention_statistics,
    pearson,
)
from bench.evaluate.attention_maps import AttentionMaps
from bench.evaluate.predict import first_output
from bench.tasks import TaskView, fit_classes
from models import preset
from models.attention.memory import MemoryAttention

SMALL = {
    "decoder.dim": 32, "decoder.heads": 4, "decoder.ffn_dim": 32, "decoder.num_queries": 40,
    "decoder.schedule": (32, 16, 8), "pixel_decoder.dim": 32, "pixel_decoder.mask_dim": 32,
}  # fmt: skip
STRIDES, AVERAGES = (32, 16, 8), ["fg_average", "bg_average"]


@pytest.fixture(scope="module")
def data():
    return TaskView(open_dataset("embedded", size=(96, 140), length=2), "panoptic")


def small(data, **overrides):
    torch.manual_seed(0)
    spec = preset("mask2former_r50_ade20k_panoptic").override(SMALL | overrides)
    return fit_classes(spec, data.info).build().eval()


class OneLook(nn.Module):
    """One query, which looks at the level with stride 32 with weights that follow from its first pixel."""

    size_divisor = 32

    def __init__(self):
        super().__init__()
        self.cross = MemoryAttention(4, 1)

    def forward(self, images):
        tokens = nn.functional.avg_pool2d(images, 32).mean(1).flatten(1)[..., None].expand(-1, -1, 4)
        return self.cross(tokens[:, :1], torch.zeros(1, 1, 4), tokens, torch.zeros(1, 1, 4))


def test_maps_are_the_softmax_scores():
    torch.manual_seed(0)
    model, images = OneLook(), torch.randn(2, 3, 64, 96)
    with AttentionMaps(model) as maps:
        before = model(images)
        scores = maps.last((64, 96))[32]
    tokens = nn.functional.avg_pool2d(images, 32).mean(1).flatten(1)[..., None].expand(-1, -1, 4)
    attention = model.cross.attention
    query, key, _ = attention.in_proj_weight.chunk(3)
    logits = (tokens[:, :1] @ query.T) @ (tokens @ key.T).transpose(1, 2) / 2
    assert scores.shape == (2, 1, 2, 3)
    assert torch.allclose(scores.flatten(2), logits.softmax(-1), atol=1e-6)
    assert torch.equal(model(images), before) and not attention._forward_hooks
    with pytest.raises(UserError, match="no cross-attention to all pixels"):
        AttentionMaps(nn.Identity()).last((64, 96))


@pytest.mark.parametrize("policy", ["plain", "masked"])
def test_recording_changes_nothing_and_maps_sum_to_one(data, policy):
    model, images = small(data, **{"decoder.attention": policy}), torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        alone = model(images)
        with AttentionMaps(model) as maps:
            recorded = model(images)
        found = maps.last((96, 160))
    assert torch.equal(alone.mask_logits, recorded.mask_logits)
    assert {s: tuple(m.shape) for s, m in found.items()} == {s: (1, 40, 96 // s, 160 // s) for s in STRIDES}
    for weights in found.values():
        assert weights.sum((2, 3)) == pytest.approx(torch.ones(1, 40).numpy(), abs=1e-5)
    hidden = (found[8] == 0).float().mean()
    assert hidden == 0 if policy == "plain" else hidden > 0.05


def test_share_of_uniform_attention_is_the_share_of_the_masks(data):
    """With keys that are all alike every pixel has the same weight, so the share is the mask's area."""
    model = small(data, **{"decoder.attention": "plain"})
    for block in model.decoder.blocks:
        block.cross.attention.in_proj_weight.data[32:64] = 0
    found, shares = (look(model, data, "panoptic") for look in (attention_statistics, attention_share))
    assert list(shares) == [f"{where}_{s}" for s in (32, 16, 8) for where in ("fg", "bg")] + AVERAGES
    areas = []
    for sample in data:
        masks = Targets("panoptic", data.info.things)(sample).masks
        areas += (masks.sum((1, 2)) / (96 * 160)).tolist()
    assert found["queries"] == len(areas)
    for name in ("fg_32", "fg_16", "fg_8", "fg_average"):
        assert found[name] == pytest.approx(np.mean(areas), abs=1e-5)
    assert found["fg_8"] + found["bg_8"] == pytest.approx(1.0)


def test_pearson_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 50)), rng.normal(size=(3, 50))
    a[2] = 0.5
    found = pearson(torch.from_numpy(a), torch.from_numpy(b))
    assert found[:2].numpy() == pytest.approx([pearsonr(a[i], b[i])[0] for i in range(2)])
    assert found[2].isnan()


def test_correlation_of_a_fusion_transformer(data):
    """Its queries answer for their classes; the sums are written out for the last map of each scale."""
    semantic = TaskView(data.dataset, "semantic")
    torch.manual_seed(1)
    spec = preset("pft_r50_ade20k").override({"decoder.layers": 1})
    model = fit_classes(spec, semantic.info).build().eval()
    test = TestSpec(short=96, longest=999)
    found = attention_correlation(model, semantic, test=test)
    by_stride = {stride: [] for stride in STRIDES}
    for sample in semantic:
        with torch.no_grad(), AttentionMaps(model, "logits") as maps:
            _, frame = first_output(model, sample.image, test, "cpu")
        for stride, weights in maps.last(frame.padded_size).items():
            for label in sample.semantic.unique().tolist():
                mask = np.zeros(frame.padded_size)
                mask[:96, :140] = (sample.semantic == label).numpy()
                cells = mask.reshape(96 // stride, stride, 160 // stride, stride).mean((1, 3))
                by_stride[stride].append(pearsonr(weights[0, label].flatten().numpy(), cells.ravel())[0])
    means = {stride: np.mean(values) for stride, values in by_stride.items()}
    for stride, mean in means.items():
        assert found[f"correlation_{stride}"] == pytest.approx(mean, abs=1e-5)
    assert found["correlation_average"] == pytest.approx(np.mean(list(means.values())), abs=1e-5)
    assert -1 <= found["predicted_average"] <= 1 and len(by_stride[8]) > 10


def test_tallies_in_any_order(data):
    model, statistics = small(data), AttentionStatistics(data.info, "panoptic")
    tallies = [json.loads(json.dumps(statistics.image(model, data[i % 2], number=i))) for i in range(5)]
    total = statistics.total(tallies)
    random.Random(0).shuffle(tallies)
    assert statistics.total(tallies) == total and 0 < total["fg_average"] < 1


def test_what_cannot_be_looked_at_is_told(data):
    with pytest.raises(UserError, match="in one view of an image"):
        AttentionStatistics(data.info, "panoptic", TestSpec(flip=True))

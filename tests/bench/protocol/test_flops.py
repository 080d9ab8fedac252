"""The count of a whole segmentation model: against fvcore on real tensors, and its arguments."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import models
from bench.protocol import flops
from bench.protocol.images import Picture, fixed
from bench.protocol.rules import FVCORE
from bench.protocol.summary import summarise
from models.inference import semantic_inference
from models.spec import SpecError, override
from tests.bench.protocol.oracle import fvcore_count

RESNET = {"backbone": {"part": "resnet", "layers": (1, 1, 1, 1), "block": "basic", "width": 16}}
SWIN = {"backbone.width": 24, "backbone.depths": (1, 1, 2, 1)}
SMALL = {
    "pixel_decoder.dim": 32,
    "pixel_decoder.mask_dim": 32,
    "pixel_decoder.layers": 2,
    "pixel_decoder.ffn_dim": 64,
    "decoder.dim": 32,
    "decoder.ffn_dim": 64,
    "decoder.num_queries": 7,
    "num_classes": 5,
}
R50_SCORES = 150 * 512 * 512


class Segmenter(nn.Module):
    """Image [1, 3, H, W] to scores, as the released models have it: what the papers' tool traced."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        size = tuple(images.shape[-2:])
        return semantic_inference(self.model(images), size, size, size)


class PythonOperator(torch.autograd.Function):
    """What the CUDA operator of the released code was to the tracer: a function it does not look into."""

    @staticmethod
    def forward(ctx, value, locations, weights):
        return value.new_zeros(locations.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


def deformable(value, shapes, locations, weights):
    return PythonOperator.apply(value, locations, weights)


def deformable_points(value, shapes, references, offsets, logits, extents):
    return PythonOperator.apply(value, references[:, :, None, :, None] + offsets, logits.softmax(-1))


@pytest.mark.parametrize(
    "preset", ["mask2former_r50_ade20k", "mask2former_swin_t_ade20k", "faseg_r50_ade20k"]
)
def test_a_small_model_counts_as_fvcore_counts_it_on_real_tensors(preset, monkeypatch):
    spec = override(models.preset(preset), SMALL | (SWIN if "swin" in preset else RESNET))
    ours = flops.count(spec, size=(192, 256))
    plain = replace(FVCORE, inside={})  # this fvcore meets the matrix product of our DFPQ
    counted = summarise(plain.seen(flops.tape(spec, *fixed(192, 256))), plain, (192, 256))
    monkeypatch.setattr("models.attention.deformable.ms_deform_attn", deformable)
    monkeypatch.setattr("models.attention.deformable.ms_deform_attn_points", deformable_points)
    total, by_operator = fvcore_count(Segmenter(spec.build().eval()), torch.zeros(1, 3, 192, 256))
    assert {name: macs for name, macs in counted.by_operator.items() if macs} == by_operator
    assert counted.total == total > 100_000_000
    assert counted.uncounted == {}
    assert total > ours.total if preset.startswith("faseg") else total == ours.total


def test_exact_adds_the_operator_and_unrounded_einsums():
    spec = models.preset("mask2former_r50_ade20k")
    papers = flops.count(spec, size=(512, 512))
    exact = flops.count(spec, size=(512, 512), protocol="flops/exact-v1")
    tokens = 16**2 + 32**2 + 64**2
    operator = 6 * tokens * 8 * 3 * 4 * 32 * 5
    assert exact.by_operator["ms_deform_attn"] == operator == 495_452_160
    assert exact.by_operator["einsum"] == 10 * 100 * 256 * 128**2 + 100 * R50_SCORES
    assert papers.by_operator["einsum"] == 8_126_500_000
    changed = ("ms_deform_attn", "einsum")
    assert {k: v for k, v in exact.by_operator.items() if k not in changed} == {
        k: v for k, v in papers.by_operator.items() if k not in changed
    }
    assert exact.total == sum(exact.by_operator.values()) == sum(exact.by_part.values()) == 71_264_751_616


def test_exact_counts_the_averages_of_dfpq():
    spec = models.preset("faseg_r50_ade20k")
    papers = flops.count(spec, size=(512, 512))
    exact = flops.count(spec, size=(512, 512), protocol="flops/exact-v1")
    assert papers.by_operator["bmm"] == 0
    # before the first block, then after the nine blocks of masked attention but the last
    pixels = 256 + (256 + 1024 + 4096) * 3
    assert exact.by_operator["bmm"] == pixels * 100 * 256


def test_the_scores_can_have_another_size():
    spec = models.preset("mask2former_r50_ade20k")
    square = flops.count(spec, size=(512, 512))
    photo = flops.count(spec, size=(512, 512), output_size=(512, 683))  # of the first validation image
    assert photo.total == 70_821_866_656
    assert photo.by_part["postprocess"] - square.by_part["postprocess"] == 4 * 150 * 512 * (683 - 512)


def test_images_are_padded_and_scores_are_not():
    spec = models.preset("mask2former_r50_ade20k")
    padded = flops.count(spec, size=(512, 512))
    cropped = flops.count(spec, size=(500, 481))
    assert cropped.by_part["backbone"] == padded.by_part["backbone"]
    assert padded.total - cropped.total == 4 * 150 * (512 * 512 - 500 * 481)


def test_an_unknown_protocol_or_end_names_those_there_are():
    spec = models.preset("mask2former_r50_ade20k")
    with pytest.raises(SpecError, match="flops/fvcore-v2.*flops/fvcore-v1"):
        flops.count(spec, size=(512, 512), protocol="flops/fvcore-v2")
    with pytest.raises(SpecError, match="'score'.*scores"):
        flops.count(spec, size=(512, 512), end="score")


def test_a_mean_over_images_is_that_of_their_counts():
    spec = override(models.preset("mask2former_r50_ade20k"), SMALL | RESNET)
    # the first two are padded to the same size, for which the model is called once
    pictures = [Picture((60, 64), (30, 32)), Picture((64, 50), (64, 50)), Picture((64, 96), (48, 72))]
    flops.tape.cache_clear(), flops._call.cache_clear()
    one = [flops.count(spec, *picture, end="masks") for picture in pictures]
    mean = flops.average(spec, pictures, end="masks")
    assert flops._call.cache_info().misses == 2
    assert mean.total == round(sum(count.total for count in one) / 3)
    assert mean.by_part["postprocess"] == round(sum(count.by_part["postprocess"] for count in one) / 3)
    spread = sum((count.total - sum(c.total for c in one) / 3) ** 2 for count in one) / 3
    assert mean.deviation == pytest.approx(spread**0.5)
    assert (mean.size, mean.images, one[0].size, one[0].images) == (None, 3, (60, 64), 1)


def test_where_a_count_ends():
    """Masks of 7 queries resized to the padded image, then to the photo; scores of 5 classes from them."""
    spec = override(models.preset("mask2former_r50_ade20k"), SMALL | RESNET)

    def after(end):
        count = flops.count(spec, (64, 90), (100, 140), protocol="flops/exact-v1", end=end)
        return count.by_part.get("postprocess", 0)

    padded, photo = 64 * 96, 100 * 140
    assert after("predictions") == 0
    assert after("masks") == 4 * 7 * (padded + photo)
    assert after("masks_and_scores") == 4 * 7 * (padded + photo) + 7 * 5 * photo
    assert after("scores") == 4 * 7 * padded + 7 * 5 * padded + 4 * 5 * photo


def test_auxiliary_predictions_count_where_they_are_computed_with_the_last():
    """Of Mask2Former's auxiliary outputs only the classes are dead code: 9 linear layers and the norm."""
    spec = override(models.preset("mask2former_r50_ade20k"), SMALL | RESNET)
    last, every = (flops.count(spec, (64, 64), end=end) for end in ("predictions", "everything"))
    assert every.total - last.total == 9 * 7 * 32 * 6
    exact = [
        flops.count(spec, (64, 64), None, "flops/exact-v1", e).total for e in ("predictions", "everything")
    ]
    assert exact[0] == exact[1]

"""MaskFormer: released counts and names, PFT's variants, sizes, gradients, and its panoptic merging."""

import time
import zlib

import pytest
import torch

from models import (
    CheckpointError,
    SpecError,
    build,
    from_dict,
    load_official,
    preset,
    presets,
    to_dict,
    to_official,
)
from models.inference import Frame
from models.losses import maskformer_loss
from models.maskformer import MaskFormerSpec
from models.outputs import MaskTarget, SegmentationOutput

R50, R101, R101C = 23_454_912, 42_394_816, 42_518_208
SWIN_T, SWIN_S, SWIN_B, SWIN_L = 27_520_698, 48_838_602, 86_880_376, 195_201_204

# backbone, pixel decoder, transformer decoder; counted on the released code
COUNTS = {
    "r50_ade20k": (R50, 7_540_480, 10_259_351),
    "r101_ade20k": (R101, 7_540_480, 10_259_351),
    "r101c_ade20k": (R101C, 7_540_480, 10_259_351),
    "swin_t_ade20k": (SWIN_T, 4_304_640, 9_931_671),
    "swin_s_ade20k": (SWIN_S, 4_304_640, 9_931_671),
    "swin_b_ade20k": (SWIN_B, 4_951_808, 9_997_207),
    "swin_l_ade20k": (SWIN_L, 6_246_144, 10_128_279),
    "r50_ade20k_panoptic": (R50, 11_826_688, 9_734_807),
    "r101_ade20k_panoptic": (R101, 11_826_688, 9_734_807),
    "r101_cityscapes": (R101, 7_540_480, 10_225_684),
    "r101c_cityscapes": (R101C, 7_540_480, 10_225_684),
    "r50_coco_stuff10k": (R50, 7_540_480, 10_264_748),
    "r101_coco_stuff10k": (R101, 7_540_480, 10_264_748),
    "r101c_coco_stuff10k": (R101C, 7_540_480, 10_264_748),
    "r50_mapillary": (R50, 7_540_480, 10_237_506),
    "r50_coco_panoptic": (R50, 11_826_688, 9_730_438),
    "r101_coco_panoptic": (R101, 11_826_688, 9_730_438),
    "swin_t_coco_panoptic": (SWIN_T, 4_304_640, 9_927_302),
    "swin_s_coco_panoptic": (SWIN_S, 4_304_640, 9_927_302),
    "swin_b_coco_panoptic": (SWIN_B, 4_951_808, 9_992_838),
    "swin_l_coco_panoptic": (SWIN_L, 6_246_144, 10_123_910),
}
# not released: the model of ADE20K, or of COCO panoptic, with other classes, 257 parameters each
OTHER_CLASSES = {
    "swin_t_coco_stuff10k": ("swin_t_ade20k", 171 - 150),
    "swin_s_coco_stuff10k": ("swin_s_ade20k", 171 - 150),
    "swin_l_coco_stuff10k": ("swin_l_ade20k", 171 - 150),
    "r50_pascal_context": ("r50_ade20k", 59 - 150),
    "r101_pascal_context": ("r101_ade20k", 59 - 150),
    "r101c_pascal_context": ("r101c_ade20k", 59 - 150),
    "r50_coco_instance": ("r50_coco_panoptic", 80 - 133),
}
# entries of the released checkpoint, without constants, and a checksum over their sorted names and shapes
KEYS = (409, 1_515_645_165)
SMALL = {
    "backbone": {"part": "resnet", "layers": [1, 1, 1, 1], "block": "basic", "width": 16, "norm": "batch"},
    "pixel_decoder.dim": 32,
    "pixel_decoder.mask_dim": 24,
    "decoder.dim": 40,
    "decoder.heads": 4,
    "decoder.ffn_dim": 64,
    "decoder.layers": 3,
    "decoder.num_queries": 6,
    "num_classes": 5,
}
ENCODER = {"part": "transformer_encoder", "layers": 2, "heads": 4, "ffn_dim": 64}


def small(**changes):
    torch.manual_seed(0)
    return build(
        "maskformer_r50_ade20k", overrides={**SMALL, **{k.replace("__", "."): v for k, v in changes.items()}}
    )


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_equal_the_released_models(name):
    start = time.perf_counter()
    model = build(f"maskformer_{name}", device="meta")
    assert time.perf_counter() - start < 5  # a fraction of a second on an idle machine
    assert (count(model.backbone), count(model.pixel_decoder), count(model.decoder)) == COUNTS[name]
    assert count(model) == sum(COUNTS[name])


@pytest.mark.parametrize("name", OTHER_CLASSES)
def test_presets_of_the_tables_that_were_not_released(name):
    base, classes = OTHER_CLASSES[name]
    spec, other = preset(f"maskformer_{name}"), preset(f"maskformer_{base}")
    assert spec == other.override({"num_classes": other.num_classes + classes})
    assert count(spec.build("meta")) == sum(COUNTS[base]) + 257 * classes


@pytest.mark.parametrize(
    ("backbone", "total"), [("r50", 41_433_872), ("r101", 60_373_776), ("r101c", 60_497_168)]
)
def test_the_847_classes_of_ade20k_full(backbone, total):
    """A released data set for which there are no presets."""
    assert count(build(f"maskformer_{backbone}_ade20k", device="meta", num_classes=847)) == total


def test_every_preset_is_here_and_survives_json():
    names = [name for name in presets() if name.startswith("maskformer_")]
    assert {name.removeprefix("maskformer_") for name in names} == COUNTS.keys() | OTHER_CLASSES.keys()
    for name in names:
        assert from_dict(MaskFormerSpec, to_dict(preset(name))) == preset(name)


@pytest.mark.parametrize(
    ("overrides", "millions"),
    [
        ({"memory": ["p8"]}, 41.63),
        ({"memory": ["p16"]}, 41.63),
        ({}, 41.76),
        ({"decoder.dim": 512, "decoder.layers": 8}, 66.64),
        ({"decoder.dim": 512, "decoder.layers": 8, "memory": ["p32", "p16", "p8"]}, 66.64),
    ],
)
def test_the_rows_of_pft_table_1(overrides, millions):
    """Printed: 42, 42, 42, 67 and 67 M."""
    assert (
        round(count(build("maskformer_swin_t_ade20k", device="meta", overrides=overrides)) / 1e6, 2)
        == millions
    )


def test_released_names_and_shapes():
    """As many entries, and the same checksum over their sorted names and shapes, as in the released code."""
    state = to_official(build("maskformer_r50_ade20k", device="meta"))
    lines = [f"{key} {list(tensor.shape)}" for key, tensor in sorted(state.items())]
    assert (len(lines), zlib.crc32("\n".join(lines).encode())) == KEYS
    names = to_official(build("maskformer_r50_coco_panoptic", device="meta"))
    prefix = "sem_seg_head.pixel_decoder."
    assert names[prefix + "input_proj.weight"].shape == (256, 2048, 1, 1)
    assert names[prefix + "transformer.encoder.layers.5.self_attn.in_proj_weight"].shape == (768, 256)
    assert names[prefix + "transformer.encoder.layers.5.norm2.bias"].shape == (256,)
    assert names[prefix + "layer_4.weight"].shape == (256, 256, 3, 3)
    assert "sem_seg_head.predictor.input_proj.weight" not in names


def test_the_stem_and_the_dilations_of_r101c():
    model = build("maskformer_r101c_ade20k", device="meta")
    state = to_official(model)
    shapes = [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3)]
    for i, shape in enumerate(shapes, start=1):
        assert state[f"backbone.stem.conv{i}.weight"].shape == shape
        assert state[f"backbone.stem.conv{i}.norm.running_var"].shape == shape[:1]
    assert state["backbone.res2.0.shortcut.weight"].shape == (256, 128, 1, 1)
    assert [block.conv2.dilation[0] for block in model.backbone.layer4] == [1, 2, 4]
    assert model.backbone.layer4[0].conv2.stride == (2, 2)
    assert model.backbone(torch.empty(1, 3, 64, 64, device="meta"))["res5"].shape == (1, 2048, 2, 2)
    with pytest.raises(SpecError, match=r"multi_grid \(1, 2\) must have 3 dilations"):
        build("maskformer_r101c_ade20k", device="meta", backbone__multi_grid=[1, 2])


@pytest.mark.parametrize("older", [False, True])
def test_released_checkpoints_go_in_and_out(older):
    source, model = small(), small(backbone__norm="batch")
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1)
    state = to_official(source)
    if older:  # before version 2 the pixel decoder lay directly in the head
        state = {
            key.replace("sem_seg_head.pixel_decoder.", "sem_seg_head."): value for key, value in state.items()
        }
        assert "sem_seg_head.adapter_1.weight" in state
    report = load_official(model, {**state, "criterion.empty_weight": torch.ones(6)})
    assert report.ignored == ("criterion.empty_weight",)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), model.parameters(), strict=True))
    del state["sem_seg_head.predictor.query_embed.weight"]
    with pytest.raises(CheckpointError, match="1 missing: sem_seg_head.predictor.query_embed.weight"):
        load_official(model, state)


def test_what_was_never_released_has_no_name():
    with pytest.raises(CheckpointError, match="was never released"):
        to_official(small(memory=["p32", "p16"]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"memory": ["p8"]},
        {"memory": ["p32", "p16", "p8"]},
        {"pixel_decoder__encoder": ENCODER, "memory": ["encoder"]},
        {"pixel_decoder__encoder": ENCODER, "memory": ["encoder"], "decoder__dim": 32},
    ],
)
def test_every_parameter_gets_a_gradient_at_odd_sizes(changes):
    model = small(**changes)
    for size, masks in (((90, 75), (23, 19)), ((64, 129), (16, 33))):
        output = model(torch.randn(2, 3, *size))
        assert output.class_logits.shape == (2, 6, 6)
        assert output.mask_logits.shape == (2, 6, *masks)
        assert len(output.auxiliary) == 2
    targets = [MaskTarget(torch.tensor([0, 3]), torch.rand(2, 64, 129) > 0.5)] * 2
    criterion = model.spec.loss.build(5)
    criterion.total(criterion(output, targets)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    first = "decoder.transformer.layers.0.self_attention."  # of queries that are all zero
    silent = [name for name, p in model.named_parameters() if not p.grad.any()]
    assert silent == [
        first + name for name in ("attention.in_proj_weight", "attention.out_proj.weight", "norm.weight")
    ]
    projected = list(model.decoder.projections)
    assert projected == ([] if changes.get("decoder__dim") == 32 else list(model.spec.memory))


def test_images_of_a_batch_do_not_see_each_other_and_dropout_is_for_training():
    model, images = small(backbone__norm="frozen").eval(), torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        both, one, training = model(images), model(images[1:]), model.train()(images)
    torch.testing.assert_close(both.mask_logits[1:], one.mask_logits, rtol=1e-4, atol=1e-5)
    assert (both.mask_logits - training.mask_logits).abs().max() > 1e-3


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(
        SpecError, match="memory: no feature map encoder; choose from res2, res3, res4, res5, p4"
    ):
        small(memory=["encoder"])
    with pytest.raises(SpecError, match="memory is empty"):
        small(memory=[])
    with pytest.raises(SpecError, match="pixel_decoder.dim 48 is not a multiple of norm_groups 32"):
        small(pixel_decoder__dim=48)
    with pytest.raises(SpecError, match="40 channels cannot be split among 7 heads"):
        small(decoder__heads=7)


def test_released_settings():
    spec = preset("maskformer_r50_coco_panoptic")
    assert spec.size_divisor == build("maskformer_r50_coco_panoptic", device="meta").size_divisor == 1
    assert (spec.inference.object_threshold, spec.inference.overlap_threshold) == (0.8, 0.8)
    assert spec.inference.masks_first and spec.inference.pixels == "won"
    assert preset("maskformer_r50_ade20k_panoptic").inference.object_threshold == 0.7
    plain = preset("maskformer_swin_l_ade20k")
    assert plain.size_divisor == 32 and not plain.inference.masks_first
    assert plain.loss == maskformer_loss()
    assert (plain.loss.class_weight, plain.loss.mask_weight, plain.loss.dice_weight) == (1, 20, 1)
    assert preset("maskformer_swin_t_coco_panoptic").memory == ("res5",)


def test_a_panoptic_segment_keeps_all_pixels_it_won():
    """Query 0 wins a column just outside its mask too; Mask2Former leaves that void."""
    masks = torch.full((1, 2, 4, 4), -9.0)
    masks[0, 0, :, :2] = 9.0
    masks[0, 0, :, 2] = -0.1
    masks[0, 1, :, 3] = 9.0
    classes = torch.full((1, 2, 4), -9.0)
    classes[0, 0, 0] = classes[0, 1, 1] = 9.0
    output, frame = SegmentationOutput(classes, masks), Frame((4, 4), (4, 4), (4, 4))
    spec = preset("maskformer_r50_coco_panoptic").inference
    won = spec.build().panoptic(output, frame, things=[0])[0]
    assert won.ids.tolist() == [[1, 1, 1, 2]] * 4
    assert [(s.id, s.label, s.is_thing) for s in won.segments] == [(1, 0, True), (2, 1, False)]
    inside = spec.override({"pixels": "inside"}).build().panoptic(output, frame, things=[0])[0]
    assert inside.ids.tolist() == [[1, 1, 0, 2]] * 4

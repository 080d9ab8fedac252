"""How each system is counted, found by the name of a preset."""

import pytest

import models
from bench.protocol import systems
from bench.protocol.ends import ENDS
from bench.protocol.images import coco, fixed, square
from bench.protocol.protocols import PROTOCOLS
from models.spec import SpecError

PHOTO = (512, 683)
ADE20K_LAST = ("flops/fvcore-last-v1", "scores_of_stack", square(512, PHOTO))

# preset -> protocol, end, images
SETTINGS = {
    "mask2former_swin_s_ade20k": ("flops/fvcore-v1", "scores", square(512, PHOTO)),
    "faseg_swin_b_ade20k": ("flops/fvcore-v1", "scores", square(640, PHOTO)),
    "mask2former_r50_ade20k_panoptic": ("flops/fvcore-v1", "masks_and_scores", square(640)),
    "mask2former_r50_ade20k_instance": ("flops/fvcore-v1", "masks_and_scores", square(640)),
    "mask2former_swin_b_cityscapes_panoptic": ("flops/fvcore-v1", "masks_and_scores", fixed(1024, 2048)),
    "mask2former_swin_b_cityscapes_instance": ("flops/fvcore-v1", "masks", fixed(1024, 2048)),
    "mask2former_r50_coco_panoptic": ("flops/fvcore-v1", "masks", coco()),
    "mask2former_r101_coco_instance": ("flops/fvcore-v1", "masks", coco()),
    "maskformer_r50_ade20k": ADE20K_LAST,
    "maskformer_r101c_ade20k": ADE20K_LAST,
    "maskformer_r101_cityscapes": ("flops/fvcore-v1", "scores_of_stack", fixed(1024, 2048)),
    "maskformer_swin_t_coco_panoptic": ("flops/fvcore-v1", "masks_and_scores_of_stack", coco()),
    "pft_swin_l_ade20k": ("flops/fvcore-v1", "predictions", square(640)),
    "pft_r50_pascal_context": ("flops/fvcore-v1", "predictions", None),
    "detr_r50_coco_panoptic": ("flops/fvcore-v1", "everything", coco()),
    "deformable_detr_r50_coco_panoptic": ("flops/mmcv-v1", "everything", fixed(1200, 800)),
    "panoptic_segformer_pvt_v2_b5_coco": ("flops/mmcv-v1", "located_and_masked", fixed(1200, 800)),
}


@pytest.mark.parametrize("preset", SETTINGS)
def test_the_setting_of_a_preset(preset):
    found = systems.setting(preset)
    assert (found.protocol, found.end, found.pictures) == SETTINGS[preset]


def test_every_preset_has_one():
    for preset in models.presets():
        setting = systems.setting(preset)
        assert setting.protocol in PROTOCOLS and setting.end in ENDS
        assert systems.params_protocol(preset) in ("params/all-v1", "params/trainable-v1")


def test_trainable_parameters_are_what_mmdetection_prints():
    assert systems.params_protocol("panoptic_segformer_r50_coco") == "params/trainable-v1"
    assert systems.params_protocol("deformable_detr_r50_coco_panoptic") == "params/trainable-v1"
    assert systems.params_protocol("detr_r50_coco_panoptic") == "params/all-v1"
    assert systems.params_protocol("maskformer_r50_coco_panoptic") == "params/all-v1"


def test_names_are_taken_apart():
    assert systems.split("panoptic_segformer_pvt_v2_b0_coco")[1:] == ("pvt_v2_b0", "coco")
    assert systems.split("pft_swin_t_coco_stuff10k")[1:] == ("swin_t", "coco_stuff10k")
    assert systems.split("mask2former_swin_l_mapillary_panoptic")[1:] == ("swin_l", "mapillary_panoptic")
    assert systems.split("maskformer_r50_ade20k")[0] is systems.SYSTEMS["maskformer"]
    for name in ("segnext_r50_ade20k", "pft_r50", "mask2former_ade20k", "pft_r50_ade20k_colour"):
        with pytest.raises(SpecError, match=f"how {name!r} is counted"):
            systems.split(name)

"""What the systems check alike: the images that they are given, and inference parts that fit their output."""

import pytest
import torch

from models import SpecError, build

SYSTEMS = {
    "mask2former_r50_ade20k": "set",
    "maskformer_r50_ade20k": "set",
    "pft_r50_ade20k": "per_class",
    "detr_r50_coco_panoptic": "boxes",
    "deformable_detr_r50_coco_panoptic": "boxes",
    "panoptic_segformer_r50_coco": "things_and_stuff",
}
READ = {
    "mask_classification": {"set"},
    "per_class": {"per_class"},
    "detr_argmax": {"boxes"},
    "mask_wise": {"set", "boxes", "things_and_stuff"},
    "pixel_argmax": {"set", "boxes", "things_and_stuff"},
    "heuristic": {"set", "boxes", "things_and_stuff"},
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_images_of_another_kind_are_named(name):
    model = build(name, device="meta").eval()
    for shape in ((3, 64, 64), (1, 1, 64, 64), (1, 64, 64, 3), (64, 64)):
        with pytest.raises(ValueError, match=r"images of shape \(.*\): expected \[B, 3, H, W\]"):
            model(torch.empty(shape, device="meta"))
    with pytest.raises(ValueError, match="images of torch.uint8: expected floating point"):
        model(torch.empty(1, 3, 64, 64, dtype=torch.uint8, device="meta"))
    if name.startswith(("mask2former", "pft")):  # MaskFormer takes any size
        with pytest.raises(ValueError, match=r"images of \(64, 70\): .* multiples of 32"):
            model(torch.empty(1, 3, 64, 70, device="meta"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_inference_that_cannot_read_the_output_is_named(name):
    for part, kinds in READ.items():
        if SYSTEMS[name] in kinds:
            build(name, device="meta", inference=part)
        else:
            with pytest.raises(SpecError, match=f"inference '{part}' does not fit '{SYSTEMS[name]}' predict"):
                build(name, device="meta", inference=part)

"""AP_pan and mIoU_pan: what a panoptic model's queries give as instances and as a semantic map.

As released with Mask2Former: the 100 best pairs of query and class, of which those of things stay; and scores
of classes from masks that were brought to the image's size first.
"""

import pytest
import torch
from torch import nn

from bench.data import open_dataset
from bench.data.targets import Targets
from bench.evaluate import MaskAP, evaluate, mean_iou
from bench.tasks import TaskView
from models import preset
from models.inference import instance_inference, semantic_inference
from models.outputs import SegmentationOutput

SIZE = (96, 128)


class Guesses(nn.Module):
    """For image 0, 1, ... of a data set: its segments as queries, noisy, then 20 queries of noise."""

    size_divisor = 32

    def __init__(self, data):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.inference = preset("mask2former_r50_ade20k_panoptic").inference.build_for("set")
        generator, targets = torch.Generator().manual_seed(0), Targets("panoptic", data.info.things)
        self.outputs, self.next = [], 0
        for sample in data:
            target, classes = targets(sample), data.info.num_classes
            masks = nn.functional.avg_pool2d(target.masks.float(), 4) * 8 - 4
            masks = torch.cat([masks, torch.randn(20, 24, 32, generator=generator) - 1])
            logits = torch.randn(len(masks), classes + 1, generator=generator)
            logits[: len(target.labels)] += 4 * nn.functional.one_hot(target.labels, classes + 1)
            masks = masks + torch.randn(masks.shape, generator=generator)
            self.outputs.append(SegmentationOutput(logits[None], masks[None]))

    def forward(self, images):
        self.next += 1
        return self.outputs[(self.next - 1) % len(self.outputs)]


@pytest.fixture(scope="module")
def data():
    return TaskView(open_dataset("embedded", size=SIZE, length=3), "panoptic")


def test_instances_of_a_panoptic_model(data):
    model, precision = Guesses(data), MaskAP(data.info.num_classes)
    for sample, output in zip(data, model.outputs, strict=True):
        every = instance_inference(output, SIZE, SIZE, SIZE, top=100)[0]
        kept = torch.isin(every.labels, torch.tensor(sorted(data.info.things)))
        assert 0 < kept.sum() < 100
        found = type(every)(every.masks[kept], every.labels[kept], every.scores[kept])
        truth = Targets("instance", data.info.things)(sample)
        precision.add(truth.labels, truth.masks, found)
    expected, scores = precision.scores(), evaluate(model, data, "instance")
    assert scores["AP"] == pytest.approx(expected["AP"], abs=1e-9) and 10 < scores["AP"] < 99


def test_semantic_map_of_a_panoptic_model(data):
    model = Guesses(data)
    maps = [semantic_inference(o, SIZE, SIZE, SIZE, masks_first=True)[0].argmax(0) for o in model.outputs]
    expected = mean_iou([(m, s.semantic) for m, s in zip(maps, data, strict=True)], data.info.num_classes)
    scores = evaluate(model, data, "semantic")
    assert scores["mIoU"] == pytest.approx(expected["mIoU"], abs=1e-9) and 10 < scores["mIoU"] < 99
    assert scores["score"] == pytest.approx((scores["mIoU"] + scores["pixel_accuracy"]) / 2)


def test_panoptic_presets_resize_masks_first():
    for name in ("mask2former_r50_coco_panoptic", "maskformer_r50_coco_panoptic"):
        assert preset(name).inference.masks_first
    assert not preset("mask2former_r50_ade20k").inference.masks_first

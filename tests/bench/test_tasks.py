from dataclasses import replace

import pytest
import torch

import models
from bench.data import open_dataset
from bench.data.base import DatasetInfo, Objects, Sample, SegmentationDataset
from bench.data.classes import DATASETS, dataset_classes
from bench.errors import UserError
from bench.tasks import TaskView, fit_classes, require_labels, split_preset, task_info, things_first
from models.presets.datasets import NUM_CLASSES


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("faseg_r50_ade20k", ("ade20k", "semantic")),
        ("pft_r101c_coco_stuff10k", ("coco_stuff10k", "semantic")),
        ("pft_r50_pascal_context", ("pascal_context", "semantic")),
        ("mask2former_r50_cityscapes_instance", ("cityscapes", "instance")),
        ("mask2former_swin_l_mapillary_panoptic", ("mapillary", "panoptic")),
        ("panoptic_segformer_pvt_v2_b5_coco", ("coco", "panoptic")),
        ("detr_r101_coco_panoptic", ("coco", "panoptic")),
        ("mask2former_r50_coco_instance", ("coco", "instance")),
        ("something_else", ("", "semantic")),
    ],
)
def test_a_name_tells_data_and_task(preset, expected):
    assert split_preset(preset) == expected


def test_every_preset_has_the_classes_of_its_data_and_task():
    for name in models.presets():
        dataset, task = split_preset(name)
        spec = models.preset(name)
        info = task_info(dataset_classes(dataset), task, things_first(spec))
        assert spec.num_classes == info.num_classes, name
        assert fit_classes(spec, info) == spec, name


def test_numbers_of_classes_are_those_of_the_presets():
    for name, count in NUM_CLASSES.items():
        dataset, task = split_preset(f"x_{name}")
        assert task_info(dataset_classes(dataset), task).num_classes == count, name


def test_category_ids():
    coco = dataset_classes("coco")
    assert (coco.num_classes, sorted(coco.things)) == (133, list(range(80)))
    assert [coco.category(i) for i in (0, 11, 79, 80, 132)] == [1, 13, 90, 92, 200]
    assert coco.classes[0] == "person" and coco.classes[132] == "rug-merged"
    instance = task_info(coco, "instance")
    assert instance.num_classes == 80 and instance.category(79) == 90
    assert dataset_classes("ade20k").category(149) == 149
    assert [dataset_classes(name).num_classes for name in DATASETS] == [12, 150, 19, 11, 133, 171, 59, 65]


INFO = DatasetInfo(
    name="x",
    classes=("sky", "cat", "sea", "dog"),
    colors=((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)),
    things=frozenset({1, 3}),
    categories=(10, 11, 12, 13),
)


def test_orders_of_classes():
    assert task_info(INFO, "panoptic") is INFO and task_info(INFO, "semantic", True) is INFO
    things = task_info(INFO, "instance")
    assert things.classes == ("cat", "dog") and things.categories == (11, 13) and things.things == {0, 1}
    first = task_info(INFO, "panoptic", True)
    assert first.classes == ("cat", "dog", "sky", "sea") and first.things == {0, 1}
    assert first.categories == (11, 13, 10, 12) and first.colors[2] == (0, 0, 0)
    stuff = DatasetInfo(name="y", classes=("sky",), colors=((0, 0, 0),))
    with pytest.raises(UserError, match="y has no things"):
        task_info(stuff, "instance")


def test_views_of_a_data_set():
    data = open_dataset("embedded", size=64, length=2)
    plain, first = TaskView(data, "panoptic"), TaskView(data, "panoptic", True)
    assert torch.equal(plain[0].semantic, data[0].semantic) and plain.info is data.info
    assert first.info.classes[0] == "disk" and first.info.things == set(range(6))
    order = torch.tensor([6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5])
    assert torch.equal(order[first[0].semantic.long()], data[0].semantic.long())
    things = TaskView(data, "instance")[0]
    assert torch.equal(things.semantic == 255, data[0].semantic < 6)
    assert torch.equal(things.instances, data[0].instances)
    assert (len(first), first.checksum(), first.split) == (2, data.checksum(), "train")


def test_data_without_objects_are_refused():
    data = TaskView(open_dataset("embedded", size=64, length=1), "panoptic")
    require_labels(data, "panoptic")
    data.dataset = [data[0].__class__(image=data[0].image, semantic=data[0].semantic, name="x")]
    require_labels(data, "semantic")
    with pytest.raises(UserError, match="embedded is read without instance labels, which panoptic needs"):
        require_labels(data, "panoptic")


def test_models_are_fitted_to_other_classes():
    embedded = task_info(dataset_classes("embedded"), "panoptic", True)
    spec = fit_classes(models.preset("panoptic_segformer_r50_coco"), embedded)
    assert (spec.num_classes, spec.num_things, spec.loss.num_things) == (12, 6, 6)
    detr = fit_classes(models.preset("detr_r50_coco_panoptic"), embedded)
    assert (detr.num_classes, detr.columns, detr.class_ids) == (12, None, None)
    assert not things_first(detr) and things_first(spec)


class Overlapping(SegmentationDataset):
    """One image of 2 x 2 pixels with objects of the classes 1, 3 and 0, the second a crowd."""

    info, split = INFO, "val"

    def __init__(self, **labels):
        self.labels = labels

    def __len__(self):
        return 1

    def __getitem__(self, index):
        nothing = torch.full((2, 2), 255, dtype=torch.uint8)
        objects = Objects(
            labels=torch.tensor([1, 3, 0]),
            masks=torch.ones(3, 2, 2, dtype=torch.bool),
            crowd=torch.tensor([False, True, False]),
            areas=torch.tensor([1.5, 2.5, 3.5]),
        )
        sample = Sample(image=nothing.expand(3, 2, 2), semantic=nothing, name="a", objects=objects)
        return replace(sample, **self.labels)

    def checksum(self):
        return "0"


def test_objects_are_renumbered_with_the_classes():
    found = TaskView(Overlapping(), "instance")[0].objects
    assert found.labels.tolist() == [0, 1] and found.labels.dtype == torch.int64
    assert found.crowd.tolist() == [False, True] and found.areas.tolist() == [1.5, 2.5]
    assert found.masks.shape == (2, 2, 2)
    assert TaskView(Overlapping(), "panoptic", True)[0].objects.labels.tolist() == [0, 1, 2]


def test_objects_that_overlap_do_for_instances_alone():
    numbered = {"instances": torch.ones(2, 2, dtype=torch.int32)}
    classes = {"semantic": torch.ones(2, 2, dtype=torch.uint8)}
    require_labels(Overlapping(), "instance")
    require_labels(Overlapping(**numbered), "panoptic")
    require_labels(Overlapping(**classes), "semantic")
    with pytest.raises(UserError, match="x is read without instance labels, which panoptic needs"):
        require_labels(Overlapping(**classes), "panoptic")
    with pytest.raises(UserError, match="x is read without classes by pixel, which semantic needs"):
        require_labels(Overlapping(), "semantic")

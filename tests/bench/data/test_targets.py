from dataclasses import replace

import pytest
import torch

from bench.data.base import DatasetInfo, Objects, Sample
from bench.data.panoptic import panoptic
from bench.data.targets import Targets, semantic_targets
from bench.errors import UserError

SEMANTIC = torch.tensor([[0, 0, 5, 5], [0, 6, 6, 255], [1, 6, 6, 5]], dtype=torch.uint8)
OBJECTS = torch.tensor([[0, 0, 9, 9], [0, 2, 4, 3], [0, 2, 4, 0]], dtype=torch.int32)


def sample(instances=OBJECTS):
    image = torch.zeros(3, *SEMANTIC.shape, dtype=torch.uint8)
    return Sample(image=image, semantic=SEMANTIC, instances=instances, name="hand made")


def boxes_of(target):
    """Label and pixels, row by row, of each mask."""
    return [(label, mask.flatten().nonzero().flatten().tolist())
            for label, mask in zip(target.labels.tolist(), target.masks, strict=True)]  # fmt: skip


def test_an_object_has_a_mask_and_so_has_a_stuff_class():
    """Pixel 11 is of a thing, but of no object; pixel 7 is ignored, though it has a number."""
    found = boxes_of(Targets("panoptic", frozenset({5, 6}))(sample()))
    assert found == [(6, [5, 9]), (6, [6, 10]), (5, [2, 3]), (0, [0, 1, 4]), (1, [8])]


def test_instances_are_things_alone():
    target = Targets("instance", frozenset({5, 6}))(sample())
    assert boxes_of(target) == [(6, [5, 9]), (6, [6, 10]), (5, [2, 3])]
    assert target.masks.dtype == torch.bool and target.labels.dtype == torch.int64
    assert boxes_of(Targets("instance", frozenset({5}))(sample())) == [(5, [2, 3])]


def test_semantic_targets_do_not_need_objects():
    expected = [(0, [0, 1, 4]), (1, [8]), (5, [2, 3, 11]), (6, [5, 6, 9, 10])]
    assert boxes_of(Targets("semantic")(sample())) == expected
    assert boxes_of(Targets("semantic", frozenset({5, 6}))(sample(None))) == expected


def test_nothing_to_find():
    nothing = Targets("instance", frozenset({7}))(sample())
    assert nothing.masks.shape == (0, 3, 4) and nothing.labels.shape == (0,)


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_without_instance_labels(task):
    with pytest.raises(UserError, match=f"hand made has no instance labels; {task}"):
        Targets(task, frozenset({5}))(sample(None))


def test_semantic_targets():
    semantic = torch.tensor([[3, 3, 255], [0, 3, 149]], dtype=torch.uint8)
    target = semantic_targets(semantic, 255)
    assert target.labels.tolist() == [0, 3, 149] and target.labels.dtype == torch.int64
    assert target.masks.dtype == torch.bool
    assert target.masks.int().tolist() == [
        [[0, 0, 0], [1, 0, 0]],
        [[1, 1, 0], [0, 1, 0]],
        [[0, 0, 0], [0, 0, 1]],
    ]
    nothing = semantic_targets(torch.full((2, 3), 255))
    assert nothing.labels.shape == (0,) and nothing.masks.shape == (0, 2, 3)


THINGS = frozenset({5, 6})
INFO = DatasetInfo(name="x", classes=tuple("abcdefg"), colors=((0, 0, 0),) * 7, things=THINGS)


def crowded(**changes):
    """Object 4 is a crowd."""
    return replace(sample(), crowd=frozenset({4}), **changes)


def test_crowds_are_not_trained_on_but_told_to_the_evaluation():
    assert boxes_of(Targets("instance", THINGS)(crowded())) == [(6, [5, 9]), (5, [2, 3])]
    assert boxes_of(Targets("panoptic", THINGS)(crowded()))[:2] == [(6, [5, 9]), (5, [2, 3])]
    truth = Targets("instance", THINGS).truth(crowded())
    assert truth.labels.tolist() == [6, 6, 5] and truth.crowd.tolist() == [False, True, False]
    assert truth.masks.flatten(1).sum(1).tolist() == [2, 2, 2] and truth.areas is None


def test_semantic_targets_have_the_class_of_a_crowd():
    assert boxes_of(Targets("semantic")(crowded()))[3] == (6, [5, 6, 9, 10])


def test_a_crowd_of_stuff_is_in_no_mask_of_its_class():
    numbered = torch.where(SEMANTIC == 1, 12, OBJECTS).int()
    found = Targets("panoptic", THINGS)(replace(sample(numbered), crowd=frozenset({12})))
    assert found.labels.tolist() == [6, 6, 5, 0]


def test_objects_that_overlap_come_before_the_map_of_instances():
    masks = torch.zeros(4, 3, 4, dtype=torch.bool)
    masks[0, 0], masks[1, :2], masks[2, 2] = True, True, True
    objects = Objects(
        labels=torch.tensor([5, 6, 5, 2]),
        masks=masks,
        crowd=torch.tensor([False, False, True, False]),
        areas=torch.tensor([4.0, 8.5, 4.0, 1.0]),
    )
    given = replace(sample(), objects=objects)
    targets = Targets("instance", THINGS)
    assert boxes_of(targets(given)) == [(5, [0, 1, 2, 3]), (6, [0, 1, 2, 3, 4, 5, 6, 7])]
    truth = targets.truth(given)
    assert truth.crowd.tolist() == [False, False, True] and truth.areas.tolist() == [4.0, 8.5, 4.0]
    emptied = replace(given, objects=replace(objects, masks=masks & False))
    assert targets(emptied).masks.shape == (0, 3, 4) and len(targets.truth(emptied)) == 3
    assert boxes_of(Targets("panoptic", THINGS)(given)) == boxes_of(Targets("panoptic", THINGS)(sample()))


def test_panoptic_segments():
    ids, segments = panoptic(crowded(), INFO)
    assert ids.dtype == torch.int32
    assert ids.tolist() == [[1000, 1000, 9, 9], [1000, 2, 4, 0], [1001, 2, 4, 1005]]
    keys = ("id", "category_id", "isthing", "iscrowd", "area")
    assert [tuple(s[k] for k in keys) for s in segments] == [
        (2, 6, 1, 0, 2), (4, 6, 1, 1, 2), (9, 5, 1, 0, 2), (1000, 0, 0, 0, 3), (1001, 1, 0, 0, 1),
        (1005, 5, 1, 0, 1),
    ]  # fmt: skip


def test_ids_of_stuff_come_after_those_of_objects():
    ids, segments = panoptic(sample(torch.where(OBJECTS == 9, 1000, OBJECTS)), INFO)
    assert ids[0].tolist() == [1001, 1001, 1000, 1000]
    assert [s["id"] for s in segments] == [2, 4, 1000, 1001, 1002, 1006]


def test_an_object_of_two_classes_is_told():
    with pytest.raises(ValueError, match=r"hand made: object 7 has the classes \[0, 1\]"):
        panoptic(sample(torch.full((3, 4), 7, dtype=torch.int32)), INFO)

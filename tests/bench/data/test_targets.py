import pytest
import torch

from bench.data.base import Sample
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

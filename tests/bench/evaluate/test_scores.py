"""`evaluate` for each task, with a model that knows the answers."""

import pytest
import torch
from torch import nn

from bench.data import open_dataset
from bench.data.panoptic import panoptic
from bench.data.targets import Targets
from bench.errors import UserError
from bench.evaluate import TestSpec, evaluate
from bench.tasks import TaskView
from models.inference import Inference, Instances, Panoptic, Segment


class Oracle(nn.Module):
    """Gives the labels of sample 0, 1, ... one after the other, of each image all but `forget` objects."""

    size_divisor = 1

    def __init__(self, dataset, forget=0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.inference = Answers(dataset, forget)

    def forward(self, images):
        return images


class Answers(Inference):
    tasks = ("panoptic", "instance")

    def __init__(self, dataset, forget):
        self.dataset, self.forget, self.next = dataset, forget, -1

    def panoptic(self, output, frame, things):
        self.next += 1
        ids, segments = panoptic(self.dataset[self.next], self.dataset.info)
        objects = [s["id"] for s in segments if s["isthing"]]
        gone = objects[: self.forget]
        for number in gone:
            ids[ids == number] = 0
        found = [Segment(s["id"], s["category_id"], bool(s["isthing"])) for s in segments]
        kept = [segment for segment in found if segment.id not in gone]
        return [Panoptic(ids, [*kept, Segment(77, 0, False)])]  # the last has no pixel

    def instances(self, output, frame, things):
        self.next += 1
        target = Targets("instance", frozenset(things))(self.dataset[self.next])
        masks, labels = target.masks[self.forget :], target.labels[self.forget :]
        return [Instances(masks, labels, torch.linspace(0.5, 0.9, len(labels)))]


def view(task, **options):
    return TaskView(open_dataset("embedded", size=(96, 128), length=3), task, **options)


@pytest.mark.parametrize("first", [False, True])
def test_panoptic_scores(first):
    data = view("panoptic", things_first=first)
    scores = evaluate(Oracle(data), data, "panoptic")
    assert [scores[k] for k in ("PQ", "SQ", "RQ", "PQ_things", "PQ_stuff")] == [100.0] * 5
    assert scores["per_class"][data.info.classes.index("sky")] == 100.0
    worse = evaluate(Oracle(data, 2), data, "panoptic")
    assert worse["PQ_stuff"] == worse["SQ"] == 100.0 and 40 < worse["RQ_things"] < 95
    assert worse["PQ"] == pytest.approx((worse["PQ_things"] * 6 + 600) / 12)


def test_instance_scores():
    data = view("instance")
    scores = evaluate(Oracle(data), data, "instance")
    assert scores["AP"] == pytest.approx(100) and len(scores["per_class"]) == 6
    worse = evaluate(Oracle(data, 2), data, "instance")
    assert worse["AP"] == pytest.approx(worse["AP50"]) and 40 < worse["AP"] < 95


def test_instances_of_a_panoptic_model_are_scored_among_its_classes():
    data = view("panoptic")
    scores = evaluate(Oracle(data), data, "instance")
    assert scores["AP"] == pytest.approx(100) and len(scores["per_class"]) == 12
    assert scores["per_class"][0] != scores["per_class"][0]  # sky is no thing


def test_what_cannot_be_scored_is_told():
    data = view("panoptic")
    with pytest.raises(UserError, match="gives panoptic and instance results, not semantic ones"):
        evaluate(Oracle(data), data, "semantic")
    with pytest.raises(UserError, match="several scales are combined for semantic"):
        evaluate(Oracle(data), data, "panoptic", TestSpec(flip=True))


def test_progress_sees_every_sample_and_the_mode_is_put_back():
    data, seen = view("panoptic"), []
    model = Oracle(data).train()
    evaluate(model, data, "panoptic", progress=lambda s: (seen.append(x.name) or x for x in s))
    assert len(seen) == 3 and model.training

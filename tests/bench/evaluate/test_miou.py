import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from bench.evaluate import mean_iou
from bench.evaluate.miou import ConfusionMatrix


def test_worked_example():
    label = np.array([[0, 0, 1], [1, 255, 2]])
    prediction = np.array([[0, 1, 1], [1, 0, 1]])
    scores = mean_iou([(prediction, label)], num_classes=4)
    # class 0: 1/2; class 1: 2/4; class 2: 0/1; class 3: nowhere
    assert scores["per_class"][:3] == [50.0, 50.0, 0.0] and math.isnan(scores["per_class"][3])
    assert scores["mIoU"] == pytest.approx(100 / 3)
    assert scores["pixel_accuracy"] == pytest.approx(60.0)
    assert scores["class_accuracy"] == pytest.approx(100 * (0.5 + 1.0 + 0.0) / 3)


def test_counts_are_summed_over_images_before_dividing():
    first = (np.zeros((1, 4), int), np.zeros((1, 4), int))
    second = (np.zeros((1, 4), int), np.array([[0, 1, 1, 1]]))
    scores = mean_iou([first, second], num_classes=2)
    assert scores["per_class"] == [pytest.approx(100 * 5 / 8), 0.0]


def test_class_predicted_but_never_labelled_counts_as_zero():
    scores = mean_iou([(np.array([[0, 1]]), np.array([[0, 0]]))], num_classes=3)
    assert scores["per_class"][:2] == [50.0, 0.0]
    assert scores["mIoU"] == 25.0
    assert scores["class_accuracy"] == 50.0


def test_ignored_prediction_is_a_miss_and_no_false_positive():
    scores = mean_iou([(np.array([[255, 0, 1]]), np.array([[0, 0, 1]]))], num_classes=2)
    assert scores["per_class"] == [50.0, 100.0]
    assert scores["pixel_accuracy"] == pytest.approx(200 / 3)


@pytest.mark.parametrize("seed", range(3))
def test_against_torchmetrics(seed):
    generator = torch.Generator().manual_seed(seed)
    classes, pairs = 7, []
    for _ in range(5):
        label = torch.randint(0, classes - 1, (13, 17), generator=generator)  # the last class never appears
        wrong = torch.randint(0, classes - 1, (13, 17), generator=generator)
        keep = torch.rand(13, 17, generator=generator) < 0.7
        label[torch.rand(13, 17, generator=generator) < 0.1] = 255
        pairs.append((torch.where(keep & (label != 255), label, wrong), label))
    scores = mean_iou(pairs, classes)
    predictions, labels = (torch.stack(maps) for maps in zip(*pairs, strict=True))
    jaccard = MulticlassJaccardIndex(classes, ignore_index=255, average="macro")(predictions, labels)
    accuracy = MulticlassAccuracy(classes, ignore_index=255, average="micro")(predictions, labels)
    by_class = MulticlassAccuracy(classes, ignore_index=255, average=None)(predictions, labels)
    assert scores["mIoU"] == pytest.approx(100 * jaccard.item(), abs=1e-4)
    assert scores["pixel_accuracy"] == pytest.approx(100 * accuracy.item(), abs=1e-4)
    assert scores["class_accuracy"] == pytest.approx(100 * by_class[:-1].mean().item(), abs=1e-4)


def test_bytes_and_tensors_are_the_same():
    label, prediction = np.array([[0, 254, 255]], np.uint8), np.array([[0, 254, 3]], np.uint8)
    expected = mean_iou([(prediction, label)], 255)["mIoU"]
    assert expected == 100.0
    assert mean_iou([(torch.from_numpy(prediction), torch.from_numpy(label))], 255)["mIoU"] == expected


def test_nothing_labelled_gives_nan():
    scores = mean_iou([(np.zeros((2, 2), int), np.full((2, 2), 255))], 2)
    assert all(math.isnan(scores[name]) for name in ("mIoU", "pixel_accuracy", "class_accuracy"))


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "label is"),
        (np.zeros((1, 1), int), np.full((1, 1), 9), "label holds id 9"),
        (np.full((1, 1), 3), np.zeros((1, 1), int), "prediction holds id 3"),
        (np.full((1, 1), -1), np.zeros((1, 1), int), "prediction holds id -1"),
        (np.zeros((1, 1)), np.zeros((1, 1), int), "must hold integers"),
    ],
)
def test_bad_maps_are_named(prediction, label, message):
    with pytest.raises(ValueError, match=message):
        mean_iou([(prediction, label)], num_classes=3)


def test_no_pairs():
    with pytest.raises(ValueError, match="no .* pairs"):
        mean_iou([], 3)


def test_score_of_the_challenge_and_frequency_weighted_iou():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 0, 1]]))
    scores = matrix.scores()
    assert scores["per_class"][:2] == [pytest.approx(200 / 3), 50.0]
    assert scores["score"] == pytest.approx(((200 / 3 + 50) / 2 + 75) / 2)
    assert scores["frequency_weighted_iou"] == pytest.approx(0.75 * 200 / 3 + 0.25 * 50)
    assert set(mean_iou([(np.zeros((1, 1), int), np.zeros((1, 1), int))], 2)) == {
        "mIoU", "pixel_accuracy", "class_accuracy", "per_class",
    }  # fmt: skip


def test_tallies_in_any_order():
    rng, whole, merged = np.random.default_rng(0), ConfusionMatrix(5), ConfusionMatrix(5)
    tallies = []
    for _ in range(6):
        maps = rng.integers(0, 5, (2, 9, 11))
        maps[rng.random(maps.shape) < 0.1] = 255
        whole.add(*maps)
        tallies.append(json.dumps(merged.tally(*maps)))
    assert merged.counts.sum() == 0
    for tally in reversed(tallies):
        merged.merge(json.loads(tally))
    assert (whole.counts == merged.counts).all() and merged.counts.sum() > 400
    assert merged.scores() == whole.scores()

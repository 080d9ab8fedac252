"""PFT's inference: probability times mask, and the averages of the supplement."""

import pytest
import torch

from models.inference import Frame, MaskClassificationSpec
from models.inference.pft import PerClassSpec
from models.outputs import SegmentationOutput
from models.pyramid_output import PyramidOutput

FRAME = Frame((8, 8), (8, 6), (16, 12))


def made(classes, masks):
    """An output of scales with class logits [S, B, K] and mask logits [S, B, K, h, w]."""
    scales = [SegmentationOutput(c, m) for c, m in zip(classes, masks, strict=True)]
    return PyramidOutput(classes.mean(0), masks.mean(0), scales=scales)


def constant(classes, masks):
    """Of one image, with the same mask logit at every pixel; both [S, K]."""
    classes, masks = torch.tensor(classes)[:, None], torch.tensor(masks)[:, None, :, None, None]
    return made(classes, masks.expand(-1, -1, -1, 2, 2))


def sigmoid(x):
    return torch.tensor(x).sigmoid().item()


def test_probability_times_mask():
    output = constant([[1.0, 3.0], [3.0, -5.0]], [[0.0, 2.0], [4.0, -2.0]])
    scores = PerClassSpec().build().semantic(output, FRAME)
    assert scores.shape == (1, 2, 16, 12)
    expected = torch.tensor([sigmoid(2.0) * sigmoid(2.0), sigmoid(-1.0) * sigmoid(0.0)])
    torch.testing.assert_close(scores[0, :, 3, 5], expected)
    assert (scores.argmax(1) == 0).all()


def test_average_of_predictions():
    output = constant([[1.0, 3.0], [3.0, -5.0]], [[0.0, 2.0], [4.0, -2.0]])
    scores = PerClassSpec(average="predictions").build().semantic(output, FRAME)
    first = sigmoid(1.0) * sigmoid(0.0) + sigmoid(3.0) * sigmoid(4.0)
    second = sigmoid(3.0) * sigmoid(2.0) + sigmoid(-5.0) * sigmoid(-2.0)
    torch.testing.assert_close(scores[0, :, 0, 0], torch.tensor([first, second]) / 2)


def test_probabilities_by_softmax():
    output = constant([[1.0, 3.0]], [[0.0, 0.0]])
    scores = PerClassSpec(probabilities="softmax").build().semantic(output, FRAME)
    torch.testing.assert_close(scores[0, :, 0, 0], torch.tensor([1.0, 3.0]).softmax(0) / 2)


def test_masks_are_resized_before_the_sigmoid_and_padding_is_cut():
    masks = torch.full((1, 1, 1, 8, 8), -8.0)
    masks[..., :, :6] = 8.0
    scores = PerClassSpec().build().semantic(made(torch.full((1, 1, 1), 20.0), masks), FRAME)
    assert (scores > 0.99).all()  # nothing of the two padded columns
    masks = torch.tensor([-8.0, 8.0]).view(1, 1, 1, 1, 2).expand(1, 1, 1, 2, 2)
    frame = Frame((2, 6), (2, 6), (2, 6))
    scores = PerClassSpec().build().semantic(made(torch.full((1, 1, 1), 20.0), masks), frame)
    expected = torch.tensor([-8.0, -8.0, -8 / 3, 8 / 3, 8.0, 8.0]).sigmoid()
    torch.testing.assert_close(scores[0, 0, 0], expected, atol=1e-5, rtol=1e-4)


def test_queries_side_by_side_give_the_sum_of_the_scales():
    torch.manual_seed(0)
    scales = [SegmentationOutput(torch.randn(1, 5, 4), torch.randn(1, 5, 2, 2)) for _ in range(3)]
    classes = torch.cat([scale.class_logits for scale in scales], 1)
    masks = torch.cat([scale.mask_logits for scale in scales], 1)
    inference = MaskClassificationSpec().build()
    scores = inference.semantic(PyramidOutput(classes, masks, scales=scales), FRAME)
    torch.testing.assert_close(scores, sum(inference.semantic(scale, FRAME) for scale in scales))


def test_there_are_semantic_maps_only():
    inference = PerClassSpec().build()
    assert inference.tasks == ("semantic",)
    with pytest.raises(NotImplementedError, match="no panoptic maps"):
        inference.panoptic(None, FRAME, ())

import pytest
import torch
from torch import nn

from bench.data.base import DatasetInfo, Sample, SegmentationDataset
from bench.data.transforms import IMAGE_MEAN, IMAGE_STD
from bench.evaluate import TestSpec, evaluate, predict_semantic
from bench.evaluate.predict import semantic_probabilities
from bench.evaluate.subset import Subset
from models.inference import MaskClassificationSpec
from models.outputs import SegmentationOutput


class Bright(nn.Module):
    """Two queries: class 0 where the image is dark, class 1 where it is bright; notes what it was shown."""

    size_divisor = 32
    inference = MaskClassificationSpec().build()

    def __init__(self, certainty=20.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(certainty))
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        light = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)
        classes = torch.tensor([[[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]]]) * self.weight
        return SegmentationOutput(
            classes.expand(len(images), -1, -1), torch.cat([-light, light], 1) * self.weight
        )


class Halves(SegmentationDataset):
    """Dark on the left, bright on the right; sample 1 has its labels the wrong way round."""

    info = DatasetInfo(name="halves", classes=("dark", "bright"), colors=((0, 0, 0), (255, 255, 255)))
    split = "val"

    def __len__(self):
        return 2

    def __getitem__(self, index):
        semantic = torch.zeros(40, 80, dtype=torch.uint8)
        semantic[:, 40:] = 1
        image = (semantic * 255).expand(3, -1, -1).contiguous()
        return Sample(image=image, semantic=semantic if index == 0 else 1 - semantic, name=str(index))

    def checksum(self):
        return "halves"


def test_scores_of_a_model_that_is_right_once_and_wrong_once():
    scores = evaluate(Bright(), Halves(), "semantic")
    assert scores["pixel_accuracy"] == pytest.approx(50.0, abs=2.0)
    assert scores["mIoU"] == pytest.approx(100 / 3, abs=2.0)
    right = evaluate(Bright(), Subset(Halves(), 1), "semantic")
    assert right["mIoU"] > 95 and len(Subset(Halves(), 9)) == 2


def test_the_image_is_normalised_and_padded_with_zeros():
    model = Bright()
    semantic_probabilities(model, Halves()[0].image, TestSpec())
    (seen,) = model.seen
    assert seen.shape == (1, 3, 64, 96)
    assert seen[0, 0, 0, 79].item() == pytest.approx((255 - IMAGE_MEAN[0]) / IMAGE_STD[0], rel=1e-5)
    assert seen[..., 40:, :].abs().max() == 0 and seen[..., 80:].abs().max() == 0


def test_resizing_and_multi_scale_show_the_released_sizes():
    test = TestSpec(short=512, longest=2048)
    assert test.sizes((300, 400)) == [(512, 2048)]
    assert test.multi_scale().sizes((300, 400)) == [
        (256, 3584), (384, 3584), (512, 3584), (640, 3584), (768, 3584), (896, 3584),
    ]  # fmt: skip
    model = Bright()
    probabilities = semantic_probabilities(
        model, Halves()[0].image, TestSpec(short=64, longest=256).multi_scale()
    )
    shapes = [tuple(seen.shape[-2:]) for seen in model.seen]
    assert shapes[::2] == shapes[1::2] == [(32, 64), (64, 96), (64, 128), (96, 160), (96, 192), (128, 224)]
    assert probabilities.shape == (2, 40, 80)


def test_multi_scale_is_the_mean_over_scales_and_mirror_images():
    image = Halves()[0].image
    model = Bright(2.0)
    views = [TestSpec(short=40, longest=999, scales=(s,)) for s in (1.0, 1.5)]
    single = [semantic_probabilities(model, image, view) for view in views]
    mirrored = [semantic_probabilities(model, image.flip(-1), view).flip(-1) for view in views]
    both = semantic_probabilities(model, image, TestSpec(short=40, longest=999, scales=(1.0, 1.5), flip=True))
    assert torch.allclose(both, sum(single + mirrored) / 4, atol=1e-5)
    assert not torch.allclose(both, single[0], atol=1e-4)


def test_the_models_mode_is_put_back():
    model = Bright().train()
    evaluate(model, Subset(Halves(), 1), "semantic")
    assert model.training


def test_prediction_has_the_images_size():
    semantic = predict_semantic(Bright(), Halves()[0].image, TestSpec(short=64, longest=999), "cpu")
    assert semantic.shape == (40, 80) and semantic.dtype == torch.int64
    assert semantic[0, 0] == 0 and semantic[0, 79] == 1

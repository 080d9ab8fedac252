from __future__ import annotations

import pickle

import pytest
import torch

from bench.data import Sample, SegmentationDataset, open_dataset
from bench.data.loader import TrainLoader, collate
from bench.data.randomness import Stream, mix, permutation
from bench.data.targets import Targets
from bench.data.transforms import AugmentSpec, TrainTransform, normalise, scaled_augment
from bench.errors import UserError


def loader(seed: int = 0, **options) -> TrainLoader:
    dataset = open_dataset("embedded", size=64, length=7)
    return TrainLoader(dataset, TrainTransform(scaled_augment(64, (64, 64))), 3, seed, **options)


def same(a, b) -> bool:
    masks = all(
        torch.equal(x.masks, y.masks) and torch.equal(x.labels, y.labels)
        for x, y in zip(a[1], b[1], strict=True)
    )
    return torch.equal(a[0], b[0]) and masks


def test_a_batch_is_a_function_of_seed_and_step():
    first = loader()
    in_order = [first.batch(step) for step in range(5)]
    assert same(loader().batch(4), in_order[4])
    assert same(first.batch(2), in_order[2])
    assert not torch.equal(loader(seed=1).batch(2)[0], in_order[2][0])
    images, targets, _ = in_order[0]
    assert images.shape == (3, 3, 64, 64) and images.dtype == torch.float32
    assert len(targets) == 3 and all(t.masks.shape == (len(t.labels), 64, 64) for t in targets)


def test_each_epoch_shows_every_sample_once_in_another_order():
    source = loader()
    drawn = [i for step in range(7) for i in source.indices(step)]
    epochs = [drawn[e * 7 : e * 7 + 7] for e in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_sample_is_augmented_differently_each_time():
    dataset = open_dataset("embedded", size=64, length=1)
    source = TrainLoader(dataset, TrainTransform(scaled_augment(64, (64, 64))), 2, 0)
    images = source.batch(0)[0]
    assert not torch.equal(images[0], images[1])


def test_ranks_share_out_one_batch():
    whole = TrainLoader(
        open_dataset("embedded", size=64, length=8), TrainTransform(AugmentSpec(flip=0.5)), 4, 0
    )
    parts = [
        TrainLoader(whole.dataset, whole.transform, 2, 0, rank=rank, world=2).batch(3)[0] for rank in range(2)
    ]
    assert torch.equal(torch.cat(parts), whole.batch(3)[0])


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_workers_give_the_same_and_leave_the_global_generator_alone():
    expected = [loader().batch(step) for step in range(5)]
    with_workers = loader(workers=1)
    before = torch.get_rng_state()
    for step in (1, 2, 3, 0):  # in order, then back as after a resume
        assert same(with_workers.batch(step), expected[step])
    assert torch.equal(torch.get_rng_state(), before)
    with_workers.close()


class Broken(SegmentationDataset):
    info = open_dataset("embedded", length=1).info
    split = "train"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        raise UserError("mask.png: id 200")

    def checksum(self) -> str:
        return ""


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_stays_one_line(workers):
    source = TrainLoader(Broken(), TrainTransform(AugmentSpec()), 1, 0, workers=workers)
    with pytest.raises(UserError) as caught:
        source.batch(0)
    assert str(caught.value) == "mask.png: id 200"
    source.close()


def test_a_loader_travels_to_another_process():
    source = loader()
    expected = source.batch(1)
    assert same(pickle.loads(pickle.dumps(source)).batch(1), expected)


def test_collate_pads_after_normalisation_with_zeros_and_background():
    small, large = plain(20, 40, 2), plain(33, 30, 5)
    images, targets, sizes = collate([small, large])
    assert images.shape == (2, 3, 64, 64) and sizes == [(20, 40), (33, 30)]
    assert torch.equal(images[0, :, :20, :40], normalise(small.image))
    assert (images[0, :, 20:] == 0).all() and (images[0, :, :, 40:] == 0).all()
    assert [int(target.masks.sum()) for target in targets] == [800, 990]
    assert targets[0].masks.shape == (1, 64, 64)
    assert collate([small, large], 1).images.shape == (2, 3, 33, 40)


def test_sizes_are_told_only_where_something_is_padded():
    assert collate([plain(32, 64, 2), plain(32, 64, 5)]).sizes is None
    assert collate([plain(20, 40, 2)], 4).sizes is None
    assert collate([plain(32, 64, 2), plain(32, 60, 5)]).sizes == [(32, 64), (32, 60)]


def test_a_loader_makes_the_targets_that_it_is_told():
    panoptic = loader(targets=Targets("panoptic", frozenset(range(6, 12))))
    semantic = loader()
    for index in range(2):
        more, fewer = panoptic.batch(0).targets[index], semantic.batch(0).targets[index]
        assert len(more.labels) > len(fewer.labels)
        assert set(more.labels.tolist()) == set(fewer.labels.tolist())
        assert torch.equal(more.masks.any(0), fewer.masks.any(0))


def plain(height: int, width: int, label: int) -> Sample:
    """One class, one colour."""
    image = torch.full((3, height, width), 9, dtype=torch.uint8)
    return Sample(image=image, semantic=torch.full((height, width), label, dtype=torch.uint8), name="plain")


WORDS = [5705853004827290377, 6584680345644299050]
PERMUTATION = [2, 6, 7, 4, 1, 5, 0, 3]
MIXED = 7000166128958659506


def test_random_numbers_are_those_of_philox():
    """Literals from numpy's documented Philox stream; they must never change, runs are resumed by them."""
    stream = Stream(1, 2)
    words = [stream.word() for _ in range(2)]
    assert words == WORDS
    assert permutation(8, 3, 4).tolist() == PERMUTATION
    assert mix(1, 2, 3) == MIXED and mix(1, 3, 2) != MIXED
    assert 0 <= mix(-5) < 2**63


def test_stream_ranges():
    stream = Stream(0, 0)
    draws = [stream.below(5) for _ in range(300)]
    assert set(draws) == set(range(5))
    values = [stream.uniform(-2, 3) for _ in range(300)]
    assert -2 <= min(values) < -1.8 and 2.8 < max(values) < 3
    assert stream.bytes(3, 5).shape == (3, 5)

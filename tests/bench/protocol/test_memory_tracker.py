"""Live storages: by hand, on real and on fake tensors."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.protocol.memory.tracker import BLOCK, Tracker

FAKE = pytest.mark.parametrize("mode", [nullcontext, FakeTensorMode], ids=["real", "fake"])


@FAKE
def test_a_perceptron_comes_out_as_by_hand(mode):
    with mode():
        net = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64))
        tracker = Tracker()
        with tracker:
            weights = tracker.adopt(list(net.parameters()))
            x = torch.zeros(8, 128)
            with tracker.phase("forward"):
                loss = net(x).sum()
            with tracker.phase("backward"):
                loss.backward()
    first, second = 4 * 128 * 256, 4 * 256 * 64
    biases = 4 * 256 + 512  # 64 floats are half a block
    assert weights == first + second + biases
    images, hidden = 4 * 8 * 128, 4 * 8 * 256
    # Both of the hidden layer's tensors, before and after the ReLU, and nothing of the output yet.
    assert tracker.peaks["forward"] == weights + images + 2 * hidden
    # All gradients, that of the hidden layer, the loss and the one its gradient starts from.
    assert tracker.peaks["backward"] == 2 * weights + images + hidden + 2 * BLOCK
    assert tracker.live == 2 * weights + images + BLOCK


@FAKE
def test_views_count_once_and_the_dead_not_at_all(mode):
    with mode(), Tracker() as tracker:
        x = torch.zeros(1024)
        rows = x.view(32, 32)[1:].transpose(0, 1)
        assert tracker.live == 4096
        x.add_(1)
        assert (tracker.live, tracker.peak) == (4096, 4096)
        del x
        assert tracker.live == 4096
        del rows
        assert tracker.live == 0


@FAKE
def test_what_autograd_saves_is_alive_until_the_backward_pass(mode):
    with mode(), Tracker() as tracker:
        x = torch.zeros(1024, requires_grad=True)
        y = x.exp().sum()
        assert tracker.live == 4096 + 4096 + 512  # exp keeps its result
        y.backward()
        assert tracker.live == 4096 + 512 + 4096  # now the gradient


def test_adopted_storages_count_once():
    tracker, x = Tracker(), torch.zeros(1000)
    assert tracker.adopt([x, x[:10], {"a": x}]) == 4096
    assert tracker.adopt(x) == 0

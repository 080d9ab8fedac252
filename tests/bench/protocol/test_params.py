"""Unique parameters, by part."""

import torch
from torch import nn

import models
from bench.protocol import params


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(3))
        self.first = nn.Linear(10, 20)
        self.second = nn.Sequential(nn.BatchNorm1d(20), nn.Linear(10, 20))
        self.second[1].weight = self.first.weight
        self.second[0].weight.requires_grad_(False)


def test_shared_parameters_count_once_and_buffers_never():
    counted = params.count(Shared())
    assert counted.by_part == {"model": 3, "first": 220, "second": 40 + 20}
    assert counted.total == sum(counted.by_part.values()) == 283
    assert counted.trainable == 263


def test_a_spec_is_built_on_meta(monkeypatch):
    spec = models.preset("mask2former_r50_ade20k")
    devices = []

    def build(self, device="cpu"):
        devices.append(device)
        return nn.Linear(2, 3)

    monkeypatch.setattr(type(spec), "build", build)
    assert params.count(spec).total == 9
    assert devices == ["meta"]

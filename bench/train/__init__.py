"""Training: `TrainSpec` in, run folder out."""

from bench.train.precision import NonFiniteLoss
from bench.train.run import Hooks, TrainResult, train
from bench.train.spec import TrainSpec
from bench.train.trainer import Trainer

__all__ = ["Hooks", "NonFiniteLoss", "TrainResult", "TrainSpec", "Trainer", "train"]

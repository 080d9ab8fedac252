"""`torchrun ... ddp_run.py PRECISION STEPS SETTING=VALUE... PRESET...`: systems trained by these processes
with the settings, and by one process without.

The first process prints a JSON object: by preset, how far losses, norms and weights of the two are apart.
`PYTHONPATH=. torchrun --nproc-per-node 2 tests/bench/train/ddp_run.py double 20 accumulate=2` does all.
"""

import json
import sys
from contextlib import nullcontext

import torch

from bench.train.distributed import processes
from tests.bench.train.systems import PRESETS, TINY, apart, double_precision, trained


def main(precision, steps, *rest):
    settings = dict(text.split("=") for text in rest if "=" in text)
    settings = {name: json.loads(value) for name, value in settings.items()}
    names = [text for text in rest if "=" not in text] or [*PRESETS, TINY]
    with double_precision() if precision == "double" else nullcontext():
        compare(int(steps), settings, names)


def compare(steps, settings, names):
    torch.set_num_threads(1)
    with processes(torch.device("cpu")) as world:
        together = {name: trained(name, steps, world, **_fitting(settings, name)) for name in names}
    if not world.first:
        return
    found = {}
    for name, (values, weights) in together.items():
        alone, expected = trained(name, steps)
        found[name] = {
            "losses": apart(alone, values),
            "norms": apart(alone, values, norms=True),
            "weights": (weights - expected).abs().max().item(),
        }
    print(json.dumps(found))


def _fitting(settings, name):
    """The statistics of a batch norm that trains are of a part of a batch, not of all parts one by one."""
    return {**settings, "accumulate": 1} if name == TINY else settings


if __name__ == "__main__":
    main(*sys.argv[1:])

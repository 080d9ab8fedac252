"""Regression checks: what a change of the code moved, against the committed baseline.

    python -m bench regress                                   # exits 1 where anything moved
    python -m bench regress --update --because "a new formula"  # the new numbers become the baseline

Each check measures numbers by name and says which of them differ from the baseline's by more than it allows:
`settings.py`, `counts.py`, `systems.py`, `mini.py`, `operators.py`. The baseline is
`reports/baselines/regress.json`.
"""

from bench.regress.baseline import BASELINE, Baseline
from bench.regress.check import Change, Check, Numbers
from bench.regress.counts import Counts
from bench.regress.mini import Mini
from bench.regress.operators import Operators
from bench.regress.render import summary
from bench.regress.settings import Settings
from bench.regress.systems import Systems

CHECKS: dict[str, Check] = {
    "settings": Settings(),
    "counts": Counts(),
    "systems": Systems(),
    "mini": Mini(),
    "operators": Operators(),
}

__all__ = ["BASELINE", "CHECKS", "Baseline", "Change", "Check", "Numbers", "summary"]

"""The committed numbers that regression checks compare with, and why they were changed."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.files import atomic_write
from bench.regress.check import Check, Numbers

BASELINE = Path(__file__).resolve().parents[2] / "reports" / "baselines" / "regress.json"
_ANY = "any"
_SCHEMA = 1


@dataclass
class Baseline:
    """Numbers by check and kind of machine, and the history of their updates.

    `numbers[check][platform]`, where a check whose numbers do not depend on the machine has the one platform
    "any". Each entry of `history` has "date", "because", "checks" and "platform".
    """

    numbers: dict[str, dict[str, Numbers]] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path = BASELINE) -> Baseline:
        """Raises UserError for a file that is no baseline, and where there is none."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"no baseline at {path}; make one: python -m bench regress --update --because TEXT"
            ) from None
        except ValueError as error:
            raise UserError(f"{path}: not valid JSON ({error})") from None
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            raise UserError(f'{path}: expected "schema": {_SCHEMA}')
        return cls(numbers=data["numbers"], history=data["history"])

    def of(self, name: str, check: Check, platform: str) -> tuple[Numbers, bool] | None:
        """The numbers to compare with, and whether they are of this platform; those of the newest other one
        where there are none. None for a check that the baseline does not know."""
        known = self.numbers.get(name)
        if not known:
            return None
        wanted = platform if check.by_platform else _ANY
        return (known[wanted], True) if wanted in known else (known[next(reversed(known))], False)

    def update(self, name: str, check: Check, platform: str, now: Numbers) -> None:
        """Takes `now`. The other platforms' numbers go: they were of other code."""
        self.numbers[name] = {platform if check.by_platform else _ANY: now}

    def write(self, because: str, checks: list[str], platform: str, path: Path = BASELINE) -> None:
        """Notes why, and writes the file."""
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        self.history.append({"date": date, "because": because, "checks": checks, "platform": platform})
        data = {"schema": _SCHEMA, "history": self.history, "numbers": self.numbers}
        atomic_write(path, _text(data))


def _text(data: dict) -> str:
    """JSON with a line for each quantity, so that a `git diff` shows what moved."""
    lines = ["{", f' "schema": {data["schema"]},', ' "history": [']
    lines.append(",\n".join(f"  {json.dumps(entry, ensure_ascii=False)}" for entry in data["history"]))
    checks = []
    for check, platforms in data["numbers"].items():
        inner = []
        for platform, numbers in platforms.items():
            body = ",\n".join(f"   {json.dumps(name)}: {json.dumps(n)}" for name, n in numbers.items())
            inner.append(f"  {json.dumps(platform)}: {{\n{body}\n  }}")
        checks.append(f" {json.dumps(check)}: {{\n" + ",\n".join(inner) + "\n }")
    return "\n".join([*lines, " ],", ' "numbers": {', ",\n".join(checks), " }", "}"]) + "\n"

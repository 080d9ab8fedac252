"""Where and when a report was made: the only part of a report that may change between two runs."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy")
_ROOT = Path(__file__).resolve().parent.parent


def describe(command: str, wall_seconds: float) -> dict[str, str]:
    """Names and values for the environment box, in the order in which they are shown."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "wall time": f"{wall_seconds:.1f} s",
        "source": _revision(),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "operators": _operators(),
        "device": _device(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": platform.platform(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package) or "unknown"
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _revision() -> str:
    """The commit of the working tree, or the package's version where this is not a checkout."""
    git = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"maskbench {_version('maskbench')}"


def _operators() -> str:
    import ops

    return ops.active_backend()


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def _processor() -> str:
    """The processor's name as Linux tells it; elsewhere what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

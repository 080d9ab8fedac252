from __future__ import annotations

from pathlib import Path

import pytest

from bench.data import open_dataset
from bench.data.export import export


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Layout -> root of four training and two validation samples, written by `export`. Read only."""
    roots = {}
    for layout in ("ade20k", "cityscapes", "camvid"):
        roots[layout] = tmp_path_factory.mktemp(layout)
        for split, length in (("train", 4), ("val", 2)):
            export(open_dataset("embedded", split=split, size=(64, 96), length=length), layout, roots[layout])
    return roots

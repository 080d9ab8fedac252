"""A small good record, to be changed by each test."""

from pathlib import Path

import tables

GOOD = """\
title = "A table"
source = "Table 1"
deviations = [
    "one [with brackets] = 3",
    "two",
]

[[column]]
id = "params"
label = "#P (M)"
metric = "params"
unit = "M"
dataset = "ade20k"
protocol = "params/all-v1"
tolerance = { relative = 0.01 }

[[column]]
id = "miou"
label = "mIoU"
metric = "miou"
unit = "%"
dataset = "ade20k"
protocol = "accuracy/miou-single-scale-v1"

[[row]]
label = "first"
provenance = "own run"
preset = { ade20k = "system_r50_ade20k" }
cells = { params = "44", miou = "47.2" }

[[row]]
label = "second"
provenance = "quoted"
[row.cells]
params = "1,317"
miou = "-"

[[reason]]
row = 1
column = "params"
text = \"\"\"
because
of this\"\"\"

[[claim]]
where = "Section 1"
column = "params"
row = 2
minus = 1
value = "1,273"
"""


def load(tmp_path: Path, text: str, check=None):
    file = tmp_path / "paper" / "table1.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return tables.load_file(file, check)

"""What holds at small scale: one page, from committed runs alone."""

import json

import pytest
from PIL import Image

import tables
from bench import frontpage, minipage, report
from bench.minipage import command, headline, page, read, totals
from tables import RecordError

SCORES = {1: [40.0, 40.1, 40.2], 2: [41.0, 41.1, 41.2], 3: [40.0, 43.0, 41.0], 4: [42.0, 42.1, 42.2]}


@pytest.fixture
def baselines(tmp_path):
    """FASeg Table 6 on CamVid: printed 47.3, 46.7, 47.5, 48.3."""
    rows = [
        {"row": row, "scores": scores, "untrained": [1.0, 2.0, 1.5], "majority": 3.0}
        for row, scores in SCORES.items()
    ]
    mini = {
        "budget": {"name": "small", "steps": 250, "batch": 2},
        "dataset": "camvid",
        "data_checksum": "aa/bb",
        "backbone": {"text": "EfficientNet-Lite0", "weights": "lite0.pth", "sha256": "0123456789abcdef" * 4},
        "seeds": [0, 1, 2],
        "device": "cpu x86_64, 1 thread",
        "operators": "compiled",
        "code": "c0de",
        "wall_seconds": 1234.4,
        "cpu_seconds": 999.6,
        "rows": rows,
    }
    path = report.baseline_path(tables.load("faseg", "6"), tmp_path / "baselines", "camvid")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(mini))
    return tmp_path / "baselines"


def test_the_page_says_what_the_rule_gives(baselines):
    text = page(read(baselines), {})
    assert text.startswith(
        "**Of 5 published orderings, 2 hold at small scale, 1 does not, and 2 cannot be told"
    )
    lines = text.splitlines()
    assert "| [FASeg Table 6](faseg/table6.md) | `camvid` | 2 | 1 | 2 | 4 of 5 | 12 |" in lines
    assert (
        "- FASeg Table 6: “Vanilla” over “HRCA”: -2.00 (-2.23 to -1.77), published -1.0 in mIoU s.s. (%)."
        in lines
    )
    assert (
        "- FASeg Table 6: “Random Ω” over “Vanilla”: +1.00 (+0.77 to +1.23), published -0.6 in mIoU s.s. (%)."
        in lines
    )
    ours = "-2.00 | -2.23 to -1.77 | holds | about 2"
    assert f"| FASeg Table 6 | “Vanilla” over “HRCA” | -1.0 (mIoU s.s. (%)) | {ours} |" in lines
    assert "| FASeg Table 6 | HRCA | 42.10 ± 0.10 | 1.5 | 3.0 |" in lines
    assert "1234 s (1000 s of CPU time) on cpu x86_64, 1 thread." in text
    assert "`lite0.pth`, SHA-256 `0123456789abcdef…`" in text and "data: `aa/bb`" in text
    assert "about 5 differences between rows, and the intervals of 3 leave out 0" in text
    assert "half of the published differences are below 0.8 points" in text
    assert "2 cannot be told. For 0 of them" in text


def test_the_command_runs_it_again(baselines):
    (run,) = read(baselines)
    assert command(run) == (
        "python -m bench table faseg 6 --evidence mini --mini-data camvid --root DIR --budget small --seeds 3"
        " --backbone-weights FILE --save-baseline"
    )


def test_the_totals_add_up(baselines):
    runs = read(baselines)
    assert len(totals(runs)) == 3 and headline(runs).startswith("Of 5 ")


def test_the_page_is_written_and_linked(baselines, tmp_path):
    assert minipage.write(tmp_path / "out", tmp_path / "nothing") is None
    path = minipage.write(tmp_path / "out", baselines)
    assert path.read_text() == page(read(baselines), {"camvid": "mini_camvid.png"})
    image = Image.open(tmp_path / "out" / "mini_camvid.png").convert("L")
    assert image.width >= 800 and len(image.getcolors(256)) > 50, "not an empty canvas"
    assert "](mini.md)" in frontpage.page(tmp_path / "out", [], {})


def test_a_broken_baseline_is_named(baselines, tmp_path):
    path = baselines / "faseg" / "table6-camvid.json"
    path.write_text(path.read_text().replace('"row": 4', '"row": 44'))
    with pytest.raises(RecordError, match="table6-camvid.json: not a mini run of faseg table 6"):
        minipage.write(tmp_path, baselines)


def test_the_committed_runs_make_a_page():
    text = page(read(), {})
    assert "| [FASeg Table 4](faseg/table4.md) | `embedded` |" in text

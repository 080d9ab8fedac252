"""A written report: its files, the same bytes every time, and the old report intact when writing fails."""

import errno
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from bench import frontpage, report
from bench.errors import UserError
from tables import RecordError


def write(out, record, results, mini=None, date="today", baselines=None) -> list[Path]:
    return report.write(out, record, results, mini, {"date": date}, baselines or out / "no baselines")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_report_is_markdown_json_csv_and_plots(tmp_path, record, results, mini):
    files = write(tmp_path, record, results, mini)
    names = ["table4.md", "table4.json", "table4.csv", "table4_counted.png", "table4_mini.png"]
    assert files == [tmp_path / "faseg" / name for name in names]
    assert set(contents(tmp_path)) == {f"faseg/{name}" for name in names}
    for plot in files[3:]:
        image = Image.open(plot).convert("L")
        assert image.width >= 800
        assert len(image.getcolors(256)) > 50, "not an empty canvas"
        assert f"]({plot.name})" in files[0].read_text()
    assert json.loads(files[1].read_text())["mini"]["differences"][0]["mean"] == 1.0


def test_a_second_run_differs_in_the_environment_only(tmp_path, record, results, mini):
    write(tmp_path / "a", record, results, mini)
    write(tmp_path / "b", record, results, mini)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    write(tmp_path / "b", record, results, mini, date="tomorrow")
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"faseg/table4.md", "faseg/table4.json"}
    before, after = (found["faseg/table4.md"].decode().split("\n## Environment") for found in (first, second))
    assert before[0] == after[0] and before[1] != after[1]
    before, after = (json.loads(found["faseg/table4.json"]) for found in (first, second))
    assert before.pop("environment") != after.pop("environment")
    assert before == after


def test_plots_of_an_earlier_report_go(tmp_path, record, results, mini):
    write(tmp_path, record, results, mini)
    write(tmp_path, record, results)
    assert "faseg/table4_mini.png" not in contents(tmp_path)
    assert "table4_mini.png" not in (tmp_path / "faseg" / "table4.md").read_text()


def test_the_committed_baseline_is_shown_beside_the_run(tmp_path, record, results, mini):
    kept = report.baseline_path(record, tmp_path / "baselines")
    kept.parent.mkdir(parents=True)
    mini["budget"]["name"] = "medium"
    kept.write_text(json.dumps(mini))
    files = write(tmp_path, record, results, baselines=tmp_path / "baselines")
    text = files[0].read_text()
    assert "## Mini replication: the committed baseline run" in text
    assert "(budget `medium`)" in text
    assert "](table4_baseline.png)" in text and files[-1].name == "table4_baseline.png"
    assert "mini" not in json.loads(files[1].read_text())


def test_every_data_set_has_a_section_of_its_own(tmp_path, record, results, mini):
    for dataset in ("embedded", "camvid"):
        kept = report.baseline_path(record, tmp_path / "baselines", dataset)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({**mini, "dataset": dataset}))
    assert kept.name == "table4-camvid.json"
    run = {**mini, "dataset": "camvid"}
    files = write(tmp_path, record, results, run, baselines=tmp_path / "baselines")
    titles = [line for line in files[0].read_text().splitlines() if line.startswith("## Mini")]
    assert titles == [
        "## Mini replication: the committed baseline run",
        "## Mini replication on CamVid: the committed baseline run",  # the run itself is this one
    ]
    assert {file.name for file in files} >= {"table4_baseline.png", "table4_camvid.png"}
    kept = json.loads(files[1].read_text())["mini_baselines"]
    assert list(kept) == ["embedded", "camvid"] and kept["camvid"]["differences"][0]["mean"] == 1.0
    line = next(line for line in page(tmp_path) if line.startswith("| [Table 4](faseg/table4.md) | Ablation"))
    assert line.endswith("| 4 rows; 4 rows on camvid |")
    write(tmp_path, record, results, baselines=tmp_path / "none")
    assert not (tmp_path / "faseg" / "table4_camvid.png").exists()


@pytest.mark.parametrize("text", ["{", "{}", '{"rows": []}', '{"dataset": "embedded", "rows": [{"row": 9}]}'])
def test_a_baseline_of_something_else_is_named(tmp_path, record, results, text):
    kept = report.baseline_path(record, tmp_path)
    kept.parent.mkdir(parents=True)
    kept.write_text(text)
    with pytest.raises(RecordError, match=r"table4_mini\.json: not a mini run of faseg table 4"):
        write(tmp_path / "out", record, results, baselines=tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("which", range(5))
def test_a_disk_full_at_any_file_leaves_the_old_report(tmp_path, record, results, mini, monkeypatch, which):
    write(tmp_path, record, results, mini)
    before = contents(tmp_path)
    fill_disk(monkeypatch, which)
    with pytest.raises(OSError) as caught:
        write(tmp_path, record, results, mini, date="tomorrow")
    assert caught.value.errno == errno.ENOSPC
    assert contents(tmp_path) == before


def fill_disk(monkeypatch, after: int) -> None:
    """The disk is full once `after` files have been written: the next is cut in the middle."""
    written = []
    real_bytes, real_save = Path.write_bytes, report.plots.Drawing.save

    def full() -> bool:
        written.append(1)
        return len(written) > after

    def write_bytes(path, data):
        if full():
            real_bytes(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real_bytes(path, data)

    def save(figure, path):
        real_save(figure, path)
        if full():
            os.truncate(path, 100)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    monkeypatch.setattr(report.plots.Drawing, "save", save)
    monkeypatch.setattr(report.plots.Drawing, "is_in", lambda figure, path: False)


def page(out: Path) -> list[str]:
    return frontpage.page(out, frontpage.read(out), {}).splitlines()


def test_the_front_page_says_what_was_fitted(tmp_path):
    lines = [line for line in page(tmp_path) if line.startswith("- **")]
    assert [line.split("**")[1] for line in lines] == ["Mask2Former", "Panoptic SegFormer", "PFT"]
    assert "No code was released" in lines[-1] and "BiFPN" in lines[0] and "618.7G" in lines[1]


def test_the_front_page_counts_verdicts(tmp_path, record, results, mini):
    assert "| Table 4 | Ablation study for FASeg | – | – | – | – | – | – | – |" in page(tmp_path)
    assert "| FASeg | 0 of 11 | 0 | 0 | 0 | 0 | 0 | 0 | – |" in page(tmp_path)
    write(tmp_path, record, results, mini)
    assert frontpage.write(tmp_path) == tmp_path / "README.md"
    lines = (tmp_path / "README.md").read_text().splitlines()
    share = "7 of 8 (87.5 %)"
    line = f"| [Table 4](faseg/table4.md) | Ablation study for FASeg | 7 | 1 | 0 | 8 | 0 | {share} | 4 rows |"
    assert line in lines
    assert f"| FASeg | 1 of 11 | 16 | 7 | 1 | 0 | 8 | 0 | {share} |" in lines
    assert f"| `counted` | 8 | 7 | 1 | 0 | 0 | 0 | {share} |" in lines
    assert "| `trained` | 8 | 0 | 0 | 0 | 8 | 0 | – |" in lines
    worst = next(line for line in lines if line.startswith("| FASeg [Table 4](faseg/table4.md) |"))
    assert r"| + DFPQ + HRCA, \#F (G) | 72 G | 73.41 | +2.0 % `~` | The released model" in worst
    assert "](faseg/counted.png)" in "".join(lines)
    assert "## Further reports" not in lines
    (tmp_path / "mini").mkdir()
    (tmp_path / "mini" / "camvid.md").write_text("# ...\n")
    assert "- [camvid](mini/camvid.md)" in page(tmp_path)


def test_the_front_page_shows_how_far_predictions_are_from_print(record):
    def cell(evidence, published, measured, process):
        also = {"memory/process-v1": process}
        found = {"evidence": evidence, "published_value": published, "measured": measured, "also": also}
        return {**found, "protocol": "memory/predicted-v1", "verdict": "x"}

    cells = [cell("predicted", 100.0, 90.0, 99.99), cell("predicted", 200.0, 150.0, 203.0)]
    cells += [cell("predicted", 100.0, None, None), cell("counted", 100.0, 10.0, 10.0)]
    lines = frontpage.predictions([frontpage.Report(record=record, data={"cells": cells})])
    assert lines[2] == "| table | cells | `memory/predicted-v1` | `memory/process-v1` |"
    assert lines[4] == "| FASeg [Table 4](faseg/table4.md) | 2 | -10.0 % to -25.0 % | 0.0 % to +1.5 % |"
    assert frontpage.predictions([frontpage.Report(record=record, data=None)]) == []


def test_long_reasons_are_cut_after_a_sentence_on_the_front_page():
    short = "One sentence. Another one."
    assert frontpage._in_short(short) == short
    assert frontpage._in_short(f"{short} {'x' * 400}") == f"{short} …"


def test_the_front_page_has_the_headline_of_the_audit(tmp_path):
    (tmp_path / "audit.md").write_text("**7 relations: 6 right.**\n\n# Audit\n")
    line = "[The audit](audit.md) of the papers' own arithmetic: 7 relations: 6 right."
    assert line in page(tmp_path)


def test_a_plot_is_drawn_only_where_it_shows_something_new(tmp_path, record, results, monkeypatch):
    files = write(tmp_path, record, results)
    plot = next(file for file in files if file.suffix == ".png")
    before = plot.stat().st_mtime_ns
    write(tmp_path, record, results, date="tomorrow")
    assert plot.stat().st_mtime_ns == before
    write(tmp_path, record, results[:-1])
    assert plot.stat().st_mtime_ns != before


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": [{}]}', '{"cells": 3}', '{"cells": [], "mini": []}'])
def test_the_front_page_names_a_broken_report(tmp_path, text):
    (tmp_path / "faseg").mkdir()
    (tmp_path / "faseg" / "table4.json").write_text(text)
    with pytest.raises(UserError, match=r"table4\.json: not a report of this program"):
        frontpage.write(tmp_path)
    assert not (tmp_path / "README.md").exists()

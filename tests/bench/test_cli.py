"""The command line: exit status, one clear line for bad input, nothing half-written."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bench import cli
from bench.errors import UserError

ROOT = Path(cli.__file__).resolve().parent.parent


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def quick(fake_counts, monkeypatch):
    """Counts and the mini replication take no time."""
    from bench import mini

    row = {"scores": [20.0, 21.0], "untrained": [2.0, 2.0], "majority": 7.0}

    def run_mini(record, rows, budget, *_, **__):
        return {"budget": {"name": budget}, "dataset": "embedded", "rows": [{"row": n, **row} for n in rows]}

    monkeypatch.setattr(mini, "run", run_mini)


def test_a_table_is_regenerated(tmp_path, capsys, quick):
    status, out, err = run(capsys, "table", "faseg", "4", "--out", str(tmp_path))
    assert status == 0
    assert out.splitlines()[0].startswith("FASeg Table 4: 7 of 8 counted cells equal")
    data = json.loads((tmp_path / "faseg" / "table4.json").read_text())
    assert len(data["cells"]) == 16
    assert [row["row"] for row in data["mini"]["rows"]] == [1, 2, 3, 4]
    assert (
        data["environment"]["command"]
        == "python -m bench table faseg 4 --evidence counted,configured,predicted,mini --budget small"
    )
    assert data["environment"]["operators"]
    assert "| 7 | 1 | 0 | 8 | 0 | 7 of 8 (87.5 %) | 4 rows" in (tmp_path / "README.md").read_text()


def test_a_mini_run_can_be_kept_as_the_baseline(tmp_path, capsys, quick, monkeypatch):
    from bench import report

    kept = tmp_path / "baselines" / "faseg" / "table4_mini.json"
    monkeypatch.setattr(report, "baseline_path", lambda *_, **__: kept)
    out = ("--out", str(tmp_path / "out"))
    assert run(capsys, "table", "faseg", "4", "--save-baseline", "--budget", "medium", *out)[0] == 0
    assert json.loads(kept.read_text())["budget"] == {"name": "medium"}
    assert run(capsys, "table", "faseg", "4", "--evidence", "counted", *out)[0] == 0
    text = (tmp_path / "out" / "faseg" / "table4.md").read_text()
    assert "the committed baseline run" in text and "(budget `medium`)" in text


def test_a_mini_run_on_camvid(tmp_path, capsys, fake_counts, monkeypatch):
    from bench import mini, report

    for split, kind in ((s, k) for s in ("train", "val") for k in ("images", "masks")):
        (tmp_path / "data" / split / kind).mkdir(parents=True)
        file = tmp_path / "data" / split / kind / "a.png"
        Image.new("RGB" if kind == "images" else "L", (48, 36)).save(file)
    asked = []

    def run_mini(record, rows, budget, seeds, store, progress, workers, setting):
        asked.append((list(rows), budget, seeds, workers, setting))
        found = [{"row": row, "scores": [2.0, 3.0], "untrained": [1.0], "majority": 1.0} for row in rows]
        return {"budget": {"name": budget}, "dataset": setting.data, "rows": found}

    monkeypatch.setattr(mini, "run", run_mini)
    monkeypatch.setattr(report, "baseline_path", lambda record, baselines="", dataset="": tmp_path / dataset)
    root = str(tmp_path / "data")
    given = ("--evidence", "mini", "--mini-data", "camvid", "--root", root, "--seeds", "2", "--save-baseline")
    assert run(capsys, "table", "faseg", "4", *given, "--out", str(tmp_path / "out"))[0] == 0
    assert asked == [([1, 2, 3, 4], "small", 2, None, mini.Setting(data="camvid", root=root))]
    assert json.loads((tmp_path / "camvid").read_text())["dataset"] == "camvid"
    text = (tmp_path / "out" / "faseg" / "table4.md").read_text()
    assert "--evidence mini --mini-data camvid --root DIR --budget small --seeds 2" in text
    assert root not in text
    assert "## Mini replication on CamVid" in text


def test_table_names_are_taken_as_printed(tmp_path, capsys, quick):
    assert run(capsys, "table", "faseg", "Table 4", "--evidence", "counted", "--out", str(tmp_path))[0] == 0
    assert (tmp_path / "faseg" / "table4.md").exists()


BAD_INPUT = [
    (("table", "fasge", "4"), "unknown paper 'fasge'; nearest: faseg"),
    (("table", "faseg", "44"), "faseg has no table '44'; nearest: 4"),
    (("table", "all", "4"), "say table all, or name the paper"),
    (("table", "faseg", "4", "--evidence", "conted"), "unknown evidence 'conted'; nearest: counted"),
    (("table", "faseg", "4", "--evidence", ","), "--evidence names no kind"),
    (("table", "faseg", "4", "--seeds", "0"), "--seeds 0: at least one seed is needed"),
    (("table", "faseg", "4", "--budget", "smal"), "'smal'; nearest: small"),
    (("table", "faseg", "4", "--budget", "smal", "--evidence", "counted"), "'smal'; nearest: small"),
    (("table", "faseg", "4", "--save-baseline", "--evidence", "counted"), "--evidence has neither"),
    (("table", "faseg", "4", "--workers", "0"), "--workers 0: at least one worker is needed"),
    (("table", "faseg", "4", "--mini-data", "camvd"), "no mini replication on 'camvd'; nearest: camvid"),
    (("table", "faseg", "4", "--mini-data", "camvid"), "camvid"),
    (("table", "faseg", "4", "--mini-data", "camvid", "--root", "nowhere"), "nowhere"),
    (("table", "faseg", "4", "--mini-data", "camvid", "--backbone-weights", "no.pth"), "no.pth: no such"),
    (("table", "faseg", "4", "--root", "nowhere"), "takes no root folder"),
    (("table", "faseg", "4", "--evidence", "counted", "--mini-data", "camvid"), "--evidence has no mini"),
    (("measure", "faseg_r50_ade20k", "--set", "decoder.heads=0"), "heads must be at least 1, not 0"),
    (("measure", "mask2former_r50_ade"), "nearest: mask2former_r50_ade20k"),
    (("measure", "faseg_r50_ade20k", "--set", "decoder.num_querys=5"), "decoder.num_queries"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD_INPUT, ids=lambda value: " ".join(value)[:40])
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, monkeypatch, fake_counts, arguments, says):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("maskbench: ") and says in lines[0]
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tabel", "faseg", "4"), "invalid choice: 'tabel' (choose from 'audit', 'data', 'eval'"),
        (("table", "faseg", "4", "--seeds", "x"), "argument --seeds: invalid int value: 'x'; see python"),
        (("table", "faseg", "4", "--bugdet", "small"), "unrecognized arguments: --bugdet small"),
        (("data", "verify"), "arguments are required: --dataset; see python -m bench data verify --help"),
    ],
)
def test_mistakes_in_the_options_are_one_line_too(capsys, arguments, says):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("maskbench: ") and err.count("\n") == 1 and says in err


def test_alone_it_helps(capsys):
    status, out, err = run(capsys)
    assert (status, out) == (2, "")
    assert "usage: python -m bench" in err and "regenerate a printed table" in err


def test_table_alone_tells_the_tables(capsys):
    status, out, err = run(capsys, "table", "faseg")
    assert (status, err) == (0, "")
    assert out.splitlines()[3] == "faseg 4     FASeg: Ablation study for FASeg"
    everything = run(capsys, "table")[1].splitlines()
    assert len(everything) > 60 and set(out.splitlines()) <= set(everything)
    status, out, err = run(capsys, "table", "fasge")
    assert (status, out, err) == (2, "", "maskbench: unknown paper 'fasge'; nearest: faseg\n")


def test_all_tables_of_a_paper_in_one_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bench.mini.run", lambda *_, **__: pytest.fail("trained"))
    given = ("table", "panoptic_segformer", "all", "--evidence", "configured", "--out", str(tmp_path))
    status, out, _ = run(capsys, *given)
    assert status == 0
    assert out.count("Panoptic SegFormer ") == 18 and "Panoptic SegFormer Figure 1: " in out
    written = {path.name for path in (tmp_path / "panoptic_segformer").glob("*.json")}
    assert len(written) == 18 and "tableb2.json" in written


def test_a_mini_replication_only_where_the_table_says_so(tmp_path, capsys, quick):
    def trained(*given):
        status, out, _ = run(capsys, "table", *given, "--out", str(tmp_path))
        assert status == 0
        return "mini" in json.loads((tmp_path / given[0] / f"table{given[1]}.json").read_text())

    assert trained("faseg", "4")
    assert not trained("faseg", "3")
    assert trained("faseg", "3", "--evidence", "mini")
    assert not trained("mask2former", "xia", "--evidence", "mini")
    assert "Table XIa has no mini replication" in run(
        capsys, "table", "mask2former", "xia", "--evidence", "mini", "--out", str(tmp_path)
    )[1]


def test_a_record_with_a_mistake_is_status_2(tmp_path, capsys, monkeypatch):
    from tables import loader

    source = (loader.FOLDER / "faseg" / "table4.toml").read_text()
    (tmp_path / "faseg").mkdir()
    (tmp_path / "faseg" / "table4.toml").write_text(source.replace('unit = "G"', 'unit = "M"'))
    monkeypatch.setattr(loader, "FOLDER", tmp_path)
    status, out, err = run(capsys, "table", "faseg", "4", "--out", str(tmp_path / "out"))
    assert status == 2
    assert "table4.toml:" in err and "'71' is no plausible value of flops in M" in err
    assert not (tmp_path / "out").exists()


def test_a_full_disk_while_writing_a_report(tmp_path, capsys, monkeypatch, quick):
    assert run(capsys, "table", "faseg", "4", "--out", str(tmp_path))[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    real = Path.write_bytes

    def write_bytes(path, data):
        if path.suffix == ".csv":
            real(path, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    status, out, err = run(capsys, "table", "faseg", "4", "--out", str(tmp_path))
    assert (status, out) == (2, "")
    assert "maskbench: No space left on device: " in err.splitlines()[-1]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_output_folder_that_is_a_file(tmp_path, capsys, quick):
    (tmp_path / "out").write_text("a file")
    status, _, err = run(
        capsys, "table", "faseg", "4", "--evidence", "counted", "--out", str(tmp_path / "out")
    )
    assert status == 2
    assert str(tmp_path / "out") in err.splitlines()[-1]


def test_where_nothing_can_be_written_nothing_is_computed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bench.cells.fill", lambda *_: pytest.fail("computed"))
    (tmp_path / "file").write_text("")
    (tmp_path / "README.md").write_text("# a project of mine\n")
    for out, says in ((tmp_path / "file", "Not a directory"), (tmp_path, "README.md is no front page")):
        status, printed, err = run(capsys, "table", "faseg", "4", "--out", str(out))
        assert (status, printed) == (2, "") and says in err and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "file"]
    assert (tmp_path / "README.md").read_text() == "# a project of mine\n"


def test_no_front_page_over_another_readme(tmp_path, capsys):
    (tmp_path / "README.md").write_text("# a project of mine\n")
    status, out, err = run(capsys, "report", "--out", str(tmp_path))
    assert (status, out) == (2, "")
    assert err.startswith(f"maskbench: {tmp_path}/README.md is no front page of reports")
    assert (tmp_path / "README.md").read_text() == "# a project of mine\n"
    (tmp_path / "README.md").unlink()
    for _ in range(2):
        assert run(capsys, "report", "--out", str(tmp_path))[0] == 0


def test_a_progress_bar_has_left_the_line_when_a_mistake_is_told(capsys, monkeypatch):
    from tqdm import tqdm

    def broken(args):
        steps = iter(tqdm(range(3), file=sys.stderr))  # alive as long as this frame
        next(steps)
        raise UserError("a mistake")

    monkeypatch.setattr("bench.commands.report.run", broken)
    status, _, err = run(capsys, "report")
    assert status == 2
    assert err.splitlines()[-1] == "maskbench: a mistake"


def test_the_front_page_can_be_rebuilt(tmp_path, capsys):
    status, out, _ = run(capsys, "report", "--out", str(tmp_path))
    assert (status, out) == (0, f"wrote {tmp_path / 'mini.md'}\nwrote {tmp_path / 'README.md'}\n")
    assert "](mini.md)" in (tmp_path / "README.md").read_text()


def test_faults_of_ours_keep_their_traceback(monkeypatch):
    def broken(args):
        raise KeyError("a fault of ours")

    monkeypatch.setattr("bench.commands.report.run", broken)
    with pytest.raises(KeyError):
        cli.main(["report"])


def test_which_errors_blame_the_input():
    from models import CheckpointError
    from models.spec import SpecError

    assert cli.user_fault(UserError("two\nlines")) == "two lines"
    assert cli.user_fault(SpecError("no preset")) == "no preset"
    assert cli.user_fault(CheckpointError("missing keys")) == "missing keys"
    assert cli.user_fault(OSError(errno.ENOSPC, "x", "file")) == "No space left on device: file"
    assert cli.user_fault(FileExistsError(errno.EEXIST, "x", "file")) == "File exists: file"
    assert cli.user_fault(OSError(errno.EIO, "x", "file")) is None
    assert cli.user_fault(ValueError("ours")) is None


def test_help_does_not_load_torch():
    program = "import sys; from bench.cli import build_parser; build_parser(); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False")


def test_the_module_is_the_command():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench", "table", "nothing", "4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    known = "faseg, mask2former, panoptic_segformer, pft"
    assert done.stderr == f"maskbench: unknown paper 'nothing'; known: {known}\n"

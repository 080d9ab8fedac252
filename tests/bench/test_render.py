"""The report as text: JSON and CSV with the agreed fields, Markdown as readers see it."""

import csv
import dataclasses
import io
import json
from decimal import Decimal

import pytest

from bench.cells import fill
from bench.render import csv_text, json_text, payload, tolerance_text, verdict_line
from bench.render_markdown import markdown
from tables import Tolerance
from tables.record import parse

# The fixed interface: DESIGN, section 9.
FIELDS = {
    "row", "row_label", "provenance", "metric", "unit", "published", "published_value", "decimals",
    "printed_delta", "evidence", "measured", "delta", "verdict", "protocol", "reason",
}  # fmt: skip


def test_the_json_has_the_agreed_fields(record, results):
    data = json.loads(json_text(payload(record, results, {"date": "today"})))
    assert data.keys() == {"schema", "paper", "table", "title", "environment", "cells"}
    assert (data["schema"], data["paper"], data["table"]) == (1, "faseg", "4")
    assert len(data["cells"]) == 16
    assert all(cell.keys() >= FIELDS for cell in data["cells"])
    last = data["cells"][-1]
    assert (last["row"], last["row_label"], last["provenance"]) == (4, "+ DFPQ + HRCA", "own run")
    assert (last["published"], last["published_value"], last["decimals"]) == ("72", 72.0, 0)
    assert (last["measured"], last["delta"], last["verdict"]) == (73.41, 1.41, "~")
    assert (last["metric"], last["unit"], last["evidence"]) == ("flops", "G", "counted")
    assert last["also"] == {"flops/exact-v1": 74.325}
    first = data["cells"][0]
    assert (first["measured"], first["delta"], first["verdict"]) == (None, None, ".")
    assert first["dataset"] == "ade20k" and data["cells"][1]["dataset"] == "cityscapes"


def test_the_csv_has_a_line_for_each_cell(record, results):
    data = payload(record, results, {})
    lines = list(csv.DictReader(io.StringIO(csv_text(data))))
    assert len(lines) == 16
    assert [line["verdict"] for line in lines] == [cell["verdict"] for cell in data["cells"]]
    assert lines[-1]["measured"] == "73.41"
    assert lines[-1]["also"] == "flops/exact-v1 74.325"
    assert lines[0]["measured"] == ""


def test_the_verdict_line(record, results, fake_counts):
    assert verdict_line(record, results) == (
        "FASeg Table 4: 7 of 8 counted cells equal at the printed precision, 1 within 2 % and explained; "
        "8 accuracy cells not run."
    )
    nothing = fill(record, ("mini",), None)
    expected = "FASeg Table 4: 8 accuracy cells not run; 8 counted cells not run."
    assert verdict_line(record, nothing) == expected


def test_the_verdict_line_tells_what_is_wrong(record, results):
    worse = list(results)
    worse[2] = dataclasses.replace(worse[2], verdict="x")
    worse[6] = dataclasses.replace(worse[6], verdict="~")
    worse[7] = dataclasses.replace(worse[7], verdict="!")
    assert verdict_line(record, worse).startswith(
        "FASeg Table 4: 4 of 8 counted cells equal at the printed precision, "
        "2 within 1 % or 2 % (1 explained), 1 outside the tolerance, "
        "1 printed in contradiction to the papers; "
    )


@pytest.mark.parametrize(
    ("tolerance", "printed", "text"),
    [
        (Tolerance(relative=0.02), "72", "2 %"),
        (Tolerance(absolute=0.5), "72", "0.5 G"),
        (Tolerance(relative=0.005, absolute=0.5), "72 ± 0.1", "0.5 % or 0.5 G or the printed ± 0.1"),
        (Tolerance(), "72 ± 0.1", "the printed ± 0.1"),
        (Tolerance(), "72", "none"),
    ],
)
def test_a_tolerance_in_words(record, results, tolerance, printed, text):
    column = dataclasses.replace(record.column("flops"), tolerance=tolerance)
    cell = dataclasses.replace(results[-1].cell, printed=parse(printed))
    found = dataclasses.replace(results[-1], column=column, cell=cell, verdict="x")
    assert tolerance_text(found) == text
    other = dataclasses.replace(record, columns=(*record.columns[:3], column))
    assert f"(+2.0 %; tolerance {text})." in markdown(other, [found])
    points = dataclasses.replace(found, column=dataclasses.replace(column, unit="%"))
    assert tolerance_text(points) == text.replace("0.5 G", "0.5 points")


def test_the_markdown_begins_with_the_verdict_and_ends_with_the_environment(record, results):
    text = markdown(record, results, environment={"date": "today"})
    lines = text.splitlines()
    assert lines[0] == f"**{verdict_line(record, results)}**"
    assert lines[-1] == "| date | today |"
    headings = [line for line in lines if line.startswith("#") and not line.startswith("# +")]
    assert headings[-1] == "## Environment"
    assert "# FASeg Table 4: Ablation study for FASeg" in headings


def test_the_markdown_shows_the_paper_table(record, results):
    lines = markdown(record, results).splitlines()
    assert r"|  | ADE20K val mIoU s.s. (%) | Cityscapes val mIoU s.s. (%) | \#P (M) | \#F (G) |" in lines
    assert "| Mask2Former | – (47.2) `.` | – (79.4) `.` | 44 (44) `=` | 71 (71) `=` |" in lines
    assert "| + DFPQ + HRCA | – (48.3) `.` | – (80.5) `.` | 51 (51) `=` | 73 (72) `~` |" in lines
    note = next(line for line in lines if line.startswith("Each cell: ours (published) verdict. "))
    scores = "ADE20K val mIoU s.s. (%), Cityscapes val mIoU s.s. (%)"
    assert note.endswith(rf" Evidence: `trained` for {scores}; `counted` for \#P (M), \#F (G).")


def test_the_markdown_explains_what_differs(record, results):
    text = markdown(record, results)
    differs = text.partition("## What differs, and why")[2].partition("\n## ")[0]
    assert differs.count("\n- ") == 1
    assert "ours 73.410, published 72 (+2.0 %; tolerance 2 %). The released model counts 73.4 G" in differs
    assert "Mask2Former's own sinusoidal positional encodings" in text


def test_the_markdown_has_the_counts_in_full(record, results):
    lines = markdown(record, results).partition("## Counts in full")[2].splitlines()
    columns = (r"\#P (M)", "params/all-v1"), (r"\#F (G)", "flops/fvcore-v1"), (r"\#F (G)", "flops/exact-v1")
    assert "|  | " + " | ".join(f"{label}<br>`{protocol}`" for label, protocol in columns) + " |" in lines
    assert "| Mask2Former | 43.988247 | 70.769 | 71.265 |" in lines
    note = "Published cells are compared with the protocol named first."
    assert rf"{note} \#F (G): one image of 512x512." in lines


def test_operators_that_a_count_lacks_are_listed(record, results):
    assert "lacks" not in markdown(record, results)
    short = [*results[:-1], dataclasses.replace(results[-1], uncounted={"aten::fft": 2})]
    counts = markdown(record, short).partition("## Counts in full")[2].partition("\n## ")[0]
    assert r"- + DFPQ + HRCA, \#F (G) lacks `aten::fft` (2 calls): nobody has written a formula" in counts
    data = payload(record, short, {})
    assert data["cells"][-1]["uncounted"] == {"aten::fft": 2} and data["cells"][0]["uncounted"] == {}
    assert csv_text(data).splitlines()[-1].count("aten::fft 2") == 1


def test_the_markdown_has_a_command_for_each_row(record, results):
    commands = markdown(record, results).partition("## Commands")[2]
    for row in (1, 2, 3, 4):
        for dataset in ("ade20k", "cityscapes"):
            released = f"eval --table faseg/4 --row {row} --column {dataset}_miou --weights released "
            trained = f"train --table faseg/4 --row {row} --dataset {dataset} --root DIR "
            line = f"python -m bench {released if row in (1, 4) else trained}"
            assert line in commands


def test_the_text_of_the_paper_is_compared_with_its_cells_and_ours(record, results):
    text = markdown(record, results)
    assert r"| Section 4.2 | + HRCA over Mask2Former, \#P (M): +6 | +6 `=` | +6 `=` |" in text
    assert r"| Section 4.2 | + HRCA over Mask2Former, \#F (G): +1 | +1 `=` | +1 `=` |" in text
    assert text.count("– `.` |") == 6


def test_a_broken_claim_shows(record, results):
    claim = dataclasses.replace(record.claims[4], minus=2)
    other = dataclasses.replace(record, claims=(claim,))
    assert r"\#P (M): +6 | +6 `=` | +6 `=` |" in markdown(other, results)
    claim = dataclasses.replace(record.claims[4], row=4)
    other = dataclasses.replace(record, claims=(claim,))
    assert r"\#P (M): +6 | +7 `x` | +7 `x` |" in markdown(other, results)


def test_rendering_is_the_same_every_time(record, results):
    texts = {markdown(record, results, environment={"a": "b"}) for _ in range(3)}
    assert len(texts) == 1


def test_predictions_are_shown_by_each_protocol_with_their_distance_from_print(record, results):
    def predicted(result, ours, process, text):
        cell = dataclasses.replace(result.cell, text=text, printed=parse(text))
        new = {"measured": Decimal(ours), "also": {"memory/process-v1": Decimal(process)}, "verdict": "x"}
        new |= {"evidence": "predicted", "protocol": "memory/predicted-v1", "assumptions": ("batch 4",)}
        return dataclasses.replace(result, cell=cell, **new)

    found = [predicted(results[2], "6344.95", "7464.0", "7,451"), predicted(results[6], "5.09", "6.0", "6G")]
    text = markdown(record, found).partition("## Predictions in full")[2]
    assert "|  | published | `memory/predicted-v1` | `memory/process-v1` |" in text
    assert r"| Mask2Former, \#P (M) | 7,451 | 6,345 (-14.8 %) | 7,464 (+0.2 %) |" in text
    assert r"| + DFPQ, \#P (M) | 6G | 5.09 (-15.2 %) | 6.00 (+0.0 %) |" in text
    assert "- batch 4." in text
    assert "## Predictions in full" not in markdown(record, results)


def test_a_contradicted_number_that_was_not_run_is_not_counted_as_run(record, results):
    marked = dataclasses.replace(results[0], verdict="!")
    assert verdict_line(record, [marked, *results[1:]]).endswith(
        "; 8 accuracy cells not run, 1 of them printed in contradiction to the papers."
    )

"""Which number fills which cell, and where it comes from."""

from decimal import Decimal

import pytest

import bench
from bench import cells, counting
from tables import RecordError, load_file


def test_every_printed_number_is_a_cell_in_printed_order(record, results):
    places = [(result.row.number, result.column.id) for result in results]
    columns = ["ade20k_miou", "cityscapes_miou", "params", "flops"]
    assert places == [(row, column) for row in (1, 2, 3, 4) for column in columns]
    assert "".join(result.verdict for result in results) == "..==" * 3 + "..=~"


def test_only_the_evidence_asked_for_is_obtained(record, fake_counts):
    results = cells.fill(record, ("mini",), store=None)
    assert fake_counts == []
    assert {result.verdict for result in results} == {"."}
    assert {result.measured for result in results} == {None}


def test_cells_that_are_not_run_say_which_command_would_run_them(results):
    accuracy = [result for result in results if result.evidence == "trained"]
    assert [result.command for result in accuracy] == [
        f"python -m bench eval --table faseg/4 --row {row} --column {dataset}_miou --weights released"
        f" --accept-licence --dataset {dataset} --root DIR"
        if row in (1, 4)  # as released, Mask2Former's and FASeg's
        else f"python -m bench train --table faseg/4 --row {row} --dataset {dataset} --root DIR"
        " --backbone-weights FILE"
        for row in (1, 2, 3, 4)
        for dataset in ("ade20k", "cityscapes")
    ]
    assert all(result.reason == f"not run: {result.command}" for result in accuracy)


def test_counted_cells_name_the_command_with_the_overrides_of_the_row(results):
    commands = [result.command for result in results if result.column.id == "flops"]
    assert commands[0] == "python -m bench measure mask2former_r50_ade20k --size 512x512"
    assert commands[1].endswith("--set pixel_decoder.positions=conditional --set decoder.queries=dfpq")
    assert "--set 'decoder.schedule=[32,16,8,4,32,16,8,4,32,16,8,4,32]'" in commands[2]
    assert commands[3] == "python -m bench measure faseg_r50_ade20k --size 512x512 --variant released"


def test_numbers_keep_their_unit_and_are_not_rounded(results):
    last = results[-1]
    assert (last.measured, last.delta) == (Decimal("73.41"), Decimal("1.41"))
    assert last.also == {"flops/exact-v1": Decimal("74.325")}
    assert results[2].measured == Decimal("43.988247")
    assert "1.095 G" in last.reason
    assert results[3].reason is None


def test_what_the_audit_finds_is_marked_with_our_number_beside_it():
    record = cells.load_table("panoptic_segformer", "fig1")
    found = {(r.row.number, r.column.id): r for r in cells.fill(record, ("configured",), store=None)}
    score = found[1, "pq"]
    assert (score.verdict, score.measured) == ("!", None)
    assert score.reason.endswith("43.5 in Panoptic SegFormer Figure 1.") and score.command
    assert found[2, "pq"].verdict == "."
    record = cells.load_table("panoptic_segformer", "5")
    found = {(r.row.number, r.column.id): r for r in cells.fill(record, ("configured",), store=None)}
    epochs = found[1, "epochs"]
    assert (epochs.verdict, round(epochs.measured)) == ("!", 300)
    assert "325 in Panoptic SegFormer Table 1, Table 5" in epochs.reason
    assert epochs.reason.endswith("325 adds the 25 of the mask head.")


def test_the_real_counts_of_faseg_table_4():
    """Rows 1 and 4 are what the released code counts, traced with fvcore, the operator uncounted; rows 2 and
    3 are row 1 and what their parts add, worked out by hand."""
    frame = bench.table_frame("faseg", "4")
    assert frame.shape[0] == 16
    assert list(frame.columns[:2]) == ["row", "row_label"]
    params = frame[frame.metric == "params"].set_index("row")
    flops = frame[frame.metric == "flops"].set_index("row")
    assert params.measured[1] == 43.988247
    assert params.measured[4] == 50.511639
    assert flops.measured[1] == pytest.approx(70.769, abs=1e-3)
    assert flops.measured[4] == pytest.approx(73.410, abs=1e-3)
    assert "".join(params.verdict) == "===="
    # h after the start and eight blocks, and the depth-wise convolutions at strides 32, 16 and 8
    dfpq = 9 * 2 * 100 * 256**2 + 9 * 256 * (16**2 + 32**2 + 64**2)
    # self-attention, feed-forward network, two norms
    rest = 4 * 100 * 256**2 + 2 * 100**2 * 256 + 2 * 100 * 256 * 2048 + 2 * 5 * 100 * 256
    masked, high = (_cross_attention(keys) + rest for keys in (256, 512))  # at stride 32; 8 cells of 64
    head = 5 * 100 * 256 + 3 * 100 * 256**2 + 419_450_000 + 4 * 100 * 256  # norm, MLP, einsum, resize
    exactly = {name: round(flops.measured[name] * 1e9) for name in (1, 2, 3)}
    assert exactly[2] - exactly[1] == dfpq
    assert exactly[3] - exactly[1] == masked + 3 * high + head
    assert params.measured[2] == 44.127511 and params.measured[3] == 50.303511
    assert list(flops.verdict) == ["=", "=", "=", "~"]
    assert list(frame[frame.metric == "miou"].verdict) == ["."] * 8


def _cross_attention(keys):
    """Multiply-adds of 100 queries against `keys`: projections, both products, norm."""
    return 2 * 100 * 256**2 + 2 * keys * 256**2 + 2 * 100 * keys * 256 + 5 * 100 * 256


def test_a_preset_or_override_that_does_not_exist_names_the_line(tmp_path):
    source = (cells.load_table("faseg", "4").file, "faseg_r50_ade20k", '"decoder.queries" = "dfpq"')
    text = (bench_root() / source[0]).read_text()
    for old, new, says in (
        (source[1], "faseg_r50_ade", "nearest: faseg_r50_ade20k"),
        (source[2], '"decoder.querys" = "dfpq"', "decoder.queries"),
        (source[2], '"decoder.queries" = "dfqp"', "dfpq"),
    ):
        file = tmp_path / "table4.toml"
        file.write_text(text.replace(old, new))
        with pytest.raises(RecordError, match=rf"table4\.toml:\d+: row\[\d\]\.preset\.ade20k: .*{says}"):
            load_file(file, counting.make_spec)


def bench_root():
    from bench import records

    return records._ROOT


def test_the_number_of_a_table_may_be_a_number(fake_counts):
    assert bench.table_frame("faseg", 4).equals(bench.table_frame("faseg", "4"))

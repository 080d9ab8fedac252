import json

import pytest

from bench.train.log import StepLog, read_log


def lines(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_continuing_drops_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = StepLog(path)
    for step in range(5):
        log.write(step, {"loss": step / 3})
    log.close()
    log = StepLog(path, next_step=3)
    assert lines(path) == [0, 1, 2]
    log.write(3, {"loss": 9.0})
    log.close()
    assert read_log(path)[-2:] == [{"step": 2, "loss": 2 / 3}, {"step": 3, "loss": 9.0}]


@pytest.mark.parametrize("torn", ['{"step": 2, "lo', '{"step": 2, "loss": 1.0}'])
def test_line_cut_short_is_dropped(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "loss": 1.0}\n{"step": 1, "loss": 1.0}\n' + torn)
    assert [line["step"] for line in read_log(path)] == [0, 1]
    StepLog(path, next_step=9).close()
    assert path.read_text().count("\n") == 2 and path.read_text().endswith("}\n")


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    log = StepLog(tmp_path / "m.jsonl")
    with pytest.raises(ValueError):
        log.write(0, {"loss": float("nan")})
    log.close()
    assert (tmp_path / "m.jsonl").read_text() == ""

"""The `measure` command."""

import json

import pytest

from bench.cli import main
from bench.commands.measure import image_size, report
from bench.errors import UserError
from bench.protocol.params import ParamCount
from bench.protocol.rules import FVCORE
from bench.protocol.sizes import paper_size
from bench.protocol.summary import FlopCount
from models.queries import AttentionPooling


def test_prints_parameters_and_both_protocols_by_part_and_operator(capsys):
    assert main(["measure", "mask2former_r50_ade20k"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "mask2former_r50_ade20k, image 512x512"
    assert "parameters 43.988 M 43,988,247" in lines
    assert "decoder 14.497 M 14,497,431" in lines
    assert "FLOPs (multiply-adds) flops/fvcore-v1 flops/exact-v1" in lines
    assert "total 70.769 G 70,769,335,456 71.265 G 71,264,751,616" in lines
    assert "postprocess 4.194 G 4,194,144,000 4.194 G 4,194,304,000" in lines
    assert "ms_deform_attn 0.000 G 0 0.495 G 495,452,160" in lines
    assert lines[-1].startswith("flops/fvcore-v1 counts 0 for ms_deform_attn (a custom autograd function")


def test_what_is_left_out_and_what_has_no_formula_is_said():
    papers = FlopCount(
        "flops/fvcore-v1", (64, 64), 9, {"linear": 9, "bmm": 0}, {"decoder": 9}, {"aten::_fft": 2}
    )
    lines = report("some", (64, 64), ParamCount(10, 7, {"decoder": 10}), [papers])
    assert [" ".join(line.split()) for line in lines if "trainable" in line] == ["trainable 0.000 M 7"]
    assert lines[-2:] == [
        f"flops/fvcore-v1 counts 0 for bmm ({FVCORE.elementwise[AttentionPooling]})",
        "flops/fvcore-v1 lacks a formula for aten::_fft (2 calls)",
    ]


def test_json_with_another_size_and_an_override(capsys):
    command = "measure mask2former_r50_ade20k --size 64x96 --set decoder.num_queries=50 --json"
    assert main(command.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spec"]["decoder"]["num_queries"] == 50
    assert found["size"] == [64, 96]
    assert found["params"]["total"] == 43_988_247 - 2 * 50 * 256
    assert found["params"]["total"] == sum(found["params"]["by_part"].values())
    assert set(found["flops"]) == {"flops/fvcore-v1", "flops/exact-v1"}
    for count in found["flops"].values():
        assert count["total"] == sum(count["by_operator"].values()) == sum(count["by_part"].values()) > 10**9
        assert count["uncounted"] == {}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["mask2former_r50_ade2k"], "mask2former_r50_ade20k"),
        (["mask2former_r50_ade20k", "--set", "decoder.num_querys=50"], "decoder.num_queries"),
        (["mask2former_r50_ade20k", "--set", "decoder.queries=dfpk"], "dfpq"),
        (["mask2former_r50_ade20k", "--set", "decoder.num_queries"], "PATH=VALUE"),
        (["mask2former_r50_ade20k", "--size", "512x0"], "512x0"),
        (["mask2former_r50_ade20k", "--variant", "paper"], "no variant 'paper'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, named, capsys):
    assert main(["measure", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert named in captured.err


def test_the_variant_of_a_preset(capsys):
    assert main("measure faseg_r50_ade20k --variant paper --size 64x64 --json".split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["params"]["total"] == 48_932_887
    assert found["spec"]["decoder"]["queries"]["initial"] == "foreground"


def test_an_override_can_name_nothing_or_hold_an_equals_sign(capsys):
    command = "measure faseg_r50_ade20k --size 64x64 --json --set decoder.high_resolution=null"
    assert main([*command.split(), "--set", "backbone.weights=a=b.pth"]) == 0
    spec = json.loads(capsys.readouterr().out)["spec"]
    assert spec["decoder"]["high_resolution"] is None
    assert spec["backbone"]["weights"] == "a=b.pth"


def test_sizes():
    assert image_size("800x1216") == (800, 1216)
    assert image_size("640") == (640, 640)
    with pytest.raises(UserError, match="HxW"):
        image_size("512*512")
    assert paper_size("mask2former_swin_s_ade20k") == (512, 512)
    assert paper_size("faseg_swin_b_ade20k") == (640, 640)
    assert paper_size("mask2former_r50_ade20k_panoptic") == (640, 640)
    assert paper_size("faseg_r50_cityscapes") == (1024, 2048)
    assert paper_size("mask2former_r50_coco_instance") is None

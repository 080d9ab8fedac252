"""The `measure` command."""

import json

import pytest

from bench.cli import main
from bench.commands.measure import image_size, report
from bench.errors import UserError
from bench.protocol.images import fixed
from bench.protocol.params import ParamCount
from bench.protocol.rules import FVCORE
from bench.protocol.summary import FlopCount
from models.queries import AttentionPooling


def test_prints_parameters_and_both_protocols_by_part_and_operator(capsys):
    assert main(["measure", "mask2former_r50_ade20k", "--size", "512"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "mask2former_r50_ade20k, image 512x512"
    assert "parameters (params/all-v1) 43.988 M 43,988,247" in lines
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
    lines = report("some", ParamCount(10, 7, {"decoder": 10}), "params/all-v1", [papers], fixed(64, 64))
    assert lines[0] == "some, image 64x64"
    assert [" ".join(line.split()) for line in lines if "trainable" in line] == [
        "params/trainable-v1 0.000 M 7"
    ]
    assert lines[-2:] == [
        f"flops/fvcore-v1 counts 0 for bmm ({FVCORE.inside[(AttentionPooling,)]['bmm']})",
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
        (["mask2former_r50_ade20k", "--protocol", "flops/fvcore"], "flops/fvcore-v1"),
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


def test_a_mean_over_images_says_so_and_how_they_spread():
    several = FlopCount(
        "flops/exact-v1", None, 9, {"linear": 9}, {"decoder": 9}, {}, images=100, deviation=2.0
    )
    found = report("some", ParamCount(10, 10, {}), "params/all-v1", [several], 100 * fixed(64, 64))
    lines = [" ".join(line.split()) for line in found]
    assert lines[0] == "some, mean over 100 images"
    assert "standard deviation 0.000 G 2" in lines
    assert not any("trainable" in line for line in lines)


def test_the_paper_of_a_system_decides_which_parameters_and_which_flops(capsys):
    assert main("measure panoptic_segformer_r50_coco".split()) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "panoptic_segformer_r50_coco, image 1200x800"
    assert lines[2:4] == [
        "parameters (params/trainable-v1) 50.996 M 50,996,380", "params/all-v1 51.272 M 51,271,900"
    ]  # fmt: skip
    assert "FLOPs (multiply-adds) flops/mmcv-v1 flops/exact-v1" in lines
    total = next(line for line in lines if line.startswith("total"))
    assert total.startswith("total 214.202 G 214,202,258,760 225.")


def test_the_paper_decides_on_which_image(capsys):
    assert main("measure mask2former_swin_s_ade20k --protocol flops/fvcore-v1".split()) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "mask2former_swin_s_ade20k, image 512x512, results 512x683"
    assert "total 97.474 G 97,474,172,960" in lines


def test_other_protocols_on_request(capsys):
    command = (
        "measure mask2former_r50_ade20k --size 64 --json --protocol flops/mmcv-v1 --protocol flops/exact-v1"
    )
    assert main(command.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["flops"]) == ["flops/mmcv-v1", "flops/exact-v1"]
    assert found["flops_protocol"] == "flops/fvcore-v1" and found["params_protocol"] == "params/all-v1"


def test_a_model_whose_flops_no_paper_prints_has_parameters_only(capsys):
    assert main(["measure", "pft_r50_pascal_context"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pft_r50_pascal_context"
    assert lines[-1].startswith("no FLOPs: no paper counts FLOPs of pft_r50_pascal_context")
    assert main("measure pft_r50_pascal_context --json".split()) == 0
    assert json.loads(capsys.readouterr().out)["flops"] == {}
    assert main("measure pft_r50_pascal_context --protocol flops/exact-v1".split()) == 2
    assert "give --size HxW" in capsys.readouterr().err

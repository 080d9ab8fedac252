"""Released checkpoints: round trip, key layouts old and new, and files that must not be trusted."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models import CheckpointError, build, load_official, to_official
from models.official import read_state_dict

PIXELS = "sem_seg_head.pixel_decoder."


def small(name="faseg_r50_ade20k", **overrides):
    torch.manual_seed(len(overrides))
    sizes = {
        "backbone.layers": [1, 1, 1, 1],
        "backbone.width": 8,
        "pixel_decoder.dim": 32,
        "pixel_decoder.mask_dim": 32,
        "pixel_decoder.layers": 1,
        "pixel_decoder.ffn_dim": 32,
        "decoder.dim": 32,
        "decoder.ffn_dim": 32,
        "decoder.num_queries": 4,
        "num_classes": 3,
    }
    return build(name, overrides={**sizes, **overrides})


@pytest.fixture
def model():
    return small()


@pytest.fixture
def state(model):
    """A released state dict of that model's shapes, with other values."""
    return {key: torch.randn_like(tensor) for key, tensor in to_official(model).items()}


def assert_loaded(model, state):
    after = to_official(model)
    assert after.keys() == state.keys()
    assert all(torch.equal(after[key], state[key]) for key in state)


def test_released_names(model):
    keys = to_official(model)
    queries = "sem_seg_head.predictor."
    shapes = {
        "backbone.stem.conv1.norm.running_var": (8,),
        "backbone.res2.0.shortcut.weight": (32, 8, 1, 1),
        "backbone.res5.0.conv3.norm.bias": (256,),
        f"{PIXELS}input_proj.0.0.weight": (32, 256, 1, 1),
        f"{PIXELS}input_proj.3.0.weight": (32, 32, 1, 1),
        f"{PIXELS}pos_linear.3.weight": (32, 1, 3, 3),
        f"{PIXELS}transformer.level_embed": (3, 32),
        f"{PIXELS}transformer.encoder.layers.0.self_attn.value_proj.bias": (32,),
        f"{PIXELS}transformer.encoder.layers.0.norm2.weight": (32,),
        f"{PIXELS}adapter_1.norm.weight": (32,),
        f"{PIXELS}layer_1.weight": (32, 32, 3, 3),
        f"{PIXELS}mask_features.bias": (32,),
        f"{queries}transformer_cross_attention_layers.12.multihead_attn.in_proj_weight": (96, 32),
        f"{queries}transformer_self_attention_layers.12.self_attn.out_proj.bias": (32,),
        f"{queries}transformer_ffn_layers.0.linear1.weight": (32, 32),
        f"{queries}query_feat.weight": (4, 32),
        f"{queries}query_embed.weight": (4, 32),
        f"{queries}level_embed.weight": (4, 32),
        f"{queries}adapt_pos2d.2.weight": (32, 32),
        f"{queries}class_embed.weight": (4, 32),
        f"{queries}mask_embed.layers.2.bias": (32,),
        f"{queries}decoder_norm.weight": (32,),
    }
    assert {key: tuple(keys[key].shape) for key in shapes} == shapes


def test_the_number_of_released_entries():
    """Parameters and buffers in the released files, but for what holds no weights."""
    assert len(to_official(build("mask2former_r50_ade20k", device="meta"))) == 557
    assert len(to_official(build("faseg_r50_ade20k", device="meta"))) == 645
    assert len(to_official(build("mask2former_r50_cityscapes", device="meta"))) == 610
    assert len(to_official(build("mask2former_swin_t_ade20k", device="meta"))) == 469


def test_round_trip(model, state):
    report = load_official(model, state)
    assert report.matched == len(state)
    assert report.values == sum(t.numel() for t in state.values())
    assert_loaded(model, state)


def test_constants_of_released_files_are_passed_over(model, state):
    extra = {"criterion.empty_weight": torch.ones(4), "pixel_mean": torch.zeros(3, 1, 1)}
    assert load_official(model, {"model": {**state, **extra}, "iteration": 7}).ignored == tuple(extra)
    assert_loaded(model, state)


def test_older_layouts(model, state):
    older = {}
    for key, tensor in state.items():
        older[key.replace(PIXELS, "sem_seg_head.").replace("query_feat", "static_query")] = tensor
    assert older.keys() != state.keys()
    load_official(model, older)
    assert_loaded(model, state)


def test_missing_extra_and_misshapen_entries_are_named_and_nothing_is_loaded(model, state):
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    del state[f"{PIXELS}mask_features.bias"]
    state["sem_seg_head.predictor.other.weight"] = torch.zeros(1)
    state["sem_seg_head.predictor.query_feat.weight"] = torch.zeros(5, 32)
    with pytest.raises(CheckpointError) as error:
        load_official(model, state)
    message = str(error.value)
    assert f"1 missing: {PIXELS}mask_features.bias" in message
    assert "1 unexpected: sem_seg_head.predictor.other.weight" in message
    assert "1 of another shape: sem_seg_head.predictor.query_feat.weight [5, 32] for [4, 32]" in message
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_a_checkpoint_of_another_model_is_refused(model, state):
    with pytest.raises(CheckpointError, match="88 unexpected: .*pos_linear.0.weight"):
        load_official(small("mask2former_r50_ade20k"), state)
    with pytest.raises(CheckpointError, match="meta"):
        load_official(build("faseg_r50_ade20k", device="meta"), state)


def test_parts_that_were_never_released_have_no_name():
    with pytest.raises(CheckpointError, match="in the layout 'released': this part was never released"):
        to_official(small(**{"pixel_decoder.positions": "learnable"}))
    with pytest.raises(CheckpointError, match="Linear has no released"):
        load_official(torch.nn.Linear(1, 1), {})


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".safetensors"])
def test_files(model, state, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix == ".pkl":
        arrays = {key: tensor.numpy() for key, tensor in state.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x", "matching_heuristics": True}))
    else:
        torch.save({"model": state, "optimizer": {"lr": [0.1]}}, path)
    assert load_official(model, path).matched == len(state)
    assert_loaded(model, state)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_pickle_protocol(tmp_path, protocol):
    path = tmp_path / "weights.pkl"
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(2), "c": np.arange(2)}
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    state = read_state_dict(path)
    assert state["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["b"].item() == 2 and state["c"].dtype == torch.int64


class Hostile:
    def __reduce__(self):
        return os.system, ("exit 3",)


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
@pytest.mark.parametrize("where", ["top", "model", "array"])
def test_code_in_a_file_is_refused_by_name(tmp_path, suffix, where):
    path = tmp_path / f"weights{suffix}"
    inside = {"top": Hostile(), "model": {"model": {"a": Hostile()}}, "array": {"a": np.array([Hostile()])}}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(inside[where]))
    else:
        torch.save(inside[where], path)
    refused = "numpy" if (suffix, where) == (".pth", "array") else "system"
    with pytest.raises(CheckpointError, match=rf"weights\{suffix}.*refuses to load '[\w.]*{refused}"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02]q\x00."])
def test_damaged_files_are_named(tmp_path, suffix, content):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\."):
        read_state_dict(path)


def test_truncated_files_are_named(state, tmp_path):
    for suffix in (".pth", ".pkl", ".safetensors"):
        path = tmp_path / f"weights{suffix}"
        if suffix == ".pth":
            torch.save(state, path)
        elif suffix == ".pkl":
            path.write_bytes(pickle.dumps({k: v.numpy() for k, v in state.items()}))
        else:
            save_file(state, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(CheckpointError, match=r"weights\."):
            read_state_dict(path)


def test_other_content_is_refused(tmp_path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"a": "text"}))
    with pytest.raises(CheckpointError, match="'a' is a str"):
        read_state_dict(path)
    with pytest.raises(CheckpointError, match="expected a file of type"):
        read_state_dict(tmp_path / "weights.zip")
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "nothing.pkl")
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({1: torch.zeros(2)}, "the entry 1 has no name"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "'a' is a complex or sparse tensor"),
        ({"a": torch.eye(2).to_sparse()}, "'a' is a complex or sparse tensor"),
    ],
)
def test_entries_that_are_no_weights_are_named(tmp_path, content, says):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=rf"weights\.pth: {says}"):
        read_state_dict(tmp_path / "weights.pth")


def test_weights_that_are_not_finite_are_named(model, state):
    state[f"{PIXELS}mask_features.bias"][3] = float("nan")
    with pytest.raises(CheckpointError, match=rf"1 with NaN or infinity: {PIXELS}mask_features.bias$"):
        load_official(model, state)


def test_weights_that_the_type_of_the_model_cannot_hold_are_named(model, state):
    before = {key: tensor.clone() for key, tensor in model.half().state_dict().items()}
    state[f"{PIXELS}mask_features.bias"][3] = 1e6
    with pytest.raises(CheckpointError, match=rf"1 too large for torch.float16: {PIXELS}mask_features.bias$"):
        load_official(model, state)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_weights_on_the_meta_device_are_refused_by_name(model, state):
    state[f"{PIXELS}mask_features.bias"] = torch.empty(32, device="meta")
    with pytest.raises(
        CheckpointError, match=f"state dict: '{PIXELS}mask_features.bias' is on the meta device"
    ):
        load_official(model, state)


class Huge:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def test_a_pickle_cannot_ask_for_an_array_without_its_values(tmp_path):
    path = tmp_path / "weights.pkl"
    reconstruct = np.zeros(0).__reduce__()[0]
    for size in (10**6, 10**12, 10**20):
        for huge in (Huge(np.ndarray, (size,)), Huge(reconstruct, np.ndarray, (size,), b"b")):
            path.write_bytes(pickle.dumps({"a": huge}))
            with pytest.raises(CheckpointError, match=r"weights\.pkl: "):
                read_state_dict(path)
    path.write_bytes(b"\x80\x04\x8e" + (2**62).to_bytes(8, "little"))  # bytes of 4 EiB
    with pytest.raises(CheckpointError, match=r"weights\.pkl: "):
        read_state_dict(path)


def test_exported_weights_share_memory_with_the_model(model):
    exported = to_official(model)[f"{PIXELS}mask_features.bias"]
    assert exported.data_ptr() == model.pixel_decoder.mask_features.bias.data_ptr()


def test_the_reason_is_short_and_never_advises_to_read_an_unsafe_file(state, tmp_path, recwarn):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    whole = path.read_bytes()
    for content, reason in (
        (b"hello this is text\n", "damaged, or no checkpoint at all"),
        (b"", "it ends too early"),
        (whole[: len(whole) // 2], "PytorchStreamReader failed reading zip archive: failed finding [a-z ]*"),
        (pickle.dumps({"a": Hostile()}, protocol=4), r"Unsupported operand \d+"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"weights\.pth: not a readable checkpoint \({reason}\)$"):
            read_state_dict(path)
    assert not recwarn

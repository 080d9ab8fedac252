"""DETR's transformer: against torch's layers, and what padding does."""

import pytest
import torch
from torch import nn

from models import SpecError
from models.decoders import TransformerDecoderSpec, TransformerEncoderSpec

SIZES = {"heads": 4, "ffn_dim": 24}


def filled(module):
    """The module with weights that matter."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module.eval()


def copy_attention(ours, theirs):
    theirs.load_state_dict(ours.attention.state_dict())


def test_encoder_layer_is_torchs_with_positions_on_queries_and_keys():
    torch.manual_seed(0)
    encoder = filled(TransformerEncoderSpec(layers=1, **SIZES).build(16))
    ours, theirs = encoder.layers[0], nn.TransformerEncoderLayer(16, 4, 24, batch_first=True).eval()
    copy_attention(ours.self_attention, theirs.self_attn)
    theirs.norm1.load_state_dict(ours.self_attention.norm.state_dict())
    feed_forward = ours.feed_forward
    for mine, other in ((feed_forward.linear1, theirs.linear1), (feed_forward.linear2, theirs.linear2),
                        (feed_forward.norm, theirs.norm2)):  # fmt: skip
        other.load_state_dict(mine.state_dict())
    x, positions = torch.randn(2, 5, 16), torch.randn(1, 5, 16)
    padding = torch.tensor([[False] * 5, [False, False, True, False, True]])
    expected = theirs(x, src_key_padding_mask=padding)
    torch.testing.assert_close(encoder(x, torch.zeros(1, 5, 16), padding)[~padding], expected[~padding])
    placed = x + positions
    attended = theirs.self_attn(placed, placed, x, key_padding_mask=padding, need_weights=False)[0]
    hidden = theirs.norm1(x + attended)
    expected = theirs.norm2(hidden + theirs.linear2(theirs.linear1(hidden).relu()))
    torch.testing.assert_close(encoder(x, positions, padding), expected)


def test_decoder_layers_are_torchs_and_every_output_is_normalised():
    torch.manual_seed(0)
    decoder = filled(TransformerDecoderSpec(dim=16, layers=2, num_queries=3, **SIZES).build())
    memory, padding = torch.randn(2, 7, 16), torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    with torch.no_grad():
        decoder.query_positions.weight.zero_()
    outputs = decoder(memory, torch.zeros(1, 7, 16), padding)
    assert len(outputs) == 2
    x = torch.zeros(2, 3, 16)
    for ours, output in zip(decoder.layers, outputs, strict=True):
        theirs = nn.TransformerDecoderLayer(16, 4, 24, batch_first=True).eval()
        copy_attention(ours.self_attention, theirs.self_attn)
        copy_attention(ours.cross, theirs.multihead_attn)
        theirs.norm1.load_state_dict(ours.self_attention.norm.state_dict())
        theirs.norm2.load_state_dict(ours.cross.norm.state_dict())
        theirs.norm3.load_state_dict(ours.feed_forward.norm.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward.linear1.state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward.linear2.state_dict())
        x = theirs(x, memory, memory_key_padding_mask=padding)
        torch.testing.assert_close(output, decoder.norm(x))


def test_padded_tokens_are_not_seen():
    torch.manual_seed(0)
    decoder = filled(TransformerDecoderSpec(dim=16, layers=2, num_queries=3, **SIZES).build())
    encoder = filled(TransformerEncoderSpec(layers=2, **SIZES).build(16))
    memory, positions = torch.randn(1, 6, 16), torch.randn(1, 6, 16)
    padding = torch.tensor([[False] * 4 + [True] * 2])
    whole = decoder(encoder(memory, positions, padding), positions, padding)[-1]
    kept = decoder(encoder(memory[:, :4], positions[:, :4]), positions[:, :4])[-1]
    torch.testing.assert_close(whole, kept)
    assert (whole - decoder(encoder(memory, positions), positions)[-1]).abs().max() > 1e-2


def test_an_encoder_may_have_no_layers_and_a_decoder_must():
    x = torch.randn(1, 4, 16)
    assert torch.equal(TransformerEncoderSpec(layers=0, **SIZES).build(16)(x, x), x)
    with pytest.raises(SpecError, match="transformer_decoder: layers must be at least 1"):
        TransformerDecoderSpec(layers=0)


def test_matrices_start_as_in_detr():
    decoder = TransformerDecoderSpec().build()
    layer = decoder.layers[0]
    assert layer.self_attention.dropout == layer.cross.attention.dropout == layer.feed_forward.dropout == 0.1
    assert layer.feed_forward.linear1.weight.std().item() == pytest.approx(
        (2 / (256 + 2048)) ** 0.5, rel=0.02
    )
    assert layer.cross.attention.in_proj_weight.abs().max() <= (6 / (256 + 768)) ** 0.5
    assert decoder.query_positions.weight.std().item() == pytest.approx(1.0, rel=0.05)

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from torch.nn import functional as F

from sk_cpep.nn._transformer import (
    Attention,
    Block,
    scaled_dot_product,
    sincos_positions,
)


def test_scaled_dot_product_is_torchs():
    q, k, v = torch.randn(3, 2, 4, 7, 6, generator=torch.Generator().manual_seed(0))
    expected = F.scaled_dot_product_attention(q, k, v)
    assert_allclose(scaled_dot_product(q, k, v, 0.0), expected, atol=1e-6)


def test_scaled_dot_product_against_float64():
    q, k, v = 3 * np.random.default_rng(0).normal(size=(3, 2, 4, 7, 6))
    out = scaled_dot_product(*(torch.from_numpy(a).float() for a in (q, k, v)), 0.0)
    for b in range(2):
        for h in range(4):
            weights = softmax(q[b, h] @ k[b, h].T / np.sqrt(6), axis=1)
            assert_allclose(out[b, h], weights @ v[b, h], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_attention_is_torchs_multi_head_attention(n_heads):
    torch.manual_seed(0)
    ours = Attention(8, n_heads, 0.0)
    reference = torch.nn.MultiheadAttention(8, n_heads, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(ours.qkv.weight)
        reference.in_proj_bias.copy_(ours.qkv.bias)
        reference.out_proj.weight.copy_(ours.out.weight)
        reference.out_proj.bias.copy_(ours.out.bias)
        x = torch.randn(3, 5, 8)
        assert_allclose(ours(x), reference(x, x, x)[0], atol=1e-6)


def test_block_is_torchs_pre_norm_layer():
    torch.manual_seed(0)
    ours = Block(8, 2, 4.0, 0.0)
    reference = torch.nn.TransformerEncoderLayer(
        8, 2, 32, 0.0, F.gelu, batch_first=True, norm_first=True
    )
    theirs = reference.state_dict()
    mine = ours.state_dict()
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.out.",
        "linear1.": "mlp.0.",
        "linear2.": "mlp.2.",
        "norm1.": "norm1.",
        "norm2.": "norm2.",
    }
    for there, here in names.items():
        for kind in ("weight", "bias"):
            theirs[there + kind] = mine[here + kind]
    reference.load_state_dict(theirs)
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        assert_allclose(ours(x), reference(x), atol=1e-6)


@pytest.mark.parametrize("n_tokens, d_model", [(1, 2), (20, 16)])
def test_sine_cosine_positions(n_tokens, d_model):
    positions = sincos_positions(n_tokens, d_model)
    half = d_model // 2
    for k in range(n_tokens):
        for i in range(half):
            angle = k / 10_000 ** (2 * i / d_model)
            assert_allclose(positions[k, i], np.sin(angle), atol=1e-5)
            assert_allclose(positions[k, half + i], np.cos(angle), atol=1e-5)
    assert positions.dtype == torch.float32


def test_dropout_only_while_training():
    torch.manual_seed(0)
    block = Block(8, 2, 4.0, 0.5)
    x = torch.randn(3, 5, 8)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))

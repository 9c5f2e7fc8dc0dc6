import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_cpep.nn import MAEConfig, patchify, unpatchify


def patchify_by_hand(x, patch_length):
    """(B, C, T) to (B, K, C * S), one value at a time."""
    B, C, T = x.shape
    K = T // patch_length
    out = np.empty((B, K, C * patch_length), x.dtype)
    for b in range(B):
        for k in range(K):
            for c in range(C):
                for s in range(patch_length):
                    out[b, k, c * patch_length + s] = x[b, c, k * patch_length + s]
    return out


@pytest.mark.parametrize("n_times, patch_length", [(12, 4), (14, 4), (5, 5), (9, 1)])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_patchify(n_channels, n_times, patch_length):
    x = np.random.default_rng(0).normal(size=(2, n_channels, n_times))
    patches = patchify(torch.from_numpy(x), patch_length).numpy()
    assert_array_equal(patches, patchify_by_hand(x, patch_length))
    assert MAEConfig(1, n_times, patch_length).n_tokens == patches.shape[1]
    whole = patches.shape[1] * patch_length
    back = unpatchify(torch.from_numpy(patches), n_channels)
    assert_array_equal(back.numpy(), x[:, :, :whole])


def test_patches_by_hand():
    x = torch.tensor([[[1, 2, 3, 4, 5], [10, 20, 30, 40, 50]]])
    expected = [[[1, 2, 10, 20], [3, 4, 30, 40]]]  # 5 and 50 are left over
    assert patchify(x, 2).tolist() == expected
    assert unpatchify(torch.tensor(expected), 2).tolist() == x[:, :, :4].tolist()


def test_a_window_shorter_than_a_patch_has_none():
    assert MAEConfig(1, 49, 50).n_tokens == 0

from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sk_cpep.nn import MAEConfig, random_mask
from sk_cpep.nn._masking import gather_tokens, kept_indices


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "n_tokens, ratio, expected",
    [
        (80, 0.5, 40),
        (20, 0.75, 15),
        (10, 0.33, 3),
        (3, 0.5, 2),
        (5, 0.5, 2),
        (7, 0.5, 4),
    ],
)
def test_number_of_masked_tokens(n_tokens, ratio, expected):
    config = MAEConfig(1, n_tokens, patch_length=1, mask_ratio=ratio)
    assert config.n_masked == expected


@pytest.mark.parametrize("n_masked", [1, 3, 6, 7])
def test_as_many_are_hidden_in_every_window(n_masked):
    mask = random_mask(50, 7, n_masked, seeded(0))
    assert mask.dtype == torch.bool
    assert mask.shape == (50, 7)
    assert_array_equal(mask.sum(dim=1), np.full(50, n_masked))


def test_every_choice_of_tokens_is_equally_likely():
    mask = random_mask(6000, 4, 2, seeded(0)).numpy()
    for hidden in combinations(range(4), 2):
        count = mask[:, hidden].all(axis=1).sum()
        assert abs(count - 1000) < 5 * np.sqrt(6000 * 1 / 6 * 5 / 6)


def test_windows_are_masked_differently():
    mask = random_mask(20, 16, 8, seeded(0))
    assert len(mask.unique(dim=0)) == 20


def test_the_generator_decides():
    first, again = (random_mask(9, 8, 4, seeded(3)) for _ in range(2))
    other = random_mask(9, 8, 4, seeded(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    state = torch.get_rng_state()
    random_mask(9, 8, 4, seeded(3))
    assert torch.equal(state, torch.get_rng_state())


def test_kept_indices_are_in_order_of_time():
    mask = torch.tensor(
        [[True, False, True, False, False], [False, False, False, True, True]]
    )
    assert kept_indices(mask, 2).tolist() == [[1, 3, 4], [0, 1, 2]]
    mask = random_mask(30, 9, 4, seeded(1))
    expected = [np.flatnonzero(~row) for row in mask.numpy()]
    assert_array_equal(kept_indices(mask, 4).numpy(), expected)


def test_gather_tokens():
    tokens = np.random.default_rng(0).normal(size=(3, 5, 2))
    indices = np.array([[4, 0], [1, 1], [2, 3]])
    gathered = gather_tokens(torch.from_numpy(tokens), torch.from_numpy(indices))
    expected = [[tokens[b, i] for i in row] for b, row in enumerate(indices)]
    assert_array_equal(gathered.numpy(), expected)

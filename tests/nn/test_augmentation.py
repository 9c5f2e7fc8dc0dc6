import numpy as np
import pytest
import scipy.stats
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sk_cpep.nn import (
    Augmentation,
    rotate_channels,
    shift_electrodes,
    shift_time,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def windows(B=300, C=5, T=4):
    return np.random.default_rng(0).normal(size=(B, C, T)).astype(np.float32)


def steps_of(x, rotated, ring):
    """How far each window's ring was rolled, found by trying."""
    found = []
    for before, after in zip(x, rotated, strict=True):
        rolls = [
            step
            for step in range(-len(ring) + 1, len(ring))
            if np.array_equal(np.roll(before[ring], step, axis=0), after[ring])
        ]
        found.append(min(rolls, key=abs))
    return np.array(found)


@pytest.mark.parametrize("ring", [None, [0, 1, 2], [4, 0, 2, 1]])
@pytest.mark.parametrize("max_steps", [1, 2])
def test_rotation_is_a_roll_of_the_ring(ring, max_steps):
    x = windows(C=6)
    rotated = rotate_channels(torch.from_numpy(x), max_steps, ring, seeded()).numpy()
    inside = list(range(6)) if ring is None else ring
    outside = [c for c in range(6) if c not in inside]
    assert_array_equal(rotated[:, outside], x[:, outside])
    found = steps_of(x, rotated, inside)
    if len(inside) > 2 * max_steps:
        assert set(found) == set(range(-max_steps, max_steps + 1))


def test_rotation_by_hand():
    x = torch.arange(4.0).reshape(1, 4, 1).expand(40, -1, -1)
    rotated = rotate_channels(x, 1, [0, 1, 2], seeded())[:, :, 0]
    allowed = {(0, 1, 2, 3), (2, 0, 1, 3), (1, 2, 0, 3)}
    assert {tuple(map(int, row)) for row in rotated} == allowed


def test_rotation_is_uniform():
    x = windows(B=5000)
    rotated = rotate_channels(torch.from_numpy(x), 2, generator=seeded()).numpy()
    steps, counts = np.unique(steps_of(x, rotated, list(range(5))), return_counts=True)
    assert_array_equal(steps, [-2, -1, 0, 1, 2])
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(5000 * 0.2 * 0.8)


@pytest.mark.parametrize("ring", [None, [0, 1, 2], [4, 0, 2, 1]])
def test_electrodes_are_shifted_along_the_ring(ring):
    x = windows(B=2000, C=6)
    shifted = shift_electrodes(torch.from_numpy(x), 0.5, ring, seeded()).numpy()
    inside = list(range(6)) if ring is None else ring
    outside = [c for c in range(6) if c not in inside]
    assert_array_equal(shifted[:, outside], x[:, outside])
    part, moved = x[:, inside].astype(float), shifted[:, inside].astype(float)
    shifts = []
    for sign in (1, -1):  # the best share of the neighbour, by least squares
        step = np.roll(part, sign, axis=1) - part
        share = ((moved - part) * step).sum((1, 2)) / (step**2).sum((1, 2))
        error = np.abs(part + share[:, None, None] * step - moved).max((1, 2))
        fits = (error < 1e-5) & (share >= -1e-6)
        shifts.append(np.where(fits, sign * share, np.nan))
    shift = np.where(np.isnan(shifts[0]), shifts[1], shifts[0])
    assert not np.isnan(shift).any()
    assert scipy.stats.kstest(shift, scipy.stats.uniform(-0.5, 1).cdf).pvalue > 1e-3


def test_electrodes_shifted_by_hand():
    x = torch.tensor([0.0, 3.0, 6.0, 50.0]).reshape(1, 4, 1).expand(40, -1, -1)
    a, b, c, other = shift_electrodes(x, 1.0, [0, 1, 2], seeded())[:, :, 0].T
    assert_allclose(a + b + c, 9, rtol=1e-6)  # what one loses, its neighbour gets
    assert_array_equal(other, 50)
    assert a.max() > 3  # part of the 6 that stands before it on the ring


def test_shift_by_hand():
    x = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]).expand(40, -1, -1)
    shifted = {str(row.tolist()) for row in shift_time(x, 1, seeded())}
    assert shifted == {
        "[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]",
        "[[1.0, 1.0, 2.0], [4.0, 4.0, 5.0]]",
        "[[2.0, 3.0, 3.0], [5.0, 6.0, 6.0]]",
    }


def test_shift_is_uniform():
    x = torch.arange(9.0).expand(5000, 1, 9)
    centre = shift_time(x, 2, seeded())[:, 0, 4]
    places, counts = np.unique(centre.numpy(), return_counts=True)
    assert_array_equal(places, [2, 3, 4, 5, 6])
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(5000 * 0.2 * 0.8)


def test_amplitude_jitter_is_one_factor_a_channel():
    x = windows(B=4000) + 10
    factor = (
        Augmentation(amplitude_jitter=0.3)(torch.from_numpy(x), seeded()).numpy() / x
    )
    assert_allclose(factor, np.broadcast_to(factor[:, :, :1], factor.shape), rtol=1e-5)
    log = np.log(factor[:, :, 0])
    assert abs(log.mean()) < 0.01
    assert abs(log.std() - 0.3) < 0.01
    assert abs(np.corrcoef(log[:, 0], log[:, 1])[0, 1]) < 0.1


def test_channel_dropout_silences_whole_channels():
    x = windows(B=4000) + 10
    out = Augmentation(channel_dropout=0.25)(torch.from_numpy(x), seeded()).numpy()
    silent = (out == 0).all(axis=2)
    assert_array_equal(out[~silent], x[~silent])
    assert abs(silent.mean() - 0.25) < 0.02


def test_noise_is_white():
    x = windows(B=4000)
    noise = Augmentation(noise=0.5)(torch.from_numpy(x), seeded()).numpy() - x
    assert abs(noise.std() - 0.5) < 0.01
    assert abs(np.corrcoef(noise[:, 0, 0], noise[:, 0, 1])[0, 1]) < 0.1


def test_nothing_happens_by_default():
    x = torch.from_numpy(windows())
    assert Augmentation()(x) is x


def test_all_at_once_is_reproducible_and_leaves_the_batch():
    augment = Augmentation(1, (0, 1, 2), 0.5, 0.1, 1, 0.1, 0.1)
    x = torch.from_numpy(windows())
    before = x.clone()
    first, again, other = (augment(x, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(x, before)


def test_windows_stored_in_half_precision():
    """Everything that changes windows takes those that are float16."""
    x = torch.randn(6, 4, 30, generator=torch.Generator().manual_seed(0)).half()
    augment = Augmentation(
        channel_rotation=1,
        electrode_shift=0.5,
        amplitude_jitter=0.1,
        time_shift=3,
        noise=0.1,
        channel_dropout=0.2,
    )
    changed, expected = (
        augment(y, torch.Generator().manual_seed(1)) for y in (x, x.float())
    )
    assert_allclose(changed.float(), expected, rtol=4e-3, atol=4e-3)

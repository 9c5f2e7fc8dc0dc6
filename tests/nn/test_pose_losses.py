import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sk_cpep.nn import (
    HandModel,
    PoseLoss,
    fingertip_distance,
    mean_absolute_error,
    mean_squared_error,
)


def poses(n_joints=20, seed=0):
    rng = np.random.default_rng(seed)
    pose, target = rng.normal(size=(2, 3, n_joints, 11))
    return pose, target, rng.random((3, 11)) > 0.4


def tensors(*arrays):
    return [torch.from_numpy(a) for a in arrays]


@pytest.fixture
def hand():
    rng = np.random.default_rng(1)
    axes = rng.normal(size=(20, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    weights = np.zeros((21, 17))
    weights[:5, 4::3] = np.eye(5)
    weights[5:, 1] = 1
    arrays = axes, rng.normal(size=(20, 3)), rng.normal(size=(21, 3)), weights
    return HandModel(*tensors(*arrays))


@pytest.mark.parametrize(
    "loss, power", [(mean_absolute_error, 1), (mean_squared_error, 2)]
)
def test_angles(loss, power):
    pose, target, mask = poses(4)
    error = np.abs(pose - target) ** power  # (3, 4, 11)
    assert_allclose(loss(*tensors(pose, target)), error.mean())
    valid = error.transpose(0, 2, 1)[mask]
    assert_allclose(loss(*tensors(pose, target, mask)), valid.mean())


def test_what_is_masked_does_not_count():
    pose, target, mask = poses(4)
    expected = mean_absolute_error(*tensors(pose, target, mask))
    target = np.where(mask[:, np.newaxis], target, np.nan)
    assert_allclose(mean_absolute_error(*tensors(pose, target, mask)), expected)


def test_nothing_valid():
    pose, target, mask = poses(4)
    assert mean_absolute_error(*tensors(pose, target, 0 * mask)) == 0


def tip_distances(hand, pose, target):
    """(3, 11): mean over the tips at every sample."""
    tips = [hand.landmarks(a.transpose(0, 2, 1))[..., :5, :] for a in (pose, target)]
    return np.sqrt(((tips[0] - tips[1]) ** 2).sum(axis=-1)).mean(axis=-1)


def test_fingertips(hand):
    pose, target, mask = poses()
    distances = tip_distances(hand, pose, target)
    loss = fingertip_distance(hand, *tensors(pose, target))
    assert_allclose(loss, distances.mean())
    loss = fingertip_distance(hand, *tensors(pose, target, mask))
    assert_allclose(loss, distances[mask].mean())
    assert fingertip_distance(hand, *tensors(pose, pose)) == 0


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("every", [1, 4, 40])
def test_sum(hand, every, masked):
    pose, target, mask = poses()
    mask = mask if masked else np.ones_like(mask)
    angles = np.abs(pose - target).transpose(0, 2, 1)[mask].mean()
    few = mask[:, ::every]
    tips = tip_distances(hand, pose, target)[:, ::every][few].mean()
    loss = PoseLoss(hand=hand, weight=0.03, every=every)
    arguments = tensors(pose, target, mask) if masked else tensors(pose, target)
    assert_allclose(loss(*arguments), angles + 0.03 * tips)
    assert loss.terms == ("angle", "fingertip")


def test_without_a_hand():
    pose, target, _ = poses()
    loss = PoseLoss()
    assert_allclose(loss(*tensors(pose, target)), np.abs(pose - target).mean())
    assert loss.terms == ("angle",)
    assert PoseLoss(mean_squared_error).terms == ("squared angle",)


def test_gradient_is_finite_where_fingertips_meet(hand):
    pose = torch.from_numpy(poses()[0]).requires_grad_()
    PoseLoss(hand=hand)(pose, pose.detach().clone()).backward()
    assert torch.isfinite(pose.grad).all()

"""Adam at a constant rate, clipping, given validation rows, and what poses train."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_objectives import Recorder
from torch import nn
from torch.nn.utils import clip_grad_norm_

from sk_cpep.nn import Augmentation, PoseLoss
from sk_cpep.training import PoseRegression, TrainingPlan, train


class Network(nn.Module):
    """A linear layer over the channels, from sample 2 on; keeps its calls."""

    pose_start = 2

    def __init__(self, needs_initial_pose=False):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.needs_initial_pose = needs_initial_pose
        self.calls = []

    def forward(self, x, initial_pose=None):
        self.calls.append((x.clone(), initial_pose))
        return self.layer(x.transpose(1, 2)).transpose(1, 2)[:, :, 2:]


def data(n=12):
    rng = np.random.default_rng(0)
    X, P = rng.normal(size=(n, 3, 9)), rng.normal(size=(n, 2, 9))
    return X.astype(np.float32), P.astype(np.float32)


def objective(network=None, augment=None):
    return PoseRegression(network or Network(), PoseLoss(), augment or Augmentation())


PLAN = dict(batch_size=5, max_epochs=3, lr=0.05, weight_decay=0.0)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_adam_at_a_constant_rate(clip):
    batches = Recorder(objective())
    bare = deepcopy(batches.objective).train()
    plan = TrainingPlan(
        **PLAN, optimizer="adam", schedule="constant", gradient_clip=clip
    )
    history = train(batches, data(), plan, rng=np.random.RandomState(0))
    optimizer = torch.optim.Adam(bare.parameters(), lr=0.05)
    for batch, *_ in batches.calls:
        optimizer.zero_grad()
        bare(*batch).backward()
        if clip is not None:
            clip_grad_norm_(bare.parameters(), clip)
        optimizer.step()
    assert len(batches.calls) == 3 * 3
    for ours, theirs in zip(batches.objective.parameters(), bare.parameters()):
        assert_allclose(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-7)
    assert [record["lr"] for record in history] == [0.05] * 3


def test_clipping_changes_what_is_learned():
    # Adam takes no notice of the size of all gradients, but of that of one.
    weights = []
    for clip in (None, 0.01):
        module = objective()
        plan = TrainingPlan(**PLAN, gradient_clip=clip)
        train(module, data(), plan, rng=np.random.RandomState(0))
        weights.append(module.network.layer.weight.detach().numpy())
    assert np.abs(weights[0] - weights[1]).max() > 1e-4


def test_given_rows_are_for_validation():
    X, P = data()
    batches = Recorder(objective())
    plan = TrainingPlan(**PLAN, early_stopping=True)
    valid_rows = np.array([1, 4, 11])
    train(batches, (X, P), plan, rng=np.random.RandomState(0), valid_rows=valid_rows)
    for training, rows in (
        (False, valid_rows),
        (True, np.delete(range(12), valid_rows)),
    ):
        seen = [
            x for (x, _), _, was in batches.calls if was == training for x in x.numpy()
        ]
        assert {x.tobytes() for x in seen} == {x.tobytes() for x in X[rows]}


def test_loss():
    X, P = data()
    for needs_initial_pose in (False, True):
        network = Network(needs_initial_pose)
        loss = objective(network)(*map(torch.from_numpy, (X, P)))
        weight, bias = (p.detach().double().numpy() for p in network.layer.parameters())
        pose = np.einsum("jc,nct->njt", weight, X) + bias[:, np.newaxis]
        assert_allclose(loss.item(), np.abs(pose - P)[:, :, 2:].mean(), rtol=1e-5)
        initial_pose = network.calls[0][1]
        assert (initial_pose is not None) == needs_initial_pose
    assert_array_equal(initial_pose, P[:, :, 2])


@pytest.mark.parametrize("needs_initial_pose", [False, True])
def test_mask(needs_initial_pose):
    X, P = data()
    mask = np.random.default_rng(1).random((12, 9)) > 0.3
    network = Network(needs_initial_pose)
    loss = objective(network)(*map(torch.from_numpy, (X, P, mask.astype(np.float32))))
    valid = mask.copy()
    valid[:, :2] = False
    if needs_initial_pose:
        valid[~mask[:, 2]] = False
    weight, bias = (p.detach().double().numpy() for p in network.layer.parameters())
    error = np.abs(np.einsum("jc,nct->njt", weight, X) + bias[:, np.newaxis] - P)
    assert_allclose(loss.item(), error.transpose(0, 2, 1)[valid].mean(), rtol=1e-5)


def test_augmentation_is_for_training_only():
    X, P = map(torch.from_numpy, data())
    module = objective(augment=lambda x, generator: x + 1)
    module.train()(X, P)
    module.eval()(X, P)
    (trained, _), (tested, _) = module.network.calls
    assert torch.equal(trained, X + 1)
    assert torch.equal(tested, X)

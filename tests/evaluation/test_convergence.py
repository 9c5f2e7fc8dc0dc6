import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from sk_cpep.evaluation import converged, embedding_spread
from sk_cpep.nn import info_nce

GUESSING = np.log(256)


def epochs(*losses, valid=()):
    rows = [{"epoch": i, "train_loss": x} for i, x in enumerate(losses, 1)]
    for row, x in zip(rows, valid, strict=False):
        row["valid_loss"] = x
    return rows


def cloud(n=300, d=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_a_training_that_learns():
    verdict = converged(
        epochs(5.5, 3.0, 1.2), trivial_loss=GUESSING, embeddings=cloud()
    )
    assert verdict == {"converged": True, "reason": None}


@pytest.mark.parametrize(
    "history, reason",
    [
        (epochs(5.6, 5.545, 5.54), "loss 5.54 is not below 5.268"),
        (epochs(5.6, 2.0, 5.55), "loss 5.55 is not below"),  # fell, then blew up
        (epochs(5.6, 2.0, 1.0, valid=[5.6, 5.5, 5.5]), "loss 5.5 is not below"),
        (epochs(5.6, np.nan), "not finite"),
        (epochs(5.6, 3.0, valid=[np.inf, 2.0]), "not finite"),
    ],
)
def test_losses_of_a_training_that_does_not(history, reason):
    verdict = converged(history, trivial_loss=GUESSING)
    assert verdict["converged"] is False
    assert reason in verdict["reason"]
    assert json.loads(json.dumps(verdict)) == verdict


def test_the_best_validation_counts_as_its_weights_are_kept():
    history = epochs(5.6, 2.0, 1.0, valid=[5.5, 3.0, 6.0])
    assert converged(history, trivial_loss=GUESSING)["converged"]


def test_the_level_of_guessing_is_the_loss_of_collapsed_embeddings():
    rng = torch.Generator().manual_seed(0)
    u = normalize(torch.ones(256, 8) + 1e-6 * torch.randn(256, 8, generator=rng), dim=1)
    loss = info_nce(u, u, torch.tensor(100.0)).item()
    assert loss == pytest.approx(GUESSING, abs=1e-3)
    verdict = converged(
        epochs(loss), trivial_loss=GUESSING, embeddings={"EMG": u.numpy()}
    )
    assert not verdict["converged"]
    assert verdict["reason"].count(";") == 1  # both the loss and the collapse
    assert "EMG embeddings point one way" in verdict["reason"]


def test_collapse():
    one_way = 100 + cloud()
    line = np.outer(cloud(d=1)[:, 0], np.arange(1, 17)) + 1e-3 * cloud()
    history = epochs(1.0)
    point = converged(history, embeddings={"pose": one_way, "EMG": cloud()})
    assert point["reason"].startswith("pose embeddings point one way")
    assert "lie on a line" in converged(history, embeddings=line)["reason"]
    narrow = 3 + cloud()  # a cone, as autoencoders have: R = 0.95
    assert 0.9 < embedding_spread(narrow)["resultant_length"] < 0.99
    assert converged(history, embeddings=narrow)["converged"]
    assert converged(history, embeddings=cloud(d=1))["converged"]


@pytest.mark.parametrize("d", [2, 5, 30])
def test_spread_of_a_round_cloud(d):
    spread = embedding_spread(cloud(20000, d))
    assert spread["effective_rank"] == pytest.approx(d, rel=0.01)
    assert spread["resultant_length"] == pytest.approx(0, abs=0.03)


def test_spread_against_the_covariance():
    Z = cloud() * np.arange(1, 17) + 2
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(np.cov(Z.T))
    share = eigenvalues / eigenvalues.sum()
    spread = embedding_spread(7 * Z)
    entropy = -(share * np.log(share)).sum()
    assert spread["effective_rank"] == pytest.approx(np.exp(entropy))
    cosines = Z @ Z.T  # their mean is the squared length of the mean
    assert spread["resultant_length"] ** 2 == pytest.approx(cosines.mean())


def test_spread_of_a_point():
    spread = embedding_spread(np.ones((5, 3)))
    assert spread["effective_rank"] == 1
    assert spread["resultant_length"] == pytest.approx(1)


@pytest.mark.parametrize(
    "history, message",
    [
        ([], "one dict for each epoch"),
        ({"alignment": epochs(1.0)}, "of one stage"),
        ([{"epoch": 1}], "no `train_loss`"),
    ],
)
def test_histories_that_cannot_be_judged(history, message):
    with pytest.raises(ValueError, match=message):
        converged(history)


def test_embeddings_that_are_not_finite():
    with pytest.raises(ValueError, match="NaN"):
        converged(epochs(1.0), embeddings=np.full((3, 2), np.nan))

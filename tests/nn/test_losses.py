import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import log_expit, logsumexp, softmax
from torch.nn import functional as F

from sk_cpep.nn import SigLIP, info_nce
from sk_cpep.nn._losses import WholeBatchLoss, excluded_pairs, make_criterion


def unit_rows(n, d, seed):
    z = np.random.default_rng(seed).normal(size=(n, d))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def float32(*arrays):
    return [torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in arrays]


def info_nce_float64(u, v, scale, duplicate_threshold=None, target_temperature=None):
    """The formula, one sum at a time."""
    n = len(u)
    alike = v @ v.T
    s = scale * (u @ v.T)
    if duplicate_threshold is not None:
        for i in range(n):
            for j in range(n):
                if i != j and alike[i, j] > duplicate_threshold:
                    s[i, j] = -np.inf
    target = np.eye(n)
    if target_temperature is not None:
        target = softmax(
            alike / target_temperature - np.where(np.isinf(s), np.inf, 0), axis=1
        )
    loss = 0.0
    for i in range(n):
        row = s[i] - logsumexp(s[i])
        column = s[:, i] - logsumexp(s[:, i])
        with np.errstate(invalid="ignore"):
            loss -= np.where(target[i] > 0, target[i] * row, 0).sum()
            loss -= np.where(target[i] > 0, target[i] * column, 0).sum()
    return loss / (2 * n)


def test_info_nce_by_hand():
    # tau = 0.2. Cosines [[1, 0.6], [0, 0.8]], hence s = [[5, 3], [0, 4]].
    # Rows:     log(1 + e^-2) = 0.12692801,  log(1 + e^-4) = 0.01814993
    # Columns:  log(1 + e^-5) = 0.00671535,  log(1 + e^-1) = 0.31326169
    # Their mean is 0.46505498 / 4.
    u, v = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    assert_allclose(info_nce(u, v, 1 / 0.2), 0.11626374, rtol=1e-6)


def test_info_nce_by_hand_at_chance():
    # All similarities equal: every cross-entropy is log 4.
    u = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    assert_allclose(info_nce(u, u, 50.0), np.log(4), rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 50.0, 100.0])
def test_info_nce_against_float64(scale):
    u, v = unit_rows(12, 5, 0), unit_rows(12, 5, 1)
    loss = info_nce(*float32(u, v), scale)
    assert_allclose(loss, info_nce_float64(u, v, scale), rtol=1e-5)


def test_info_nce_is_float32_under_autocast():
    u, v = float32(unit_rows(12, 5, 0), unit_rows(12, 5, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(u, v, 100.0)
    assert torch.equal(loss, info_nce(u, v, 100.0))


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.5])
def test_near_duplicates_are_no_negatives(threshold):
    u, v = unit_rows(10, 3, 0), unit_rows(10, 3, 1)
    alike = np.triu(v @ v.T > threshold, 1).sum()
    assert 0 < alike < 45
    loss = info_nce(*float32(u, v), 8.0, duplicate_threshold=threshold)
    expected = info_nce_float64(u, v, 8.0, duplicate_threshold=threshold)
    assert_allclose(loss, expected, rtol=1e-5)
    assert loss < info_nce(*float32(u, v), 8.0)


def test_near_duplicates_by_hand():
    v = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.96, 0.28], [-1.0, 0.0]])
    # Cosines above the diagonal: .6, .96, -1; .8, -.6; -.96.
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[0, 2] = expected[2, 0] = expected[1, 2] = expected[2, 1] = True
    assert torch.equal(excluded_pairs(v, v, None, torch.arange(4), 0.7), expected)


def test_all_duplicates_leave_nothing_to_learn():
    u = torch.from_numpy(unit_rows(3, 4, 0)).float().requires_grad_()
    v = torch.tensor([[1.0, 0, 0, 0]]).repeat(3, 1)
    loss = info_nce(u, v, 50.0, duplicate_threshold=0.99)
    loss.backward()
    assert loss.item() == 0
    assert not u.grad.any()


@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
def test_targets_shared_among_like_poses(temperature):
    u, v = unit_rows(10, 3, 0), unit_rows(10, 3, 1)
    loss = info_nce(*float32(u, v), 8.0, target_temperature=temperature)
    expected = info_nce_float64(u, v, 8.0, target_temperature=temperature)
    assert_allclose(loss, expected, rtol=1e-5)


def test_no_gradient_through_targets():
    v = torch.from_numpy(unit_rows(5, 3, 1)).float().requires_grad_()
    u = torch.from_numpy(unit_rows(5, 3, 0)).float()
    info_nce(u, v, 8.0, target_temperature=0.3).backward()
    fixed = torch.tensor(
        softmax(v.detach().numpy() @ v.detach().numpy().T / 0.3, axis=1)
    )
    w = v.detach().clone().requires_grad_()
    s = 8.0 * u @ w.T
    rows = -(fixed * s.log_softmax(dim=1)).sum(dim=1).mean()
    columns = -(fixed * s.T.log_softmax(dim=1)).sum(dim=1).mean()
    ((rows + columns) / 2).backward()
    assert_allclose(v.grad, w.grad, atol=1e-6)


def test_both_variants_together():
    u, v = unit_rows(10, 3, 0), unit_rows(10, 3, 1)
    options = dict(duplicate_threshold=0.5, target_temperature=0.3)
    loss = info_nce(*float32(u, v), 8.0, **options)
    assert_allclose(loss, info_nce_float64(u, v, 8.0, **options), rtol=1e-5)


def test_both_variants_together_have_finite_gradients():
    u, v = float32(unit_rows(10, 3, 0), unit_rows(10, 3, 1))
    u.requires_grad_()
    info_nce(u, v, 8.0, duplicate_threshold=0.5, target_temperature=0.3).backward()
    assert torch.isfinite(u.grad).all()
    assert u.grad.any()


def shares_of(u, v, sizes, capacity):
    """Shares of a batch, and what gathers it: blocks of rows, some no windows."""
    parts = [z.split(sizes) for z in (u, v)]

    def pad(z, value=7.0):
        return F.pad(z, (0, 0, 0, capacity - len(z)), value=value)

    all_u, all_v = (torch.cat([pad(z) for z in shares]) for shares in parts)
    present = torch.cat([torch.arange(capacity) < n for n in sizes])
    for rank, share in enumerate(zip(*parts)):
        own = rank * capacity + torch.arange(sizes[rank])
        yield *share, lambda u, v, own=own: (all_u, all_v, present, own)


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5])
def test_siglip_against_float64(threshold):
    u, v = unit_rows(12, 5, 0), unit_rows(12, 5, 1)
    loss = SigLIP(threshold)(*float32(u, v), torch.tensor(8.0))
    assert_allclose(loss.item(), siglip_float64(u, v, 8.0, threshold), rtol=1e-5)


def siglip_float64(u, v, scale, threshold=None):
    """The formula, one pair at a time, with the bias at its start."""
    loss = 0.0
    for i, u_i in enumerate(u):
        for j, v_j in enumerate(v):
            if i != j and threshold is not None and v[i] @ v_j > threshold:
                continue
            sign = 1 if i == j else -1
            loss -= log_expit(sign * (scale * u_i @ v_j - 10))
    return loss / len(u)


def test_siglip_learns_its_bias():
    u, v = float32(unit_rows(6, 3, 0), unit_rows(6, 3, 1))
    criterion = SigLIP()
    criterion(u, v, torch.tensor(8.0)).backward()
    s = 8 * u.double().numpy() @ v.double().numpy().T - 10
    # d/db of -log sigmoid(z (s + b)) is -z sigmoid(-z (s + b)).
    sign = 2 * np.eye(6) - 1
    expected = -(sign * np.exp(log_expit(-sign * s))).sum() / 6
    assert_allclose(criterion.bias.grad, expected, rtol=1e-5)


def squared(u, v, scale):
    """A loss of one's own that does not add up over rows."""
    return scale * ((u @ v.T) ** 2).mean().sqrt() - (u * v).sum(dim=1).mean()


def test_a_loss_of_ones_own_is_float32_under_autocast():
    u, v = float32(unit_rows(6, 3, 0), unit_rows(6, 3, 1))
    criterion = WholeBatchLoss(squared)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = criterion(u, v, 3.0)
    assert torch.equal(loss, squared(u, v, 3.0))


class Weighted(torch.nn.Module):
    """A loss whose weight is learned."""

    def __init__(self, start=2.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(start))

    def forward(self, u, v, scale):
        return self.weight * squared(u, v, scale)


def test_a_module_as_loss_is_copied_and_a_class_is_made():
    given = Weighted(3.0)
    copied, made = make_criterion(given), make_criterion(Weighted)
    assert [p.item() for p in copied.parameters()] == [3.0]
    assert next(copied.parameters()) is not given.weight
    assert [p.item() for p in made.parameters()] == [2.0]


@pytest.mark.parametrize(
    "loss, option",
    [
        ("siglip", "target_temperature"),
        (squared, "target_temperature"),
        (squared, "duplicate_threshold"),
    ],
)
def test_options_that_a_loss_does_not_have(loss, option):
    with pytest.raises(ValueError, match=f"^{option} .* loss"):
        make_criterion(loss, **{option: 0.5})


OPTIONS = [
    {},
    {"duplicate_threshold": 0.5},
    {"target_temperature": 0.3},
    {"duplicate_threshold": 0.5, "target_temperature": 0.3},
    {"loss": "siglip"},
    {"loss": "siglip", "duplicate_threshold": 0.5},
    {"loss": Weighted},
]


def expected_float64(u, v, scale, loss="info_nce", **options):
    if loss == "info_nce":
        return info_nce_float64(u, v, scale, **options)
    if loss == "siglip":
        return siglip_float64(u, v, scale, options.get("duplicate_threshold"))
    return 2 * (scale * np.sqrt(np.mean((u @ v.T) ** 2)) - np.sum(u * v) / len(u))


@pytest.mark.parametrize("options", OPTIONS)
def test_shares_of_a_batch_against_float64(options):
    sizes = [4, 1, 3, 2]
    u, v = unit_rows(10, 3, 0), unit_rows(10, 3, 1)
    criterion = make_criterion(**{"loss": "info_nce"} | options)
    with torch.no_grad():
        losses = [
            criterion(*share, torch.tensor(8.0), gather=gather)
            for *share, gather in shares_of(*float32(u, v), sizes, capacity=4)
        ]
    expected = expected_float64(u, v, 8.0, **options)
    assert_allclose(np.average(losses, weights=sizes), expected, rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_of_shares_add_up(options):
    sizes = [3, 1, 2]
    u, v = (z.requires_grad_() for z in float32(unit_rows(6, 3, 0), unit_rows(6, 3, 1)))
    scale = torch.tensor(8.0, requires_grad=True)
    criterion = make_criterion(**{"loss": "info_nce"} | options)
    learn = [u, v, scale, *getattr(criterion, "parameters", list)()]
    expected = torch.autograd.grad(criterion(u, v, scale), learn)
    total = [torch.zeros_like(z) for z in learn]
    for (*share, gather), n in zip(shares_of(u, v, sizes, capacity=3), sizes):
        loss = criterion(*share, scale, gather=gather) * n / 6
        for z, g in zip(total, torch.autograd.grad(loss, learn, retain_graph=True)):
            z += g
    for found, gradient in zip(total, expected):
        assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)

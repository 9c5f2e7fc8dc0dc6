"""Networks, tokenizers, losses and estimators as a user writes them.

In a module of their own, so that pickles find them again in another process.
"""

import torch
from sklearn.base import BaseEstimator, TransformerMixin
from torch import nn
from torch.nn import functional as F

from sk_cpep.training import Objective


class Convolutions(nn.Module):
    """Embeds windows, without tokens; batch norm and dropout have something to do."""

    def __init__(self, n_channels, n_times, width=6, dropout=0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(n_channels, width, 5, stride=2),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
        )

    def forward(self, x):
        return self.layers(x).mean(dim=2)


class Recurrent(nn.Module):
    """Embeds windows by their last step, or the mean of all."""

    def __init__(self, n_channels, n_times, width=4):
        super().__init__()
        self.d_model = width
        self.layers = nn.GRU(n_channels, width, batch_first=True)

    def forward(self, x, pooling="cls"):
        steps, _ = self.layers(x.transpose(1, 2))
        return steps[:, -1] if pooling == "cls" else steps.mean(dim=1)


class Dense(nn.Module):
    """Embeds windows of any size by one layer.

    In float64: how a product in float32 is rounded depends, on some processors, on
    which windows stand beside one in a batch.
    """

    def __init__(self, n_channels, n_times, width=6):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(n_channels * n_times, width), nn.Tanh()
        )

    def forward(self, x):
        weight, bias = self.layers[1].weight.double(), self.layers[1].bias.double()
        return F.linear(x.flatten(1).double(), weight, bias).tanh().float()


class LinearTokens(nn.Module):
    """Makes tokens of patches and of their squares."""

    def __init__(self, n_channels, n_times, patch_length, d_model):
        super().__init__()
        self.layer = nn.Linear(2 * n_channels * patch_length, d_model)

    def forward(self, patches):
        return self.layer(torch.cat([patches, patches.square()], dim=-1))


def log_power(patches):
    """Target: the logarithm of the power of each channel."""
    return patches.square().mean(dim=-1).clamp(min=1e-6).log()


class Reversed(Objective):
    """Tell a window from itself played backwards."""

    def __init__(self, network, hidden=3):
        super().__init__()
        self.network = network
        self.head = nn.Sequential(
            nn.LazyLinear(hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        with torch.no_grad():
            self.head(self.network.eval()(torch.zeros(2, 4, 22)))
        network.train()

    def compute(self, x):
        logits = self.head(self.network(torch.cat([x, x.flip(2)])))
        backwards = torch.arange(2 * len(x), device=x.device) >= len(x)
        return nn.functional.binary_cross_entropy_with_logits(
            logits.squeeze(1), backwards.to(logits.dtype)
        )


class Rebuild(Objective):
    """Rebuild the windows that a network embeds."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        weight = network.layers[1].weight
        self.decode = nn.Linear(*weight.shape)

    def compute(self, x):
        return nn.functional.mse_loss(self.decode(self.network(x)), x.flatten(1))


def margin(u, v, scale):
    """A loss of the whole batch: every pose a margin nearer than all others."""
    s = u @ v.T
    wrong = 1 - torch.eye(len(u), device=u.device)
    return torch.logsumexp(scale * (s - (u * v).sum(dim=1) + 0.2 * wrong), dim=0).mean()


class LearnedMargin(nn.Module):
    """The same, with a margin that is learned."""

    def __init__(self):
        super().__init__()
        self.margin = nn.Parameter(torch.tensor(0.2))

    def forward(self, u, v, scale):
        s = u @ v.T
        wrong = self.margin * (1 - torch.eye(len(u), device=u.device))
        loss = torch.logsumexp(scale * (s - (u * v).sum(dim=1) + wrong), dim=0).mean()
        return loss + self.margin.square()


class OwnEstimator(TransformerMixin, BaseEstimator):
    """The least that CPEP needs: `fit`, `transform` and `module_`."""

    def __init__(self, width=5):
        self.width = width

    def fit(self, X, y=None):
        self.partners_ = y
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.module_ = Convolutions(*X.shape[1:], self.width).eval()
        return self

    def transform(self, X):
        with torch.no_grad():
            return self.module_(torch.tensor(X)).numpy()

"""Networks of one's own as encoders of windows."""

import pytest
import torch

from sk_cpep.nn import make_encoder


class Convolutions(torch.nn.Module):
    def __init__(self, n_channels, n_times, width=6):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv1d(n_channels, width, 3),
            torch.nn.BatchNorm1d(width),
            torch.nn.ReLU(),
        )

    def forward(self, x):
        return self.layers(x).mean(dim=2)


class Pooled(Convolutions):
    def forward(self, x, pooling="mean"):
        features = self.layers(x)
        return features[:, :, 0] if pooling == "cls" else features.mean(dim=2)


class Sequence(Convolutions):
    def forward(self, x):
        return self.layers(x)


class Pair(Convolutions):
    def forward(self, x):
        return x, x


def test_the_width_is_found():
    encoder = make_encoder(Convolutions, 3, 20, width=7)
    assert encoder.d_model == 7
    assert encoder(torch.randn(4, 3, 20)).shape == (4, 7)


def test_finding_the_width_changes_nothing():
    torch.manual_seed(0)
    encoder = make_encoder(Convolutions, 3, 20)
    torch.manual_seed(0)
    given = Convolutions(3, 20)
    assert encoder.training
    assert encoder.network.training
    for ours, theirs in zip(encoder.state_dict().values(), given.state_dict().values()):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling_is_passed_on_where_it_is_taken(pooling):
    x = torch.randn(4, 3, 20)
    encoder = make_encoder(Pooled, 3, 20).eval()
    assert torch.equal(encoder(x, pooling), encoder.network(x, pooling))
    deaf = make_encoder(Convolutions, 3, 20).eval()
    assert torch.equal(deaf(x, pooling), deaf.network(x))


@pytest.mark.parametrize(
    "network, given", [(Sequence, r"shape \(2, 6, 18\)"), (Pair, "tuple")]
)
def test_what_is_no_embedding_is_refused(network, given):
    message = f"^{network.__name__}.forward must embed .* 2 windows gave {given}"
    with pytest.raises(ValueError, match=message):
        make_encoder(network, 3, 20)

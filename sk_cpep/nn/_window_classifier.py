"""A classifier of windows: an encoder and one linear layer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._transformer import init_weights
from ._window_encoder import WindowEncoder


@dataclass(frozen=True)
class WindowClassifierConfig:
    """Choices of a :class:`WindowClassifier`.

    Parameters
    ----------
    n_classes : int, default=2
        Number of logits.

    pooling : {"cls", "mean"}, default="cls"
        What of the tokens is the embedding of a window.
    """

    n_classes: int = 2
    pooling: str = "cls"


class WindowClassifier(nn.Module):
    """``head(E(x))``: the logits of what an encoder makes of windows.

    Parameters
    ----------
    encoder : WindowEncoder
        A module, of any kind.

    config : WindowClassifierConfig, default=WindowClassifierConfig()
    """

    def __init__(
        self, encoder: WindowEncoder, config: WindowClassifierConfig | None = None
    ) -> None:
        super().__init__()
        config = config or WindowClassifierConfig()
        self.config: WindowClassifierConfig = config
        self.encoder = encoder
        self.head: nn.Linear = nn.Linear(encoder.d_model, config.n_classes)
        self.head.apply(init_weights)

    def encode(self, x: Tensor) -> Tensor:
        """``E(x)``, before the head: (B, C, T) to (B, D)."""
        return self.encoder(x, self.config.pooling)

    def classify(self, z: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Logits of embeddings, computed in a type: (B, D) to (B, n_classes)."""
        with torch.autocast(z.device.type, enabled=False):
            weight, bias = self.head.weight.to(dtype), self.head.bias.to(dtype)
            return F.linear(z.to(dtype), weight, bias).float()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of windows: (B, C, T) to (B, n_classes)."""
        return self.classify(self.encode(x))

    def logits(self, x: Tensor) -> Tensor:
        """The same, to predict with.

        The head is computed in float64, where the device has it: a product in float32
        rounds a row by how many others there are.
        """
        double = torch.float32 if x.device.type == "mps" else torch.float64
        return self.classify(self.encode(x), double)

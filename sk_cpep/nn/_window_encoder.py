"""What the alignment needs of an encoder, and networks of one's own as such encoders."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class WindowEncoder(Protocol):
    """A module that embeds windows: all that :class:`PoseEMGAlignment` needs of it.

    A module may have an attribute ``half_weights = True`` besides: its weights may
    then be bfloat16 while training in that precision, so that it has to convert the
    windows to the type of its weights. Others train by autocast.

    Attributes
    ----------
    d_model : int
        Width of the embedding.
    """

    d_model: int

    def __call__(self, x: Tensor, pooling: str = "cls") -> Tensor:
        """Call :meth:`forward`, as modules do."""
        ...

    def forward(self, x: Tensor, pooling: str = "cls") -> Tensor:
        """Embed windows.

        Parameters
        ----------
        x : tensor of shape (B, C, T)

        pooling : {"cls", "mean"}, default="cls"
            Which of its tokens the embedding is made of, if it has any.

        Returns
        -------
        embedding : tensor of shape (B, d_model)
        """
        ...


class NetworkEncoder(nn.Module):
    """A network of one's own as a :class:`WindowEncoder`.

    Parameters
    ----------
    network : torch.nn.Module
        Called with windows (B, C, T), and with `pooling` if its ``forward`` has a
        parameter of this name.

    d_model : int
        Width of what it returns.
    """

    def __init__(self, network: nn.Module, d_model: int) -> None:
        super().__init__()
        self.network = network
        self.d_model = d_model
        self.half_weights: bool = bool(getattr(network, "half_weights", False))
        parameters = inspect.signature(network.forward).parameters
        self.takes_pooling: bool = "pooling" in parameters

    @classmethod
    def of(cls, network: nn.Module, n_channels: int, n_times: int) -> "NetworkEncoder":
        """Find how wide the embedding of a network is: it embeds two windows of zeros.

        Raises
        ------
        ValueError
            If it does not give one embedding a window.
        """
        encoder = cls(network, 0)
        network.eval()
        with torch.no_grad():
            found = encoder(torch.zeros(2, n_channels, n_times, dtype=torch.float32))
        network.train()
        shape = tuple(getattr(found, "shape", ()))
        if len(shape) != 2 or shape[0] != 2:
            name = type(network).__name__
            given = f"shape {shape}" if shape else type(found).__name__
            raise ValueError(
                f"{name}.forward must embed windows of shape (n_windows, {n_channels}, "
                f"{n_times}) as a tensor of shape (n_windows, d_model), but 2 windows "
                f"gave {given}."
            )
        encoder.d_model = shape[1]
        return encoder

    def forward(self, x: Tensor, pooling: str = "cls") -> Tensor:
        """Embed windows (B, C, T) to (B, d_model)."""
        chosen = {"pooling": pooling} if self.takes_pooling else {}
        embedding: Tensor = self.network(x, **chosen)
        return embedding


def make_encoder(
    network: Callable[..., nn.Module],
    n_channels: int,
    n_times: int,
    /,
    **arguments: Any,
) -> NetworkEncoder:
    """Make an encoder of a class of one's own.

    Parameters
    ----------
    network : class of a torch.nn.Module
        Made with `n_channels`, `n_times` and the arguments.

    n_channels, n_times : int
        Sizes of the windows.

    **arguments
        What else the class is made with.

    Returns
    -------
    encoder : NetworkEncoder

    Raises
    ------
    ValueError
        If it does not give one embedding a window.
    """
    made = network(n_channels=n_channels, n_times=n_times, **arguments)
    return NetworkEncoder.of(made, n_channels, n_times)

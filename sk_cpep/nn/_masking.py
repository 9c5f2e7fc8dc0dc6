"""Which tokens of each window are hidden from the encoder."""

import torch
from torch import Tensor


def random_mask(
    n_windows: int, n_tokens: int, n_masked: int, generator: torch.Generator
) -> Tensor:
    """Hide tokens as :func:`random_split` does, on the CPU.

    Returns
    -------
    mask : bool tensor of shape (B, K)
        True where the token is hidden.
    """
    _, hidden = random_split(n_windows, n_tokens, n_masked, generator=generator)
    mask = torch.zeros(n_windows, n_tokens, dtype=torch.bool, device="cpu")
    return mask.scatter_(1, hidden, True)


def random_split(
    n_windows: int,
    n_tokens: int,
    n_masked: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Positions of the tokens of every window that are kept, and that are hidden.

    Parameters
    ----------
    n_windows, n_tokens, n_masked : int
        ``B``, ``K`` and the number of hidden tokens a window.

    generator : torch.Generator, default=None
        Source of randomness, on `device`. None is torch's global one.

    device : torch.device, default="cpu"
        Where the positions are drawn.

    Returns
    -------
    kept : int64 tensor of shape (B, K - n_masked)

    hidden : int64 tensor of shape (B, n_masked)
    """
    noise = torch.rand(
        n_windows, n_tokens, generator=generator, dtype=torch.float32, device=device
    )
    order = noise.argsort(dim=1)  # (B, K)
    return order[:, n_masked:], order[:, :n_masked]


def kept_indices(mask: Tensor, n_masked: int) -> Tensor:
    """Positions of the tokens that the encoder sees, in order of time.

    Parameters
    ----------
    mask : bool tensor of shape (B, K)
        True where the token is hidden; `n_masked` True in every row.

    n_masked : int
        Number of hidden tokens a window, known on the host so that the shape of
        the result does not have to be read back from the device.

    Returns
    -------
    kept : int64 tensor of shape (B, K - n_masked)
    """
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)  # kept first
    return order[:, : mask.shape[1] - n_masked]


def gather_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """Select tokens by position.

    Parameters
    ----------
    tokens : tensor of shape (B, K, D)

    indices : int64 tensor of shape (B, N)

    Returns
    -------
    selected : tensor of shape (B, N, D)
    """
    return tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))

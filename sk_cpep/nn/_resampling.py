"""Predictions at one rate to poses at another, by linear interpolation."""

import torch
from torch import Tensor


def pose_positions(
    n_steps: int,
    n_times: int,
    n_pose_times: int,
    start: int = 0,
    stop: int | None = None,
) -> Tensor:
    """Where the samples of a pose lie among steps that share a window evenly.

    Steps and samples stand for intervals of equal length, and lie in their middles.

    Parameters
    ----------
    n_steps : int
        Steps between the samples `start` and `stop` of the EMG.

    n_times, n_pose_times : int
        Samples of EMG and of pose in a window; both cover the same time.

    start, stop : int, default=0 and n_times
        Samples of the EMG.

    Returns
    -------
    positions : float64 tensor of shape (n_pose_times,)
        In steps; below 0 before the middle of the first.
    """
    stop = n_times if stop is None else stop
    times = (torch.arange(n_pose_times, dtype=torch.float64) + 0.5) * n_times
    return (times / n_pose_times - start) * (n_steps / (stop - start)) - 0.5


def first_pose(left_context: int, n_times: int, n_pose_times: int) -> int:
    """The first sample of the pose after `left_context` samples of the EMG.

    The last sample is always one of them: a pose of a single sample stands for the
    whole window.
    """
    return min(-(-left_context * n_pose_times // n_times), n_pose_times - 1)


class Interpolation(torch.nn.Module):
    """Values at given positions between steps; the outermost are held beyond.

    Parameters
    ----------
    positions : tensor of shape (n,)
        In steps.

    n_steps : int
    """

    lower: Tensor
    upper: Tensor
    weight: Tensor

    def __init__(self, positions: Tensor, n_steps: int) -> None:
        super().__init__()
        positions = positions.clamp(0, n_steps - 1)
        lower = positions.floor().clamp(max=max(n_steps - 2, 0))
        upper = (lower + 1).clamp(max=n_steps - 1)
        for name, value in (
            ("lower", lower.long()),
            ("upper", upper.long()),
            ("weight", (positions - lower).float()),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate.

        Parameters
        ----------
        x : tensor of shape (..., n_steps)

        Returns
        -------
        y : tensor of shape (..., n)
        """
        lower = x.index_select(-1, self.lower)
        return torch.lerp(lower, x.index_select(-1, self.upper), self.weight)

"""What all loops of the benchmark have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ..timing import seconds_of


@dataclass(frozen=True)
class Run:
    """How much is trained on what.

    Parameters
    ----------
    device : torch.device

    n_windows : int

    batch_size : int

    epochs : int
        That are timed, after one that is not.
    """

    device: torch.device
    n_windows: int
    batch_size: int
    epochs: int

    def __post_init__(self):
        if self.n_windows < 1 or self.n_windows % self.batch_size:
            raise ValueError(
                f"{self.n_windows} windows are no whole number of batches of "
                f"{self.batch_size}. Give --windows as a multiple of --batch-size."
            )

    @property
    def work(self):
        """Windows that the timed epochs train on."""
        return self.n_windows * self.epochs


class Loop(ABC):
    """A network and its data, ready to train; called, it says how long `run` takes."""

    def __init__(self, run):
        self.run = run

    @abstractmethod
    def epoch(self):
        """Train for an epoch; its mean loss."""

    def __call__(self):
        """Seconds of the epochs."""
        return seconds_of(self._epochs, self.run.device)

    def _epochs(self):
        for _ in range(self.run.epochs):
            self.epoch()

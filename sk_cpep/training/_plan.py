"""How a network is trained: what estimators choose, and what follows from it."""

from dataclasses import dataclass

import torch

from ._distributed import SingleProcess


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained; the defaults are the paper's (section 4.2).

    `restart_period` (epochs from one warm restart of the learning rate to the next)
    is not given there; None is `max_epochs`. `optimizer` is "adamw" or "adam",
    `schedule` "cosine" (with warm restarts) or "constant"; `gradient_clip` is the
    largest norm of the gradient, None does not clip; `compile` compiles the step.
    `processes` train together, `batch_size` windows a step among them.
    """

    lr: float = 1e-4
    weight_decay: float = 1e-5
    optimizer: str = "adamw"
    schedule: str = "cosine"
    gradient_clip: float | None = None
    batch_size: int = 256
    max_epochs: int = 100
    restart_period: int | None = None
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4
    min_batch: int = 1
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    compile: bool = False
    processes: SingleProcess = SingleProcess()
    verbose: int = 0

    @property
    def smallest_batch(self) -> int:
        """Windows of the smallest batch that is trained on: at least one a process."""
        return max(self.min_batch, self.processes.size)

    @property
    def uses_graph(self) -> bool:
        """Whether whole steps are replayed as a CUDA graph, by one process alone."""
        on_gpu = self.device.type == "cuda"
        return self.compile and on_gpu and self.processes.size == 1

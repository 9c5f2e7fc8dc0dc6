"""Several processes that train one network, each on its share of every batch."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ._callbacks import StopTraining, is_stop

T = TypeVar("T")


class LaunchError(RuntimeError):
    """Another of the processes that were launched together failed."""


class SingleProcess:
    """A process that trains on its own: whatever would be shared, it has.

    Parameters
    ----------
    device : torch.device, default=None
        Where it computes. None is the CPU.

    Attributes
    ----------
    rank, size : int
        0 of 1.

    is_main : bool
        True: it writes files and draws progress bars.
    """

    rank = 0
    size = 1

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = torch.device("cpu") if device is None else device

    @property
    def is_main(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @property
    def shard(self) -> tuple[int, int]:
        """Which part of every batch is its own: ``(rank, size)``."""
        return self.rank, self.size

    def own_seed(self, seed: int, *more: int) -> int:
        """A seed of this process's own; that of the first is the one given.

        Parameters
        ----------
        seed, *more : int
            The same in all processes.
        """
        if self.is_main:
            return seed
        entropy = np.random.SeedSequence((seed, self.rank, *more))
        return int(entropy.generate_state(1)[0])

    def broadcast(self, value: T) -> T:
        """What the first process gave, any object that can be pickled."""
        return value

    def gather(self, value: T) -> list[T]:
        """What every process gave, any object that can be pickled, as a list."""
        return [value]

    def close(self) -> None:
        """Leave the group, when nothing is left to do together."""

    def mean(self, value: float, weight: float) -> float:
        """Weighted mean of what the processes gave."""
        return value

    def same_generator(self, rng: np.random.RandomState) -> np.random.RandomState:
        """A RandomState that draws what the first process's draws.

        Parameters
        ----------
        rng : numpy.random.RandomState
        """
        return rng

    def share_weights(self, module: nn.Module) -> None:
        """Give all processes the weights and buffers of the first."""

    def average_gradients(
        self, parameters: Iterable[nn.Parameter], n_windows: int
    ) -> None:
        """Put gradients of the whole batch in place of those of each share.

        Parameters
        ----------
        parameters : iterable of torch.nn.Parameter

        n_windows : int
            Windows in this process's share; its weight.
        """

    def whole_batch(self, batch_size: int) -> "AllGather | None":
        """The all-gather that gives a loss the embeddings of a whole batch.

        Parameters
        ----------
        batch_size : int
            Most windows of a whole batch.

        Returns
        -------
        gather : AllGather or None
            None where one process has all of it.
        """
        return None

    def check_same(self, task: str, facts: dict[str, Any]) -> None:
        """Refuse to train with processes that are about to do something else.

        Parameters
        ----------
        task : str
            What is about to be done, as the error calls it.

        facts : dict
            What must be the same, by name: values that can be pickled and compared.

        Raises
        ------
        ValueError
            In all processes, naming what differs.
        """

    @contextmanager
    def together(self) -> Iterator[None]:
        """Context that all processes leave in the same way.

        Raises
        ------
        LaunchError
            Where this process was fine and another failed.

        StopTraining
            Where this process was fine and a callback stopped another.
        """
        yield


class Processes(SingleProcess):
    """One of several processes that train a network together.

    A batch is shared by all, and its loss is the mean over its windows: gradients and
    losses of the shares are averaged, each as heavy as it has windows.

    Parameters
    ----------
    device : torch.device
        Where this process computes.

    Raises
    ------
    LaunchError
        In what takes all of them, if another process failed, ended or is late by more
        than the timeout of the group (15 minutes, if it was not set up before).
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._medium = communication_device(device)

    def broadcast(self, value: T) -> T:
        values = [value]
        with self._others():
            dist.broadcast_object_list(values, src=0, device=self._medium)
        return values[0]

    def gather(self, value: T) -> list[T]:
        values = [value] * self.size
        with self._others():
            dist.all_gather_object(values, value)
        return values

    def close(self) -> None:
        self.gather(None)
        dist.destroy_process_group()

    def mean(self, value: float, weight: float) -> float:
        pair = torch.tensor([value * weight, weight], dtype=torch.float64)
        total, weights = self.all_reduce(pair).tolist()
        return total / weights

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum of a tensor over the processes; may overwrite it."""
        medium = tensor.contiguous().to(self._medium)
        with self._others():
            dist.all_reduce(medium)
        return medium.to(tensor.device)

    def all_gather_rows(self, rows: Tensor) -> Tensor:
        """Rows of all processes (size * M, D), from M rows of each (M, D)."""
        medium = rows.contiguous().to(self._medium)
        everyone = medium.new_empty(self.size * len(rows), rows.shape[1])
        with self._others():
            dist.all_gather(list(everyone.chunk(self.size)), medium)
        return everyone.to(rows.device)

    def same_generator(self, rng: np.random.RandomState) -> np.random.RandomState:
        state = self.broadcast(rng.get_state())
        if self.is_main:
            return rng
        if rng is np.random.mtrand._rand:  # numpy's own is not ours to change
            rng = np.random.RandomState()
        rng.set_state(state)
        return rng

    def share_weights(self, module: nn.Module) -> None:
        for weight in (*module.parameters(), *module.buffers()):
            medium = weight.detach().contiguous().to(self._medium)
            with self._others():
                dist.broadcast(medium, src=0)
            if not self.is_main:
                weight.detach().copy_(medium)

    def average_gradients(
        self, parameters: Iterable[nn.Parameter], n_windows: int
    ) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        one = gradients[0].new_ones(1)
        parts = [gradient.flatten() for gradient in gradients]
        total = self.all_reduce(torch.cat([*parts, one]) * n_windows)
        means = torch.split(total[:-1] / total[-1], [len(part) for part in parts])
        torch._foreach_copy_(
            gradients, [m.view_as(g) for m, g in zip(means, gradients)]
        )

    def whole_batch(self, batch_size: int) -> "AllGather":
        return AllGather(self, -(-batch_size // self.size))

    def check_same(self, task: str, facts: dict[str, Any]) -> None:
        tasks, everyone = zip(*self.gather((task, facts)))
        differing = [f"in {task}, {difference}" for difference in differences(everyone)]
        if len(set(tasks)) > 1:
            differing = [f"the task is {list_by_rank(tasks)}"]
        if differing:
            raise ValueError(
                f"The {self.size} processes of this launch must train the same, but "
                f"{'; '.join(differing)}. Give all of them the same parameters and all "
                "of the data: each takes its share by itself."
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        error: BaseException | None = None
        try:
            yield
        except (Exception, KeyboardInterrupt) as caught:
            if isinstance(caught, KeyboardInterrupt) and not is_stop(caught):
                raise
            error = caught
        stopped = error is not None and is_stop(error)
        outcomes = self._outcomes(error, stopped)
        if error is not None and not stopped:
            raise error
        failed = [
            f"process {rank}: {outcome}"
            for rank, outcome in enumerate(outcomes)
            if outcome not in (None, "stop")
        ]
        if failed:
            raise LaunchError(
                f"Process {self.rank} stopped because another of the {self.size} of "
                f"this launch failed. {'; '.join(failed)}"
            )
        if error is not None:
            raise error
        if "stop" in outcomes:
            raise StopTraining

    def _outcomes(self, error: BaseException | None, stopped: bool) -> list[str | None]:
        """How it ended in each process: None, "stop", or the error in words."""
        own = None if error is None else f"{type(error).__name__}: {error}"
        try:
            return self.gather("stop" if stopped else own)
        except LaunchError:
            if error is None:
                raise
            return []  # the others are gone; what went wrong here is the news

    @contextmanager
    def _others(self) -> Iterator[None]:
        """Say what it means when the others do not answer."""
        try:
            yield
        except RuntimeError as error:
            raise LaunchError(
                f"Process {self.rank} of the {self.size} of this launch was left "
                "alone: another one failed or ended, and says why itself, or took "
                "longer than the timeout of the group. All must fit the same "
                f"estimators in the same order. ({error})"
            ) from error


class AllGather:
    """All-gathers the embeddings of a batch of which each process has a share.

    Shares are padded to blocks of one size, so that no process has to ask how long
    another's is: ``present`` says which rows are windows.

    Parameters
    ----------
    processes : Processes

    capacity : int
        Most windows of a share.
    """

    def __init__(self, processes: Processes, capacity: int) -> None:
        self.processes = processes
        self.capacity = capacity

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gather embeddings with their gradients.

        Parameters
        ----------
        u, v : tensors of shape (B, D)
            Of the windows in this process's share.

        Returns
        -------
        all_u, all_v : tensors of shape (N, D)
            Of all shares; some rows may be no windows.

        present : bool tensor of shape (N,)
            Which rows are windows.

        own : int tensor of shape (B,)
            Which rows are this process's.
        """
        n, d = u.shape
        block = torch.cat([u, v, u.new_ones(n, 1)], dim=1)  # (B, 2 D + 1)
        block = F.pad(block, (0, 0, 0, self.capacity - n))
        gather = _Gathered.apply
        everyone = gather(block, n, self.processes)  # type: ignore[no-untyped-call]
        all_u, all_v, present = everyone.split([d, d, 1], dim=1)
        own = self.processes.rank * self.capacity + torch.arange(n, device=u.device)
        return all_u, all_v, present.squeeze(1) > 0, own


class _Gathered(torch.autograd.Function):
    """Rows of all processes, whose gradient is that of the mean of their losses."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: int, processes: Processes) -> Tensor:
        ctx.weight, ctx.processes = weight, processes
        return processes.all_gather_rows(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = ctx.processes.all_reduce(gradient * ctx.weight) / ctx.weight
        own = total.chunk(ctx.processes.size)[ctx.processes.rank]
        return own, None, None


def communication_device(device: torch.device) -> torch.device:
    """Where tensors have to be for the process group to pass them on."""
    pairs = str(dist.get_backend_config()).split(",")
    backends = dict(pair.split(":") for pair in pairs)
    if backends.get(device.type) not in (None, "gloo"):
        return device
    if "cpu" in backends:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def differences(everyone: Sequence[dict[str, Any]]) -> list[str]:
    """What differs between the facts of the processes, dicts by name, in words."""
    names = dict.fromkeys(name for facts in everyone for name in facts)
    columns = {name: [facts.get(name) for facts in everyone] for name in names}
    return [
        f"{name} is {list_by_rank(values)}"
        for name, values in columns.items()
        if any(value != values[0] for value in values)
    ]


def list_by_rank(values: Sequence[Any]) -> str:
    """Values of the processes in words, the same ones named once."""
    shown = [str(value) for value in values]
    ranks = {text: [r for r, s in enumerate(shown) if s == text] for text in shown}
    return ", ".join(
        f"{text} in process {', '.join(map(str, where))}"
        for text, where in ranks.items()
    )

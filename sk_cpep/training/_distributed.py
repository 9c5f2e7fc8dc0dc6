"""Several processes that train one network, each on its share of every batch."""

import multiprocessing
import os
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional as F

TIMEOUT = timedelta(minutes=15)


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

    def __init__(self, device=None):
        self.device = torch.device("cpu") if device is None else device

    @property
    def is_main(self):
        return self.rank == 0

    @property
    def shard(self):
        """Which part of every batch is its own: ``(rank, size)``."""
        return self.rank, self.size

    def own_seed(self, seed, *more):
        """A seed of this process's own; that of the first is the one given.

        Parameters
        ----------
        seed, *more : int
            Alike in all processes.
        """
        if self.is_main:
            return seed
        entropy = np.random.SeedSequence((seed, self.rank, *more))
        return int(entropy.generate_state(1)[0])

    def broadcast(self, value):
        """What the first process gave, any object that can be pickled."""
        return value

    def gather(self, value):
        """What every process gave, any object that can be pickled, as a list."""
        return [value]

    def barrier(self):
        """Wait for the others."""

    def close(self):
        """Leave the group, when nothing is left to do together."""

    def mean(self, value, weight):
        """Weighted mean of what the processes gave."""
        return value

    def same_generator(self, rng):
        """A RandomState that draws what the first process's draws.

        Parameters
        ----------
        rng : numpy.random.RandomState
        """
        return rng

    def share_weights(self, module):
        """Give all processes the weights and buffers of the first."""

    def average_gradients(self, parameters, n_windows):
        """Gradients of the whole batch in place of those of each share.

        Parameters
        ----------
        parameters : iterable of torch.nn.Parameter

        n_windows : int
            Windows in this process's share; its weight.
        """

    def whole_batch(self, batch_size):
        """What :func:`~sk_cpep.nn.info_nce` gathers a batch of embeddings with.

        Parameters
        ----------
        batch_size : int
            Most windows of a whole batch.

        Returns
        -------
        gather : callable or None
        """
        return None

    def check_same(self, task, facts):
        """Refuse to go on with processes that are about to do something else.

        Parameters
        ----------
        task : str
            What is about to be done, as the error calls it.

        facts : dict
            What must be alike, by name: values that can be pickled and compared.
            Or a function that gives it, which a single process does not call.

        Raises
        ------
        ValueError
            In all processes, naming what differs.
        """

    @contextmanager
    def together(self, stops=lambda error: False, stop=None):
        """Context that all processes leave in the same way.

        Parameters
        ----------
        stops : callable, default=never
            Whether an exception asks all to stop, without being an error.

        stop : exception, default=None
            What the others raise then.

        Raises
        ------
        LaunchError
            Where this process was fine and another was not.
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

    def __init__(self, device):
        super().__init__(device)
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._medium = communication_device(device)

    def broadcast(self, value):
        values = [value]
        with self._others():
            dist.broadcast_object_list(values, src=0, device=self._medium)
        return values[0]

    def gather(self, value):
        values = [None] * self.size
        with self._others():
            dist.all_gather_object(values, value)
        return values

    def barrier(self):
        self.gather(None)

    def close(self):
        self.barrier()
        dist.destroy_process_group()

    def mean(self, value, weight):
        pair = torch.tensor([value * weight, weight], dtype=torch.float64)
        total, weights = self.sum(pair.to(self._medium)).tolist()
        return total / weights

    def sum(self, tensor):
        """Sum of a tensor over the processes; may overwrite it."""
        medium = tensor.contiguous().to(self._medium)
        with self._others():
            dist.all_reduce(medium)
        return medium.to(tensor.device)

    def gather_rows(self, rows):
        """Rows of all processes (size * M, D), from M rows of each (M, D)."""
        medium = rows.contiguous().to(self._medium)
        everyone = medium.new_empty(self.size * len(rows), rows.shape[1])
        with self._others():
            dist.all_gather(list(everyone.chunk(self.size)), medium)
        return everyone.to(rows.device)

    def same_generator(self, rng):
        state = self.broadcast(rng.get_state())
        if self.is_main:
            return rng
        if rng is np.random.mtrand._rand:  # numpy's own is not ours to change
            rng = np.random.RandomState()
        rng.set_state(state)
        return rng

    def share_weights(self, module):
        for weight in (*module.parameters(), *module.buffers()):
            medium = weight.detach().contiguous().to(self._medium)
            with self._others():
                dist.broadcast(medium, src=0)
            if not self.is_main:
                weight.detach().copy_(medium)

    def average_gradients(self, parameters, n_windows):
        gradients = [p.grad for p in parameters if p.grad is not None]
        one = gradients[0].new_ones(1)
        parts = [gradient.flatten() for gradient in gradients]
        total = self.sum(torch.cat([*parts, one]) * n_windows)
        means = (total[:-1] / total[-1]).split([len(part) for part in parts])
        torch._foreach_copy_(
            gradients, [m.view_as(g) for m, g in zip(means, gradients)]
        )

    def whole_batch(self, batch_size):
        return WholeBatch(self, -(-batch_size // self.size))

    def check_same(self, task, facts):
        facts = facts() if callable(facts) else facts
        tasks, everyone = zip(*self.gather((task, facts)))
        differing = [f"in {task}, {difference}" for difference in differences(everyone)]
        if len(set(tasks)) > 1:
            differing = [f"the task is {list_by_rank(tasks)}"]
        if differing:
            raise ValueError(
                f"The {self.size} processes of this launch must train alike, but "
                f"{'; '.join(differing)}. Give all of them the same parameters and all "
                "of the data: each takes its share by itself."
            )

    @contextmanager
    def together(self, stops=lambda error: False, stop=None):
        error = None
        try:
            yield
        except (Exception, KeyboardInterrupt) as caught:
            error = caught
        stopped = error is not None and stops(error)
        if isinstance(error, KeyboardInterrupt) and not stopped:
            raise error
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
        if stopped:
            raise error
        if "stop" in outcomes:
            raise stop

    def _outcomes(self, error, stopped):
        """How it ended in each process: None, "stop", or the error in words."""
        own = error and ("stop" if stopped else describe_error(error))
        try:
            return self.gather(own)
        except LaunchError:
            if error is None:
                raise
            return []  # the others are gone; what went wrong here is the news

    @contextmanager
    def _others(self):
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


class WholeBatch:
    """Gathers the embeddings of a batch of which each process has a share.

    Shares are gathered in blocks of one size, so that nobody has to ask how long each
    is: ``present`` says which rows are windows.

    Parameters
    ----------
    processes : Processes

    capacity : int
        Most windows of a share.
    """

    def __init__(self, processes, capacity):
        self.processes = processes
        self.capacity = capacity

    @torch.compiler.disable
    def __call__(self, u, v):
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
        everyone = _Gathered.apply(block, n, self.processes)
        all_u, all_v, present = everyone.split([d, d, 1], dim=1)
        own = self.processes.rank * self.capacity + torch.arange(n, device=u.device)
        return all_u, all_v, present.squeeze(1) > 0, own


class _Gathered(torch.autograd.Function):
    """Rows of all processes, whose gradient is that of the mean of their losses."""

    @staticmethod
    def forward(ctx, rows, weight, processes):
        ctx.weight, ctx.processes = weight, processes
        return processes.gather_rows(rows)

    @staticmethod
    def backward(ctx, gradient):
        total = ctx.processes.sum(gradient * ctx.weight) / ctx.weight
        own = total.chunk(ctx.processes.size)[ctx.processes.rank]
        return own, None, None


def resolve_processes(device):
    """The processes that train together, and the device of this one.

    A process group that there is already is taken as it is. Else, where the process
    was launched with others (``accelerate launch``, ``torchrun``), it is set up.

    Parameters
    ----------
    device : torch.device
        Without an index, ``cuda`` becomes this process's own GPU.

    Returns
    -------
    processes : SingleProcess or Processes

    Raises
    ------
    ImportError
        If it was launched with others, and accelerate is not installed.
    ValueError
        If the device cannot be shared.
    """
    if not is_launched():
        return SingleProcess(device)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"Processes cannot train together on device={device.type!r}: give "
            "device='cpu', or launch one process."
        )
    if not dist.is_initialized():
        set_up_group(device)
    device = own_device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL passes objects on
    return Processes(device)


def is_launched():
    """Whether this process is one of several that were launched together."""
    if not dist.is_available():
        return False
    if dist.is_initialized():
        return dist.get_world_size() > 1
    if is_joblib_worker():
        return False
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def is_joblib_worker():
    """Whether this process works for another one, whose environment it inherits."""
    return "loky" in type(multiprocessing.current_process()).__module__


def set_up_group(device):
    """Join the processes that were launched with this one."""
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError(
            f"This is one of {os.environ['WORLD_SIZE']} processes launched to train "
            "together, which takes accelerate: pip install 'sk_cpep[distributed]'. To "
            "train in each by itself, unset WORLD_SIZE."
        ) from error
    PartialState(cpu=device.type == "cpu", timeout=TIMEOUT)


def own_device(device):
    """The GPU of this process, for a device without an index."""
    if device.type != "cuda" or device.index is not None:
        return device
    if "LOCAL_RANK" not in os.environ:
        return torch.device("cuda", torch.cuda.current_device())
    local_rank = int(os.environ["LOCAL_RANK"])
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def communication_device(device):
    """Where tensors have to be for the process group to pass them on."""
    pairs = str(dist.get_backend_config()).split(",")
    backends = dict(pair.split(":") for pair in pairs)
    if backends.get(device.type) not in (None, "gloo"):
        return device
    if "cpu" in backends:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def differences(everyone):
    """What differs between the facts of the processes, dicts by name, in words."""
    names = dict.fromkeys(name for facts in everyone for name in facts)
    columns = {name: [facts.get(name) for facts in everyone] for name in names}
    return [
        f"{name} is {list_by_rank(values)}"
        for name, values in columns.items()
        if any(value != values[0] for value in values)
    ]


def list_by_rank(values):
    """Values of the processes in words, the same ones named once."""
    shown = [str(value) for value in values]
    ranks = {text: [r for r, s in enumerate(shown) if s == text] for text in shown}
    return ", ".join(
        f"{text} in process {', '.join(map(str, where))}"
        for text, where in ranks.items()
    )


def describe_error(error):
    """An exception in a line."""
    return f"{type(error).__name__}: {error}"

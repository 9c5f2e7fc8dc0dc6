"""Whole steps of training as a CUDA graph: one launch instead of hundreds."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ._step import Batch, TrainingStep

_WARM_UP = 3
Run: TypeAlias = Callable[[], Tensor]
Replay: TypeAlias = Callable[[], None]


class GraphedStep:
    """A step that is recorded once, and replayed from then on.

    The batches of the first steps are trained on as usual, on a stream of their own,
    as a recording needs it (CUDA graphs in PyTorch's documentation: whole-network
    capture); then the step is recorded on a batch that stays where it is, into which
    every further batch is copied. Batches that are not full are trained on without.

    Parameters
    ----------
    step : TrainingStep
        Its optimizer is capturable: the learning rate is a tensor.

    generator : torch.Generator
        Source of masks and augmentation, on the device.

    recorder : object, default=None
        Does what :class:`CudaRecorder` does, which None is.
    """

    def __init__(
        self,
        step: TrainingStep,
        generator: torch.Generator,
        recorder: "CudaRecorder | None" = None,
    ) -> None:
        self.step = step
        self.generator = generator
        self.recorder = recorder or CudaRecorder(generator)
        self._n_warm = 0
        self._recorded: tuple[Batch, Tensor, Replay] | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """Train on a batch; its loss before the step, on the device."""
        if not self.step.is_full(batch):
            return self.step(batch, self.generator)
        if self._n_warm < _WARM_UP:
            self._n_warm += 1
            return self.recorder.on_side_stream(
                lambda: self.step(batch, self.generator)
            )
        if self._recorded is None:
            self._recorded = self._record([x.clone() for x in batch])
        static_batch, loss, replay = self._recorded
        for static, x in zip(static_batch, batch):
            static.copy_(x, non_blocking=True)
        replay()
        return loss.clone()

    def _record(self, batch: Batch) -> tuple[Batch, Tensor, Replay]:
        """The batch that replays read, the loss that they write, and the replay."""
        self.step.zero_grad()
        return batch, *self.recorder.record(lambda: self.step(batch, self.generator))


class CudaRecorder:
    """Records what a function launches on a GPU.

    Parameters
    ----------
    generator : torch.Generator
        Of random numbers that the function draws; each replay draws new ones.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def on_side_stream(self, function: Run) -> Tensor:
        """Run a function on a stream other than the default one."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            result = function()
        torch.cuda.current_stream().wait_stream(stream)
        return result

    def record(self, function: Run) -> tuple[Tensor, Replay]:
        """Record a function without running it; its result, and how to run it."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        # The thread that reads the next batch must not be recorded.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = function()
        return result, graph.replay

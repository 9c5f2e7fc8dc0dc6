"""Whole steps of training as a CUDA graph: one launch instead of hundreds."""

import torch

_WARM_UP = 3


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
        Has ``on_side_stream(function)`` and ``record(function)``, which returns
        what the function gave and a function that replays it. None is CUDA's.
    """

    def __init__(self, step, generator, recorder=None):
        self.step = step
        self.generator = generator
        self.recorder = CudaRecorder(generator) if recorder is None else recorder
        self._n_warm = 0
        self._batch = self._loss = self._replay = None

    def __call__(self, batch):
        """Train on a batch; its loss before the step, on the device."""
        if not self.step.is_full(batch):
            return self.step(batch, self.generator)
        if self._n_warm < _WARM_UP:
            self._n_warm += 1
            return self.recorder.on_side_stream(
                lambda: self.step(batch, self.generator)
            )
        if self._replay is None:
            self._batch = [x.clone() for x in batch]
            self.step.forget_gradients()
            self._loss, self._replay = self.recorder.record(
                lambda: self.step(self._batch, self.generator)
            )
        for static, x in zip(self._batch, batch):
            static.copy_(x, non_blocking=True)
        self._replay()
        return self._loss.clone()


class CudaRecorder:
    """Records what a function launches on a GPU.

    Parameters
    ----------
    generator : torch.Generator
        Of random numbers that the function draws; each replay draws new ones.
    """

    def __init__(self, generator):
        self.generator = generator

    def on_side_stream(self, function):
        """Run a function on a stream other than the default one."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            result = function()
        torch.cuda.current_stream().wait_stream(stream)
        return result

    def record(self, function):
        """Record a function without running it; its result, and how to run it."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        # The thread that reads the next batch goes on with what is not recorded.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = function()
        return result, graph.replay

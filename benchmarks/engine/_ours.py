"""The package's own training: by the estimators, and by its step in a bare loop."""

from dataclasses import dataclass
from functools import partial

import torch
from sklearn.frozen import FrozenEstimator
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from sk_cpep import CPEP, MAE
from sk_cpep.nn import Augmentation, MAEConfig, MaskedAutoencoder
from sk_cpep.training import GraphedStep, Reconstruction, TrainingStep

from ._loop import Loop


@dataclass(frozen=True)
class Mode:
    """In which precision, and whether compiled."""

    precision: str
    compile: bool = False

    @property
    def dtype(self):
        return getattr(torch, self.precision)


MODES = {
    "float32": Mode("float32"),
    "bfloat16": Mode("bfloat16"),
    "float32-compiled": Mode("float32", compile=True),
    "bfloat16-compiled": Mode("bfloat16", compile=True),
}


def training_parameters(mode, run):
    """The parameters that estimators share: an epoch to warm up, then those timed."""
    return {
        "batch_size": run.batch_size,
        "max_epochs": 1 + run.epochs,
        "device": str(run.device),
        "precision": mode.precision,
        "compile": mode.compile,
        "random_state": 0,
    }


def warm_seconds(history):
    """Seconds of all epochs but the first."""
    return sum(epoch["seconds"] for epoch in history[1:])


def fit_mae(X, mode, run, **sizes):
    """Seconds of the epochs of ``MAE.fit``, the first left out."""
    mae = MAE(**sizes, **training_parameters(mode, run)).fit(X)
    return warm_seconds(mae.history_)


def fit_alignment(X, P, encoders, mode, run):
    """Seconds of the epochs of the alignment of ``CPEP.fit``, the first left out."""
    emg, pose = (FrozenEstimator(mae) for mae in encoders)
    cpep = CPEP(emg, pose, **training_parameters(mode, run)).fit(X, P)
    return warm_seconds(cpep.history_["alignment"])


def pretrained(X, run, patch_length):
    """An encoder to start the alignment from, hardly trained."""
    parameters = training_parameters(MODES["float32"], run) | {"max_epochs": 1}
    return MAE(patch_length, **parameters).fit(X[: run.batch_size])


class BareLoop(Loop):
    """The step of ``MAE.fit`` over its batches, and nothing around it.

    Parameters
    ----------
    X : float32 ndarray of shape (n, C, T)

    mode : Mode

    run : Run

    **sizes
        Of the network, where they are not the paper's.
    """

    def __init__(self, X, mode, run, **sizes):
        super().__init__(run)
        torch.manual_seed(0)
        self.windows = on_device(X, mode, run.device)
        network = MaskedAutoencoder(MAEConfig(*X.shape[1:], **sizes))
        module = Reconstruction(network, Augmentation()).to(run.device)
        graph = mode.compile and run.device.type == "cuda"
        optimizer = torch.optim.AdamW(
            module.parameters(),
            lr=torch.tensor(1e-4, device=run.device) if graph else 1e-4,
            weight_decay=1e-5,
            fused=True,
            capturable=graph,
        )
        n_steps = (1 + run.epochs) * len(X) // run.batch_size
        self.schedule = CosineAnnealingWarmRestarts(optimizer, T_0=n_steps)
        generator = torch.Generator(run.device).manual_seed(0)
        step = TrainingStep(
            module,
            optimizer,
            device=run.device,
            dtype=mode.dtype,
            compile=mode.compile,
        )
        self.train_on = partial(step, generator=generator)
        if graph:
            self.train_on = GraphedStep(step, generator)

    def epoch(self):
        """Train for an epoch; its mean loss, read back once as in a fit."""
        losses = []
        order = torch.randperm(len(self.windows)).to(self.run.device)
        for rows in order.split(self.run.batch_size):
            losses.append(self.train_on([self.windows[rows]]))
            self.schedule.step()
        return torch.stack(losses).mean().item()


def on_device(X, mode, device):
    """Windows where a fit keeps them, and in the precision that it keeps them in."""
    windows = torch.from_numpy(X).to(device)
    if device.type == "cuda" and mode.dtype == torch.bfloat16:
        return windows.half()
    return windows

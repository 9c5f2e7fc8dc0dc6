"""Whether a network learns the same in every precision."""

import numpy as np
import torch
from skorch.callbacks import Callback

from sk_cpep import MAE

from ._ours import MODES

SPAN = 20


class Watch(Callback):
    """Keep the loss of every step, and the types of what the optimizer keeps."""

    def on_train_begin(self, net, **kwargs):
        self.losses_ = []

    def on_batch_end(self, net, loss, training, **kwargs):
        if training:
            self.losses_.append(loss.detach().clone())

    def on_train_end(self, net, **kwargs):
        kept = [x for state in net.optimizer_.state.values() for x in state.values()]
        kept += list(net.module_.parameters())
        self.types_ = {x.dtype for x in kept if isinstance(x, torch.Tensor)}

    @property
    def curve(self):
        """Losses of all steps, float64 ndarray of shape (n_steps,)."""
        return torch.stack(self.losses_).cpu().double().numpy()


def smooth_windows(n_windows, n_channels=16, n_times=4000, seed=0):
    """Windows that are learned within some hundreds of steps.

    Each channel mixes eight oscillations of 0.5 to 5 Hz (at 2 kHz), in all windows the
    same but for their strength, and there is a tenth of noise; about unit variance.
    """
    rng = np.random.default_rng(seed)
    times = np.arange(n_times) / 2000
    frequencies = rng.uniform(0.5, 5, size=(8, 1))
    phases = rng.uniform(0, 2 * np.pi, size=(8, 1))
    sources = np.sin(2 * np.pi * frequencies * times + phases)  # (8, T)
    signal = rng.normal(scale=0.5, size=(n_channels, 8)) @ sources  # (C, T)
    strengths = rng.uniform(0.5, 1.5, size=(n_windows, 1, 1))
    noise = rng.normal(scale=0.1, size=(n_windows, n_channels, n_times))
    return (strengths * signal + noise).astype(np.float32)


def loss_curve(X, mode, run, n_steps):
    """Losses of so many steps of ``MAE.fit``, and the types of what learns."""
    watch = Watch()
    MAE(
        batch_size=run.batch_size,
        max_epochs=-(-n_steps // (len(X) // run.batch_size)),
        device=str(run.device),
        precision=mode.precision,
        compile=mode.compile,
        callbacks=[watch],
        random_state=0,
    ).fit(X)
    return watch.curve[:n_steps], watch.types_


def measure_curves(table, run, modes, n_steps):
    """Compare the losses of all modes with those in float32.

    Parameters
    ----------
    table : Table

    run : Run
        `n_windows` of them, `batch_size` a step.

    modes : list of str

    n_steps : int
    """
    X = smooth_windows(run.n_windows)
    curves, types = {}, set()
    for mode in dict.fromkeys(("float32", *modes)):
        curves[mode], found = loss_curve(X, MODES[mode], run, n_steps)
        types |= found
        print(f"  {mode}: loss {smooth(curves[mode])[-1]:.4f}", flush=True)
    reference = curves.pop("float32")
    table.figures |= {
        "loss, first and last": [smooth(reference)[0], smooth(reference)[-1]],
        "types of weights and optimizer": sorted(map(str, types)),
        "largest": {},
        "final": {},
    }
    for mode, curve in curves.items():
        largest, final = curve_differences(curve, reference)
        table.figures["largest"][mode], table.figures["final"][mode] = largest, final
        verdict = "within 1 %" if final < 0.01 else "not within 1 %"
        table.remark(
            f"{mode} / float32, means of {SPAN} steps: {verdict} after {n_steps} "
            f"steps ({final:.3%}), {largest:.3%} apart at most."
        )
    table.remark(
        f"Batches of {run.batch_size}; the loss in float32 fell from "
        f"{smooth(reference)[0]:.3f} to {smooth(reference)[-1]:.3f}. Weights that learn "
        f"and what the optimizer keeps are {', '.join(sorted(map(str, types)))}."
    )


def smooth(curve, span=SPAN):
    """Means of `span` steps in a row, of all of them if they are fewer."""
    span = min(span, len(curve))
    return np.convolve(curve, np.full(span, 1 / span), mode="valid")


def curve_differences(curve, reference):
    """How far two smoothed curves lie apart, relative to the second.

    Returns
    -------
    largest, final : float
    """
    a, b = smooth(curve), smooth(reference)
    apart = np.abs(a - b) / b
    return float(apart.max()), float(apart[-1])

"""What the processes of test_distributed.py do: each job, in every process.

``python distributed_jobs.py N FOLDER`` forks N processes, which do all jobs one after
another and leave what they came to in FOLDER.
"""

import contextlib
import io
import os
import pickle
import shutil
import socket
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch
from own_networks import LearnedMargin, Recurrent
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback
from small_objectives import SIZES, make_autoencoder, make_encoders, make_windows
from torch import nn

from sk_cpep import CPEP, MAE, EncoderClassifier, ModuleEncoder, NeuroPose, PoseT
from sk_cpep.nn import AlignmentConfig, Augmentation, PoseEMGAlignment
from sk_cpep.training import (
    Alignment,
    Reconstruction,
    SingleProcess,
    StopTraining,
    TrainingPlan,
    resolve_processes,
    seeded,
    train,
)

TINY = dict(**SIZES, device="cpu", precision="float32", batch_size=8, lr=1e-3)
N_WINDOWS = 21


def data(n=N_WINDOWS, seed=0):
    """EMG and pose windows; some of the poses are near duplicates."""
    X, P = make_windows(n, seed)
    P[1::3] = P[::3][: len(P[1::3])] + 0.01 * P[1::3]
    return X, P


def groups():
    return np.array(["a", "b", "c"])[np.arange(N_WINDOWS) % 3]


def learned(module, history):
    """What there is to compare of a fit."""
    weights = {k: v.detach().cpu().numpy() for k, v in module.state_dict().items()}
    losses = [
        [epoch[k] for k in ("train_loss", "valid_loss") if k in epoch]
        for epoch in history
    ]
    return {"weights": weights, "losses": np.array(losses)}


def fitted(estimator):
    history = estimator.history_
    if isinstance(history, dict):
        history = sum(history.values(), [])
    return learned(estimator.module_, history)


def make_plan(processes, **options):
    options = {"batch_size": 8, "max_epochs": 3, "lr": 1e-3} | options
    return TrainingPlan(processes=processes, **options)


ALIGNMENTS = {
    "plain": {},
    "learned poses": {"train_pose": True},
    "duplicates": {"duplicate_threshold": 0.5},
    "soft targets": {"target_temperature": 0.3},
    "both": {"duplicate_threshold": 0.5, "target_temperature": 0.3},
    "siglip": {"loss": "siglip"},
    "siglip without duplicates": {"loss": "siglip", "duplicate_threshold": 0.5},
    "own loss": {"loss": LearnedMargin},
    "own loss, learned poses": {"loss": LearnedMargin, "train_pose": True},
    "groups": {"groups": True},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3},
    "clipped": {"gradient_clip": 0.05},
}


def align(
    processes, *, train_pose=False, groups=False, differ=False, seed=0, **options
):
    """Train an alignment by the engine, without anything drawn at random."""
    names = ("duplicate_threshold", "target_temperature", "loss")
    chosen = {name: options.pop(name) for name in names if name in options}
    X, P = data()
    torch.manual_seed(processes.rank if differ else 0)
    config = AlignmentConfig(temperature=0.2, **chosen)
    network = PoseEMGAlignment(*make_encoders(), config)
    if not train_pose:
        with torch.no_grad():
            torch.manual_seed(0)
            P = (
                PoseEMGAlignment(*make_encoders())
                .embed_pose(torch.from_numpy(P))
                .numpy()
            )
    plan = make_plan(processes, min_batch=2, **options)
    objective = Alignment(
        network,
        poses_embedded=not train_pose,
        train_emg=True,
        gather=processes.whole_batch(plan.batch_size),
    )
    people = globals()["groups"]() if groups else None
    rng = np.random.RandomState(seed)
    return learned(network, train(objective, [X, P], plan, rng=rng, groups=people))


class RecordedDraws(Reconstruction):
    """Remembers which tokens were hidden."""

    def __init__(self, autoencoder):
        super().__init__(autoencoder, Augmentation())
        self.draws = []

    def draw(self, x, generator=None):
        drawn = super().draw(x, generator)
        self.draws.append([d.numpy().copy() for d in drawn])
        return drawn


class GivenDraws(Reconstruction):
    """Hides the tokens that it is told to."""

    def __init__(self, autoencoder, draws):
        super().__init__(autoencoder, Augmentation())
        self.draws = iter(draws)

    def draw(self, x, generator=None):
        drawn = [torch.from_numpy(d) for d in next(self.draws)]
        assert torch.equal(drawn[0], x)
        return drawn


def reconstruct(processes, make_objective, **options):
    torch.manual_seed(0)
    objective = make_objective(make_autoencoder())
    plan = make_plan(processes, **options)
    history = train(objective, data()[:1], plan, rng=np.random.RandomState(0))
    return objective, learned(objective.autoencoder, history)


def rebuild(processes, **options):
    objective, result = reconstruct(processes, RecordedDraws, **options)
    return result | {"draws": objective.draws}


def small_cpep(**options):
    options = {"channel_rotation": 0, "max_epochs": 3, "random_state": 0} | options
    mae = MAE(**TINY, max_epochs=2)
    training = {k: v for k, v in TINY.items() if k not in SIZES}
    return CPEP(mae, mae, **training, temperature=0.2, **options)


def cpep_without_pretraining(processes=None):
    options = dict(emg_init="random", pose_init="random", center_pose=True)
    return fitted(small_cpep(**options).fit(*data(), groups()))


def cpep_whole(processes=None, random_state=0):
    X, P = data()
    cpep = small_cpep(channel_rotation=1, random_state=random_state).fit(X, P)
    return fitted(cpep) | {"Z": cpep.transform(X)}


def own_parts(processes=None):
    """A network and a loss of the user's, batches of which are shared."""
    network = ModuleEncoder(Recurrent, random_state=0, device="cpu")
    options = dict(emg_encoder=network, loss=LearnedMargin, pose_init="random")
    return fitted(small_cpep().set_params(**options).fit(*data()))


def pose_regressor(processes=None):
    sizes = {k: v for k, v in TINY.items() if k != "n_decoder_layers"}
    model = PoseT(
        **sizes,
        channel_rotation=0,
        max_epochs=3,
        early_stopping=True,
        validation_fraction=0.3,
        random_state=0,
    )
    return fitted(model.fit(*data(), groups()))


def classifier(processes=None):
    training = {k: v for k, v in TINY.items() if k not in SIZES}
    model = EncoderClassifier(
        MAE(**TINY),
        **training,
        channel_rotation=0,
        class_weight={0: 1.0, 1: 5.0},
        max_epochs=3,
        early_stopping=True,
        validation_fraction=0.3,
        random_state=0,
    )
    X = data()[0]
    return fitted(model.fit(X, np.arange(len(X)) % 3 // 2, groups()))


def batch_norm(processes=None):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 4, 320)).astype(np.float32)
    P = rng.normal(size=(9, 3, 32)).astype(np.float32)
    options = dict(batch_size=8, max_epochs=1, early_stopping=False, random_state=0)
    model = NeuroPose(sfreq=200.0, device="cpu", precision="float32", **options)
    return fitted(model.fit(X, P))


def dropout(processes=None):
    return fitted(MAE(**TINY, dropout=0.5, max_epochs=2, random_state=0).fit(data()[0]))


class CountEpochs(Callback):
    observes_only = True

    def on_train_begin(self, net, **kwargs):
        self.n_ = 0

    def on_epoch_begin(self, net, **kwargs):
        self.n_ += 1


def resumed(processes):
    """Two epochs and two more, against four; and how many were trained then."""
    folder = processes.broadcast(tempfile.mkdtemp() if processes.is_main else None)
    mae = MAE(**TINY, dropout=0.5, restart_period=4, max_epochs=4, random_state=0)
    whole = fitted(mae.fit(data()[0]))
    mae.set_params(run_dir=folder, max_epochs=2).fit(data()[0])
    count = CountEpochs()
    mae.set_params(max_epochs=4, callbacks=[count]).fit(data()[0])
    processes.gather(None)
    if processes.is_main:
        shutil.rmtree(folder)
    return whole, fitted(mae), count.n_


def unseeded(processes):
    """As `random_state`: numpy's generator, and one that differs by process."""
    np.random.seed(processes.rank)
    others = np.random.RandomState(7)
    others.normal(size=processes.rank)
    results = [cpep_whole(random_state=None), cpep_whole(random_state=others)]
    return results, np.random.normal(), others.normal()


def progress(processes):
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        small_cpep(verbose=1).fit(*data())
    return shown.getvalue()


class AtEpoch(Callback):
    """Raises after an epoch, in one process."""

    def __init__(self, error, rank, here):
        self.error, self.rank, self.here = error, rank, here

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2 and self.rank == self.here:
            raise self.error


def stop_in_one(processes):
    stop = AtEpoch(StopTraining(), 1, processes.rank)
    mae = MAE(**TINY, max_epochs=5, callbacks=[stop], random_state=0)
    return fitted(mae.fit(data()[0]))


def callback_of_one(processes):
    """A callback that acts, in the first process alone, ends the alignment in all."""
    own = [AtEpoch(StopTraining(), 0, 0)] if processes.is_main else []
    cpep = small_cpep(callbacks=own, max_epochs=5).fit(*data())
    return fitted(cpep), cpep.n_iter_, cpep.fit_identity_


def error_of(function):
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def failure_in_one(processes):
    fails = AtEpoch(OSError("No space left on device"), 1, processes.rank)
    mae = MAE(**TINY, max_epochs=5, callbacks=[fails], random_state=0)
    return error_of(lambda: mae.fit(data()[0]))


def other_parameters(processes):
    mae = MAE(**TINY | {"lr": 1e-3 * (1 + processes.rank)}, random_state=0)
    return error_of(lambda: mae.fit(data()[0]))


def other_seed(processes):
    return error_of(lambda: small_cpep(random_state=processes.rank).fit(*data()))


def other_data(processes):
    X, P = data(seed=processes.rank)
    return error_of(lambda: small_cpep().fit(X, P))


def own_part_of_the_data(processes):
    X = data()[0][processes.rank :]
    return error_of(lambda: MAE(**TINY, max_epochs=1).fit(X))


def other_start(processes):
    mae = MAE(**TINY, max_epochs=1, random_state=0).fit(data()[0])
    with torch.no_grad():
        mae.module_.encoder.embed.bias += processes.rank
    cpep = small_cpep().set_params(emg_encoder=FrozenEstimator(mae))
    return error_of(lambda: cpep.fit(*data()))


def other_estimator(processes):
    X, P = data()
    if processes.rank == 0:
        return error_of(lambda: small_cpep().fit(X, P))
    return error_of(lambda: MAE(**TINY).fit(X))


def too_small_batches(processes):
    mae = MAE(**TINY | {"batch_size": processes.size - 1})
    return error_of(lambda: mae.fit(data()[0]))


def global_generators(processes):
    """Whether a fit leaves torch's and numpy's generators alone."""
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    MAE(**TINY, max_epochs=1, dropout=0.5, random_state=0).fit(data()[0])
    return torch.equal(state, torch.get_rng_state()) and np.array_equal(
        numbers, np.random.get_state()[1]
    )


class Linear(nn.Module):
    """A loss with a gradient that can be computed by hand."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.unused = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return (self.weight * x).mean()


def gradients(processes):
    """Of a mean over shares of 3, 2, 2, ... numbers."""
    x = np.array_split(np.arange(2.0 * processes.size + 1), processes.size)
    x = torch.from_numpy(x[processes.rank])
    module = Linear().double()
    module(x).backward()
    processes.average_gradients(module.parameters(), len(x))
    return module.weight.grad.item(), module.unused.grad


def died(processes):
    """The last process ends in the middle of an epoch; the others are told."""
    X = data()[0]
    is_last = processes.rank == processes.size - 1

    class Breaks:
        shape = X.shape
        dtype = X.dtype
        n_read = 0

        def __getitem__(self, rows):
            self.n_read += 1
            if is_last and self.n_read > 4:
                raise OSError("Input/output error")
            return X[rows]

    windows = Breaks()
    mae = MAE(**TINY, max_epochs=3, random_state=0)
    return error_of(lambda: mae.fit(windows))


JOBS = {
    **{
        f"align {name}": lambda processes, options=options: align(processes, **options)
        for name, options in ALIGNMENTS.items()
    },
    "align from different weights": lambda processes: align(processes, differ=True),
    "rebuild": rebuild,
    **{
        job.__name__: job
        for job in (
            cpep_without_pretraining,
            cpep_whole,
            own_parts,
            pose_regressor,
            classifier,
            batch_norm,
            dropout,
            resumed,
            unseeded,
            progress,
            stop_in_one,
            callback_of_one,
            failure_in_one,
            other_parameters,
            other_seed,
            other_data,
            own_part_of_the_data,
            other_start,
            other_estimator,
            too_small_batches,
            global_generators,
            gradients,
            died,  # after it the others cannot be reached
        )
    },
}


def alone(name):
    """A job in a single process."""
    with seeded(0):
        return JOBS[name](SingleProcess())


def work(rank, size, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
    )
    processes = resolve_processes(torch.device("cpu"))
    results = {}
    for name, job in JOBS.items():
        try:
            with seeded(0):
                results[name] = job(processes)
        except Exception:
            results[name] = traceback.format_exc()
            break
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))


def main(size, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            try:
                work(rank, size, port, folder)
            finally:
                sys.stderr.flush()
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", DeprecationWarning)  # of what is imported later
    main(int(sys.argv[1]), Path(sys.argv[2]))

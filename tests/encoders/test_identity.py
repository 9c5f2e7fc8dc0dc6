"""What the identity of a fit is made of."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import (
    EarlyStopping,
    EpochScoring,
    Freezer,
    LRScheduler,
    PrintLog,
)

from sk_cpep import (
    CPEP,
    MAE,
    EMG2Pose,
    EncoderClassifier,
    NeuroPose,
    PoseT,
    VEMG2Pose,
)
from sk_cpep.encoders._identity import (
    INFLUENCE,
    callback_facts,
    differences,
    plain_value,
    source_digest,
    windows_fact,
)
from sk_cpep.fit import normalised
from sk_cpep.fit._windows import windows_of_file

ESTIMATORS = [MAE, CPEP, EncoderClassifier, PoseT, EMG2Pose, VEMG2Pose, NeuroPose]


class Lazy:
    """Windows that are read by the batch, of which nothing can be pickled."""

    def __init__(self, data):
        self.data = data
        self.shape = data.shape
        self.lock = threading.Lock()
        self.read = []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, rows):
        self.read.append(rows)
        return self.data[rows]


class OnDisk:
    """Lazy windows in a file, of which only the name is pickled."""

    def __init__(self, path, shape):
        self.path = path
        self.shape = shape

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return np.load(self.path)[rows]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_table_has_every_parameter(estimator):
    assert set(estimator().get_params(deep=False)) <= INFLUENCE.keys()


def test_the_table_has_no_other_parameter(small_mae):
    known = {name for kind in ESTIMATORS for name in kind().get_params(deep=False)}
    planned = {"loss", "tokenizer", "target", "module", "objective"}
    assert INFLUENCE.keys() - known <= planned


def test_every_influence_is_that_of_the_weights(small_mae, windows, weights_of):
    """Parameters that are said to change nothing change no bit; the others do."""
    others = {
        "verbose": 1,
        "device": "cpu",
        "lr": 2e-2,
        "mask_ratio": 0.3,
        "batch_size": 7,
        "dropout": 0.1,
        "max_epochs": 3,
        "random_state": 1,
        "precision": "bfloat16",
        "weight_decay": 0.5,
    }
    first = small_mae().fit(windows[0])
    for name, value in others.items():
        other = small_mae(**{name: value}).fit(windows[0])
        pairs = zip(
            weights_of(first.module_).values(), weights_of(other.module_).values()
        )
        same = all(np.array_equal(a, b) for a, b in pairs)
        assert (first.fit_identity_ == other.fit_identity_) == same, name
        assert same == (name in ("verbose", "device")), name


def test_facts_and_digest(small_mae, windows):
    X = windows[0]
    identity = small_mae().fit(X).fit_identity_
    facts = dict(identity.facts)
    content = hashlib.sha256(np.ascontiguousarray(X).tobytes()).hexdigest()[:16]
    assert facts["X"] == f"of shape (20, 4, 22), digest {content}"
    assert facts["estimator"] == "MAE"
    assert facts["random_state"] == 0
    assert facts["precision"] == "float32"
    text = json.dumps(facts, sort_keys=True).encode()
    assert identity.digest == hashlib.sha256(text).hexdigest()
    assert pickle.loads(pickle.dumps(identity)) == identity
    assert str(identity) == f"MAE {identity.digest[:16]}"


def test_lineage(small_mae, windows):
    def identity(**parameters):
        return small_mae(**parameters).fit(windows[0]).fit_identity_

    assert identity().lineage is None
    short, long = (identity(restart_period=2, max_epochs=n) for n in (1, 2))
    assert short.lineage == long.lineage
    assert short.digest != long.digest
    assert identity(restart_period=3).lineage != short.lineage


def test_differences_in_words(small_mae, windows):
    X = windows[0]
    first = small_mae().fit(X).fit_identity_.facts
    second = small_mae(mask_ratio=0.4, lr=np.float32(0.5)).fit(X[:18])
    words = differences(first, second.fit_identity_.facts)
    assert words[:2] == [
        "mask_ratio was 0.5, now 0.4",
        "lr was 0.01, now 0.5",
    ] or words[:2] == ["lr was 0.01, now 0.5", "mask_ratio was 0.5, now 0.4"]
    assert words[2].startswith("X was of shape (20, 4, 22), digest ")
    assert len(words) == 3
    assert differences(first, first) == []


def test_an_alignment_has_the_identities_of_its_encoders(small_cpep, windows):
    X, P = windows[:2]
    cpep = small_cpep().fit(X, P)
    facts = cpep.fit_identity_.facts
    assert facts["emg_encoder_identity"]["patch_length"] == 5
    assert facts["pose_encoder_identity"]["X"] == windows_fact(P)
    other = clone(cpep).set_params(emg_encoder__lr=0.5).fit(X, P).fit_identity_.facts
    assert {name for name in facts if facts[name] != other[name]} == {
        "emg_encoder_identity",
        "emg_encoder_weights",
    }


def changed(windows, *index):
    windows = windows.copy()
    windows[index] += np.float32(1e-3)
    return windows


def test_every_value_in_memory_counts(windows, monkeypatch):
    X = windows[0]
    first = windows_fact(X)
    assert windows_fact(np.asfortranarray(X.astype(np.float64))) == first
    for other in (X[::-1], X[:, ::-1], X[:19], changed(X, -1, -1, -1)):
        assert windows_fact(other) != first
    monkeypatch.setattr("sk_cpep.encoders._identity._BLOCK_BYTES", 3 * 4 * 4 * 22)
    assert windows_fact(X) == first
    for n in range(20):
        assert windows_fact(changed(X, n, 2, 3)) != first


def test_some_of_many_windows_that_are_read_count(windows):
    many = Lazy(np.repeat(windows[0], 50, axis=0))
    assert windows_fact(many).endswith("of 256 windows")
    (rows,) = many.read
    assert (rows[0], rows[-1]) == (0, 999)
    assert set(np.diff(rows)) == {3, 4}


def test_windows_of_which_nothing_can_be_pickled(windows, small_mae, tmp_path):
    X = Lazy(windows[0])
    mae = small_mae(run_dir=tmp_path).fit(X)
    assert small_mae().fit(windows[0]).fit_identity_ != mae.fit_identity_
    assert "X_source" not in mae.fit_identity_.facts


def as_memmap(folder):
    return np.load(folder / "X.npy", mmap_mode="r")


def as_own(folder):
    return OnDisk(folder / "X.npy", (20, 4, 22))


def as_file(folder):
    return windows_of_file(folder / "X.npy")


def as_nested(folder):
    return normalised(windows_of_file(folder / "X.npy"))


def replaced(path, content):
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


def written_in_place(path, content):
    with path.open("r+b") as file:
        file.write(content)


def copied_with_its_times(path, content):
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def facts_of(X):
    return windows_fact(X), source_digest(X)


@pytest.mark.parametrize("change", [replaced, written_in_place, copied_with_its_times])
@pytest.mark.parametrize("read", [as_memmap, as_own, as_file, as_nested])
def test_windows_in_files_that_change(read, change, windows, tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, windows[0])
    X = read(tmp_path)
    first = facts_of(X)
    assert facts_of(read(tmp_path)) == first
    if read is not as_memmap:  # whose pickle holds its values
        assert facts_of(pickle.loads(pickle.dumps(X))) == first
    other = windows[0].copy()
    other[7] *= -1
    buffer = io.BytesIO()
    np.save(buffer, other)
    del X
    change(path, buffer.getvalue())
    assert facts_of(read(tmp_path))[0] != first[0]


def test_groups_count_by_who_is_together(windows, small_cpep):
    X, P, _, users = windows

    def groups_fact(groups):
        return small_cpep().fit(X, P, groups=groups).fit_identity_.facts["groups"]

    first = groups_fact(users)
    assert groups_fact([f"person {n}" for n in users]) == first
    assert len({first, groups_fact(users[::-1] % 2), groups_fact(None)}) == 3


def test_callbacks_that_watch_do_not_count(small_mae, windows):
    class Own(PrintLog):
        observes_only = True

    watching = [PrintLog(), Own(), ("score", EpochScoring(lambda *args: 0.0))]
    assert callback_facts(watching) == []
    acting = Freezer("decoder*")
    assert (
        len(callback_facts([acting])) == len(callback_facts([("named", acting)])) == 1
    )
    assert len(callback_facts([*watching, acting])) == 2  # it may look at the score
    assert len(callback_facts([type("Own", (PrintLog,), {})])) == 1

    def identity(*callbacks):
        fitted = small_mae(max_epochs=1, callbacks=callbacks).fit(windows[0])
        return fitted.fit_identity_

    assert identity() == identity(PrintLog(sink=len))
    frozen = identity(Freezer("decoder*"))
    assert frozen == identity(Freezer("decoder*"))
    assert len({frozen.digest, identity().digest, identity(Freezer("en*")).digest}) == 3


def test_callbacks_are_known_by_what_they_were_made_with(small_mae, windows):
    """Not by what they have collected; a fit may be repeated."""
    stop = EarlyStopping("train_loss", patience=5, sink=len)
    schedule = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1)
    mae = small_mae(max_epochs=1, callbacks=[stop, schedule])
    first = mae.fit(windows[0]).fit_identity_
    assert mae.fit(windows[0]).fit_identity_ == first

    def scheduled(rate):
        policy = LRScheduler("LambdaLR", lr_lambda=lambda epoch: rate)
        return callback_facts([policy])

    assert scheduled(0.1) == scheduled(0.1)
    assert scheduled(0.1) != scheduled(0.9)  # of which neither can be pickled


class Scaled:
    """A loss with a state, and with methods."""

    def __init__(self, scale):
        self.scale = scale
        self.tensor = torch.full((2,), scale)

    def loss(self, u, v, scale):
        return self.scale * (u - v).square().mean()

    __call__ = loss


def function_of(source):
    """A function of some source, under one name."""
    namespace = {"__name__": "scripted"}
    exec(source, namespace)
    return namespace["loss"]


SCRIPT = "def loss(u, v, scale):\n    return {} * (u - v).square().mean()\n"


@pytest.mark.parametrize(
    "make",
    [
        Scaled,
        lambda scale: Scaled(scale).loss,
        lambda scale: function_of(SCRIPT.format(scale)),
        lambda scale: {1: scale, "1": 1.0},
        lambda scale: frozenset({"a", "b", scale}),
        lambda scale: torch.nn.Linear(2, 2).requires_grad_(False).weight.fill_(scale),
        lambda scale: type("Kind", (), {"scale": scale}),
    ],
)
def test_content_counts_code_included(make):
    assert plain_value(make(1.0)) == plain_value(make(1.0))
    assert plain_value(make(1.0)) != plain_value(make(-1.0))
    json.dumps(plain_value(make(1.0)))


def test_an_exception_is_known_by_what_it_was_made_with():
    plain, noted = KeyboardInterrupt(3), KeyboardInterrupt(3)
    chain = []
    for _ in range(2000):  # such as frames that others hang on it
        chain = [chain]
    noted.seen_by_others = chain
    assert plain_value(noted) == plain_value(plain)
    assert plain_value(KeyboardInterrupt(4)) != plain_value(plain)
    assert plain_value(SystemExit(3)) != plain_value(plain)


def test_functions_of_torch_are_known_by_their_names():
    functions = [torch.relu, torch.tanh, torch.nn.functional.relu, torch.Tensor.relu]
    values = [plain_value(function) for function in functions]
    assert len(set(values)) == 4
    assert values == [plain_value(function) for function in functions]


def test_content_is_the_same_in_another_process():
    code = (
        "import torch; from sk_cpep.encoders._identity import plain_value as p\n"
        "torch.manual_seed(0)\n"
        "print(p(frozenset('abc')), p(torch.nn.Linear(2, 2)), p(torch.relu))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ
            | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_whole_numbers_are_one_whatever_their_type():
    assert plain_value(1.0) == plain_value(1) == plain_value(np.int64(1)) == 1
    assert json.dumps(plain_value(1.0)) == "1"
    assert plain_value(range(3)) == plain_value([0, 1, 2])


def test_a_subclass_is_another_estimator(small_mae, windows):
    """By its code, and with parameters that are called as other facts are."""

    class Noisy(MAE):
        noise: float = 0.0
        groups: int = 0

    def facts(**parameters):
        own = {**small_mae(max_epochs=1).get_params(), **parameters}
        return Noisy(**own).fit(windows[0]).fit_identity_.facts

    assert facts(noise=0.5) != facts()
    assert facts(groups=1) != facts()
    assert facts()["estimator"] != "MAE"
    assert differences(facts(), facts(groups=1)) == ["parameter groups was 0, now 1"]


@pytest.mark.parametrize("parameters", [{"n_heads": 4}, {"dropout": 0.5}])
def test_encoders_with_equal_weights_and_another_function(
    parameters, small_cpep, small_mae, windows
):
    X, P = windows[:2]
    own = {**parameters, "random_state": 0}
    fits = [
        small_cpep(small_mae(**given), emg_init="random", max_epochs=1).fit(X, P)
        for given in ({"random_state": 0}, own)
    ]
    weights = [fit.fit_identity_.facts["emg_encoder_weights"] for fit in fits]
    assert weights[0] == weights[1]
    assert fits[0].fit_identity_ != fits[1].fit_identity_
    # A frozen encoder is as it was fitted, whatever its parameters are set to since.
    mae = small_mae(random_state=0).fit(X)
    first = small_cpep(FrozenEstimator(mae), max_epochs=1).fit(X, P)
    mae.set_params(**parameters)
    second = small_cpep(FrozenEstimator(mae), max_epochs=1).fit(X, P)
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    assert first.fit_identity_ == second.fit_identity_


def test_a_nan_is_itself(small_mae, windows, tmp_path):
    class Filled(MAE):
        fill: float = float("nan")

    own = {**small_mae(max_epochs=1).get_params(), "run_dir": tmp_path}
    first = Filled(**own).fit(windows[0])
    again = Filled(**own).fit(windows[0])
    assert again.history_ == first.history_  # the seconds, too: it was taken


def test_windows_in_hdf5_are_known_by_their_file(windows, tmp_path):
    path = tmp_path / "X.h5"
    X = np.repeat(windows[0], 20, axis=0)

    def facts(content):
        with h5py.File(path, "w") as file:
            file["X"] = content
        with h5py.File(path) as file:
            return facts_of(file["X"])

    first = facts(X)
    other = X.copy()
    not_looked_at = set(range(400)) - set(np.linspace(0, 399, 256).round().astype(int))
    other[sorted(not_looked_at)] += 1
    second = facts(other)
    assert first[0] == second[0]
    assert first[1] != second[1]

"""Fitted estimators that are written to a file and read elsewhere."""

import copy
import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sk_cpep import CPEP, MAE, BandpassNotch, InstanceNorm, ZeroShotClassifier
from sk_cpep.encoders import _persistence

ELSEWHERE = """
import pickle, sys
import joblib, numpy as np
path, data, results = sys.argv[1:]
def load(path):
    if path.endswith("joblib"):
        return joblib.load(path)
    with open(path, "rb") as file:
        return pickle.load(file)
with np.load(data) as data:
    calls = enumerate(load(path))
    values = [getattr(fitted, name)(data[f"arr_{i}"]) for i, (fitted, name) in calls]
np.savez(results, *values)
"""


def pipeline(cpep):
    return Pipeline(
        [
            ("filter", BandpassNotch(2, 90, 60, sfreq=200)),
            ("norm", InstanceNorm()),
            ("cpep", cpep),
        ]
    )


def elsewhere(calls, how, folder):
    """What methods of fitted objects give in a new process."""
    path, data, results = (folder / f for f in (f"fitted.{how}", "in.npz", "out.npz"))
    fitted = [(estimator, name) for estimator, name, _ in calls]
    if how == "joblib":
        joblib.dump(fitted, path)
    else:
        path.write_bytes(pickle.dumps(fitted))
    np.savez(data, *(X for *_, X in calls))
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(path), str(data), str(results)],
        check=True,
    )
    with np.load(results) as values:
        return [values[f"arr_{i}"] for i in range(len(calls))]


@pytest.mark.parametrize("how", ["pickle", "joblib"])
def test_same_output_in_another_process(windows, small_cpep, small_mae, how, tmp_path):
    X, P, y, _ = windows
    mae = small_mae().fit(X)
    pipe = pipeline(small_cpep(FrozenEstimator(mae))).fit(X, P)
    zero_shot = ZeroShotClassifier(FrozenEstimator(pipe), 3).fit(P, y)
    calls = [
        (mae, "transform", X),
        (pipe, "transform", X),
        (pipe["cpep"], "transform_pose", P),
        (zero_shot, "predict_proba", X),
        (zero_shot, "predict", X),
    ]
    results = elsewhere(calls, how, tmp_path)
    for result, (estimator, name, data) in zip(results, calls, strict=True):
        assert_array_equal(result, getattr(estimator, name)(data))


def test_everything_comes_back(windows, small_cpep, small_mae):
    X, P = windows[:2]
    mae, cpep = small_mae().fit(X), small_cpep(center_pose=True).fit(X, P)
    mae2, cpep2 = pickle.loads(pickle.dumps((mae, cpep)))
    assert_array_equal(mae2.reconstruct(X)[0], mae.reconstruct(X)[0])
    assert mae2.score(X) == mae.score(X)
    assert cpep2.score(X, P) == cpep.score(X, P)
    assert_array_equal(cpep2.transform_pose(P), cpep.transform_pose(P))
    assert cpep2.temperature_ == cpep.temperature_
    assert cpep2.history_ == cpep.history_
    assert mae2.history_ == mae.history_
    assert not cpep2.module_.training
    assert_array_equal(copy.deepcopy(mae).transform(X), mae.transform(X))
    assert_array_equal(clone(cpep2).fit(X, P).transform(X), cpep.transform(X))
    assert vars(pickle.loads(pickle.dumps(MAE()))) == vars(MAE())


def test_a_copy_does_not_share_weights(windows, small_mae):
    X = windows[0]
    mae = small_mae().fit(X)
    Z = mae.transform(X)
    with torch.no_grad():
        for parameter in copy.deepcopy(mae).module_.parameters():
            parameter.zero_()
    assert_array_equal(mae.transform(X), Z)


@pytest.mark.parametrize("dump", [pickle.dumps, lambda obj: joblib.hash(obj).encode()])
def test_pickling_does_not_change_the_object(windows, small_mae, dump):
    X = windows[0]
    mae = small_mae().fit(X)
    before = mae.transform(X)
    assert dump(mae) == dump(mae)
    assert isinstance(mae.module_, torch.nn.Module)
    assert not hasattr(mae, "_sk_cpep_version")
    assert_array_equal(mae.transform(X), before)


def test_loading_leaves_the_global_generator_alone(windows, small_mae):
    data = pickle.dumps(small_mae().fit(windows[0]))
    state = torch.get_rng_state()
    pickle.loads(data)
    assert torch.equal(state, torch.get_rng_state())


def test_size(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 16, 400)).astype(np.float32)
    P = rng.normal(size=(12, 20, 400)).astype(np.float32)
    sizes = dict(d_model=64, max_epochs=1)
    cpep = CPEP(MAE(50, **sizes), MAE(100, **sizes), max_epochs=30, random_state=0)
    pipe = pipeline(cpep).fit(X, P)
    module = pipe["cpep"].module_
    weights = sum(v.numel() * v.element_size() for v in module.state_dict().values())
    joblib.dump(pipe, tmp_path / "pipe.joblib")
    for size in (len(pickle.dumps(pipe)), (tmp_path / "pipe.joblib").stat().st_size):
        assert weights < size <= 1.2 * weights


@pytest.mark.parametrize("name", ["MAE", "CPEP"])
def test_another_version_warns(windows, small_cpep, small_mae, monkeypatch, name):
    X, P = windows[:2]
    fitted = small_mae().fit(X) if name == "MAE" else small_cpep().fit(X, P)
    with monkeypatch.context() as other:
        other.setattr(_persistence, "__version__", "0.0.1")
        data = pickle.dumps(fitted)
    with pytest.warns(UserWarning) as record:
        loaded = pickle.loads(data)
    message = f"This {name} was pickled by sk_cpep 0.0.1, and is loaded by "
    assert any(str(w.message).startswith(message) for w in record)
    assert_array_equal(loaded.transform(X), fitted.transform(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(loaded))


@pytest.mark.parametrize("method", ["transform", "transform_pose", "score"])
def test_without_the_gpu_it_was_fitted_on(windows, small_cpep, method):
    X, P = windows[:2]
    cpep = small_cpep().fit(X, P)
    data = dict(transform=(X,), transform_pose=(P,), score=(X, P))[method]
    expected = getattr(cpep, method)(*data)
    cpep.set_params(device="cuda")
    loaded = pickle.loads(pickle.dumps(cpep))
    with pytest.warns(UserWarning, match="Using the CPU: device='cuda' cannot be used"):
        assert_allclose(getattr(loaded, method)(*data), expected)
    with pytest.raises(ValueError, match="device='cuda' cannot be used here"):
        loaded.fit(X, P)

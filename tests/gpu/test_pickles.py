"""What was fitted on a GPU, where there is none; and the other way round."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs a GPU, which `make test-gpu` shows the tests; "
    "tests/encoders/test_persistence.py covers pickles on the CPU",
)
ELSEWHERE = """
import pickle, sys, warnings
import torch

assert not torch.cuda.is_available()
jobs = pickle.load(open(sys.argv[1], "rb"))
results = []
for fitted, name, data in jobs:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        results.append(getattr(fitted, name)(data))
    said = any("Using the CPU: device='cuda'" in str(w.message) for w in seen)
    assert said == (fitted.device == "cuda"), [str(w.message) for w in seen]
pickle.dump((jobs, results), open(sys.argv[1], "wb"))
"""


def without_gpu(jobs, path):
    """What a process that sees no GPU computes, and the objects that it pickled."""
    path.write_bytes(pickle.dumps(jobs))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(path)],
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    jobs, results = pickle.loads(path.read_bytes())
    return [(fitted, result) for (fitted, *_), result in zip(jobs, results)]


def test_fitted_there_and_used_elsewhere_and_there_again(
    pairs, make_cpep, make_regressor, tmp_path
):
    X, P = pairs
    jobs = []
    for device in ("cuda", "auto"):
        cpep = make_cpep(device=device, max_epochs=1).fit(X, P)
        jobs += [(cpep, "transform", X), (cpep, "transform_pose", P)]
    for name in ("PoseT", "EMG2Pose", "VEMG2Pose", "NeuroPose"):
        jobs.append((make_regressor(name, max_epochs=1).fit(X, P), "predict", X))
    found = without_gpu(jobs, tmp_path / "jobs.pickle")
    for (fitted, name, data), (back, result) in zip(jobs, found, strict=True):
        expected = getattr(fitted, name)(data)
        # Convolutions are computed in TF32 unless PyTorch is told otherwise.
        assert_allclose(result, expected, atol=0.02 * expected.std() + 1e-4)
        assert_allclose(getattr(back, name)(data), expected, atol=1e-5)
        assert next(back.module_.parameters()).device.type == "cuda"


def test_what_was_fitted_on_the_cpu(pairs, make_mae):
    X, _ = pairs
    mae = make_mae(device="cpu", max_epochs=1).fit(X)
    expected = mae.transform(X)
    loaded = pickle.loads(pickle.dumps(mae)).set_params(device="cuda")
    assert_allclose(loaded.transform(X), expected, atol=1e-4)
    again = pickle.loads(pickle.dumps(loaded)).set_params(device="cpu")
    assert_array_equal(again.transform(X), expected)
    assert np.isfinite(loaded.score(X))

"""Parameters that mean nothing are refused, with what was given and expected."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from skorch.callbacks import EarlyStopping, EpochTimer

from sk_cpep import CPEP, EMG2Pose, NeuroPose, Windower
from sk_cpep.encoders import PoseT
from sk_cpep.encoders._ring import read_ring

SMALL = dict(max_epochs=1, early_stopping=False, random_state=0, device="cpu")


@pytest.mark.parametrize(
    "given, ring",
    [
        (None, None),
        (1, (0,)),
        (4, (0, 1, 2, 3)),
        (np.int8(2), (0, 1)),
        (np.array(2), (0, 1)),
        ([3, 1, 0], (3, 1, 0)),
        ((2,), (2,)),
        (range(3, -1, -1), (3, 2, 1, 0)),
        ([np.int64(1), 2], (1, 2)),
        (np.array([2, 0], dtype=np.uint8), (2, 0)),
        (np.array([2, 0], dtype=object), (2, 0)),
        (pd.Series([2, 0]), (2, 0)),
        (torch.tensor([2, 0]), (2, 0)),
    ],
    ids=repr,
)
def test_rings(given, ring):
    found = read_ring(given, 4)
    assert found == ring
    assert found is None or {type(channel) for channel in found} == {int}


NO_RINGS = [
    *([0.5, 1.7, 2.9], [0.0, 1.0], np.array([1.2, 3.9]), [0, np.nan], [0, None]),
    *(["0", "1"], np.array(["0"]), [], np.array([], dtype=int), {0, 1}),
    *([[0, 1], [2, 3]], [[0], [1, 2]], np.arange(4).reshape(2, 2), [0, 1j]),
    *([True, False], [0, True], np.array([True, False, True, False]), [2**70]),
    *([0, 0], [-1, 0], [0, 4], 5, 2**70, np.array([1, 2], dtype="m8[s]")),
    *(pd.Series([0, None]), pd.Series([True, False]), torch.tensor([0.0])),
]


@pytest.mark.parametrize("ring", [*NO_RINGS, True, 0, -1, 2.0, "2", np.nan], ids=repr)
def test_what_is_no_ring(ring):
    with pytest.raises(ValueError, match="ring_channels.*must be"):
        read_ring(ring, 4)


@pytest.mark.parametrize("ring", NO_RINGS, ids=repr)
def test_estimators_refuse_what_is_no_ring(ring, windows, small_cpep, tmp_path):
    regressor = PoseT(5, d_model=8, n_layers=1, n_heads=2, **SMALL)
    for estimator in (small_cpep(run_dir=tmp_path), regressor):
        with pytest.raises(ValueError, match="ring_channels"):
            estimator.set_params(ring_channels=ring).fit(*windows[:2])
    assert not list(tmp_path.rglob("checkpoint.pt"))  # before anything was trained


@pytest.mark.parametrize("ring", [1.0, True, "2", -1])
def test_without_scikit_learns_validation(ring, windows, small_cpep):
    refused = pytest.raises(ValueError, match="ring_channels")
    with config_context(skip_parameter_validation=True), refused:
        small_cpep(ring_channels=ring).fit(*windows[:2])


@pytest.mark.parametrize(
    "sizes",
    [
        *([[1], [1], [1]], [np.nan] * 3, [np.inf, 1, 1], ["1", "1", "1"], [1, 1, 1.5]),
        *([True, True, True], [1, 1], [1, 1, 0], [None] * 3, np.ones((3, 1)), {1, 2}),
    ],
    ids=repr,
)
def test_sizes(sizes, windows):
    X, P = windows[:2]
    with pytest.raises(ValueError, match="widths must be 3 whole numbers from 1 on"):
        NeuroPose(time_pools=(1, 1, 2), widths=sizes, **SMALL).fit(X, P)
    with pytest.raises(ValueError, match="strides must be 4 whole numbers from 1 on"):
        EMG2Pose(sfreq=100, strides=sizes, **SMALL).fit(X, P)


@pytest.mark.parametrize(
    "callbacks", [[3], ["stop"], [[1]], [None], [("stop", 3)], [EpochTimer(), object()]]
)
def test_callbacks_that_are_none(callbacks, windows, small_mae, small_cpep):
    X, P = windows[:2]
    for estimator, data in ((small_mae(), (X,)), (small_cpep(), (X, P))):
        with pytest.raises(TypeError, match="callbacks must hold skorch callbacks"):
            estimator.set_params(callbacks=callbacks).fit(*data)


@pytest.mark.parametrize(
    "callback",
    [
        EarlyStopping("train_loss", patience=1, threshold=1e9),
        ("stop", EarlyStopping("train_loss", patience=1, threshold=1e9)),
    ],
)
def test_callbacks_with_and_without_names(callback, windows, small_mae):
    assert small_mae(callbacks=[callback], max_epochs=9).fit(windows[0]).n_iter_ == 2


def test_run_dir_may_be_a_path(windows, small_cpep, tmp_path):
    X, P = windows[:2]
    expected = small_cpep(run_dir=tmp_path).fit(X, P).transform(X)
    files = set(tmp_path.rglob("*.*"))
    assert len(files) == 3 * 2
    again = small_cpep(run_dir=str(tmp_path)).fit(X, P)
    np.testing.assert_array_equal(again.transform(X), expected)
    assert set(tmp_path.rglob("*.*")) == files
    with pytest.raises(ValueError, match="'run_dir' parameter of CPEP"):
        CPEP(run_dir=3).fit(X, P)


@pytest.mark.parametrize("before, after", [(None, Windower(6)), (Windower(6), None)])
def test_poses_are_read_as_in_fit(before, after, windows, small_cpep, small_mae):
    """Whatever `pose_transformer` is set to before the next fit."""
    X, P = windows[:2]
    if before is not None:  # two recordings each
        P = [np.hstack(list(part)) for part in np.split(P, 2)]
        X = [np.hstack(list(part)) for part in np.split(X, 2)]
        X = Windower(11).fit_transform(X)
    fitted = small_cpep(small_mae(), small_mae(3), pose_transformer=before).fit(X, P)
    expected, score = fitted.transform_pose(P), fitted.score(X, P)
    fitted.set_params(pose_transformer=after)
    np.testing.assert_array_equal(fitted.transform_pose(P), expected)
    assert fitted.score(X, P) == score

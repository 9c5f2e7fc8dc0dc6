"""The recordings that come with the package, against their originals."""

import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.datasets import load_example, load_myo_readings

_SHARED = Path(__file__).parents[3] / ".." / "shared" / "data"
MYO = Path(os.environ.get("SK_CPEP_MYO_READINGS", _SHARED / "myo_readings"))
FINGERS = Path(os.environ.get("SK_CPEP_FINGERS", _SHARED / "openbci_fingers"))


def test_fingers():
    data = load_example("fingers")
    (emg,), (pose,) = data.emg, data.pose
    assert (emg.shape, pose.shape) == ((16, 18736), (5, 18736))
    assert emg.dtype == pose.dtype == np.float32
    assert pose.min() >= 0
    assert pose.max() <= 1
    assert np.mean((pose == 0) | (pose == 1)) > 0.95
    rms = np.sqrt((emg.astype(float) ** 2).mean(axis=1))
    assert (rms > 0.9).all()
    assert (rms < 25).all()
    assert len(data.channel_names) == 16
    assert data.joint_names[0] == "thumb"
    # An electrode that is flat for a part of the time.
    assert np.mean(np.ptp(emg[14, :18725].reshape(-1, 25), axis=1) < 0.1) > 0.2


def test_myo():
    data = load_example("myo")
    assert data.files.tolist() == list(range(8))
    for emg, labels, file in zip(data.emg, data.labels, data.files, strict=True):
        assert emg.shape == (8, len(labels))
        assert np.abs(emg).max() <= 128
        assert_array_equal(emg, np.round(emg))
        assert set(np.unique(labels)) == {0, file}
    assert "People: 1; sessions" in data.DESCR


@pytest.mark.parametrize("name", ["fingers", "myo"])
def test_arrays_are_new_in_every_call(name):
    first = load_example(name)
    first.emg[0][:] = 0
    assert load_example(name).emg[0].any()


def test_licences_and_size():
    folder = resources.files("sk_cpep.datasets.examples")
    for name in ("fingers", "myo"):
        assert "MIT License" in (folder / f"LICENSE-{name}.txt").read_text("utf-8")
    sizes = [len((folder / f"{name}.npz").read_bytes()) for name in ("fingers", "myo")]
    assert sum(sizes) < 1.5e6


def test_there_is_no_other():
    with pytest.raises(ValueError, match=r"no example 'hand'.*\['fingers', 'myo'\]"):
        load_example("hand")


@pytest.mark.skipif(
    not FINGERS.is_dir(),
    reason="The original is not at hand (set SK_CPEP_FINGERS); test_fingers covers what "
    "is in the package",
)
def test_fingers_are_the_original():
    table = np.loadtxt(FINGERS / "emg16_fingers.csv", delimiter=",", skiprows=1)
    data = load_example("fingers")
    emg, pose = table[:, 6:].T, table[:, 1:6].T
    rms = np.sqrt((emg**2).mean(axis=1, keepdims=True))
    assert (np.abs(data.emg[0] - emg) <= 0.0051 * rms).all()
    assert np.abs(data.pose[0] - pose).max() < 5e-4
    off = np.diff(table[:, 0]) != 8
    assert 1 / 250 < off.mean() < 1 / 150
    cut = np.abs(emg).max(axis=1)
    assert (cut[10:] <= 5.01).all()
    assert (cut[:10] > 50).all()


@pytest.mark.skipif(
    not MYO.is_dir(),
    reason="The original is not at hand (set SK_CPEP_MYO_READINGS); test_myo covers "
    "what is in the package",
)
def test_myo_is_the_original():
    original, data = load_myo_readings(MYO, 10000, 1), load_example("myo")
    assert original.keys() == data.keys()
    for name in ("emg", "labels"):
        for a, b in zip(original[name], data[name], strict=True):
            assert_array_equal(a, b)
    for name in ("users", "sessions", "files", "rates", "n_broken"):
        assert_array_equal(original[name], data[name])
    assert original.DESCR == data.DESCR

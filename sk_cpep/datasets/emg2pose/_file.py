"""One recording's file of emg2pose: opened, checked, read."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..._typing import AnyArray, BoolArray, Float32Array, Float64Array, PathLike
from .._valid_runs import valid_runs
from ._format import TIMESERIES, TIMESERIES_DTYPE

_BLOCK = 16384
_FAILED = 1e-8  # an angle no larger than this counts as zero
_IMPLAUSIBLE = {"emg": 1e6, "joint_angles": 1e2}
_MAX_CHUNK = 2**28  # bytes; HDF5 makes room for a whole chunk, however absurd
AGAIN = "Download or copy the file again."


@dataclass
class RecordingIndex:
    """What has to be known of a recording to cut windows from it.

    Parameters
    ----------
    n_times : int
        Samples.

    runs : ndarray of shape (n_runs, 2), int64
        Where inverse kinematics worked: first sample of each run, and the first
        after it.
    """

    n_times: int
    runs: NDArray[np.int64]

    @property
    def n_failed(self) -> int:
        """Samples at which inverse kinematics failed."""
        return self.n_times - int(np.diff(self.runs, axis=1).sum())


def index_recording(path: PathLike) -> RecordingIndex:
    """Read a recording once from end to end, and find its valid samples.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    index : RecordingIndex

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, cut short or no recording of emg2pose; if EMG or
        an angle is not finite or impossibly large; if time runs backwards.
    """
    with open_timeseries(path) as series:
        n_times, valid = len(series), []
        clock = -np.inf
        for start in range(0, n_times, _BLOCK):
            rows = read_rows(series, path, start, min(start + _BLOCK, n_times))
            clock = _check_rows(rows, path, start, clock)
            valid.append(_succeeded(rows))
    return RecordingIndex(n_times, valid_runs(np.concatenate(valid)))


def read_recording(
    path: PathLike,
) -> tuple[Float32Array, Float64Array, NDArray[np.int64]]:
    """A whole recording.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    emg : ndarray of shape (16, n_times), float32
        In units of the noise floor's standard deviation.

    angles : ndarray of shape (20, n_times), float64
        Radians; all zero where inverse kinematics failed.

    runs : ndarray of shape (n_runs, 2), int64
        Where it did not: first sample of each run, and the first after it.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`index_recording` does.
    """
    with open_timeseries(path) as series:
        rows = read_rows(series, path, 0, len(series))
    _check_rows(rows, path, 0, -np.inf)
    emg, angles = (
        np.ascontiguousarray(rows[name].T) for name in ("emg", "joint_angles")
    )
    return emg, angles, valid_runs(_succeeded(rows))


@contextmanager
def open_timeseries(path: PathLike) -> Iterator[h5py.Dataset]:
    """Open a recording and check its layout, but no values.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    series : h5py.Dataset of shape (n_times,), TIMESERIES_DTYPE

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is no recording of emg2pose.
    """
    with open_file(path) as file:
        yield find_timeseries(file, path)


def open_file(path: PathLike) -> h5py.File:
    """Open a file, which has to be HDF5."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} does not exist, or is no file.")
    try:
        return h5py.File(path, "r")
    except PermissionError:
        raise
    except Exception as error:  # h5py has no error class of its own
        size = os.path.getsize(path)
        raise ValueError(
            f"{path} ({size} bytes) is no readable HDF5 file: {_reason(error)}. {AGAIN}"
        ) from error


def find_timeseries(file: h5py.File, path: PathLike) -> h5py.Dataset:
    """The dataset of samples of an open file, with its layout checked."""
    try:
        series = file.get(TIMESERIES)
        if isinstance(series, h5py.Dataset):
            fault = _layout_fault(series)
        else:
            fault = f"has no dataset {TIMESERIES!r}; is this a recording of emg2pose?"
    except Exception as error:  # h5py has no error class of its own
        fault = f"is damaged: {_reason(error)}. {AGAIN}"
    if fault is not None:
        raise ValueError(f"{path} {fault}")
    return series


def _layout_fault(series: h5py.Dataset) -> str | None:
    """How a dataset is not stored as emg2pose's, with all samples in the file.

    HDF5 reads zeros where samples were never written.
    """
    dtype, chunks = series.dtype, series.chunks
    shape: tuple[int, ...] = series.shape or ()
    if dtype != TIMESERIES_DTYPE:
        return (
            f"is no recording of emg2pose: {TIMESERIES!r} holds {_describe(dtype)}, "
            f"expected {_describe(TIMESERIES_DTYPE)}."
        )
    if not _has_plain_floats(series.id.get_type()):
        return f"is damaged: the floats of {TIMESERIES!r} are not IEEE's. {AGAIN}"
    if len(shape) != 1 or not shape[0]:
        return (
            f"is damaged: {TIMESERIES!r} has shape {shape}, expected (n_times,) with at "
            f"least one sample. {AGAIN}"
        )
    if series.external or series.is_virtual:
        return (
            f"is no file of emg2pose: {TIMESERIES!r} is stored in other files, which "
            "emg2pose's never is."
        )
    if chunks is None:
        unit, stored = "bytes", series.id.get_storage_size()
        expected = shape[0] * dtype.itemsize
    else:
        if chunks[0] * dtype.itemsize > _MAX_CHUNK:
            return f"is damaged: chunks of {chunks[0] * dtype.itemsize} bytes. {AGAIN}"
        unit, stored = "chunks", series.id.get_num_chunks()
        expected = math.ceil(shape[0] / chunks[0])
    if stored != expected:
        return (
            f"is damaged: {stored} of {expected} {unit} of {TIMESERIES!r} are there. "
            f"{AGAIN}"
        )
    return None


def _has_plain_floats(kind: h5py.h5t.TypeID) -> bool:
    """Whether all fields are IEEE floats, which NumPy's dtype does not show."""
    if not isinstance(kind, h5py.h5t.TypeCompoundID):
        return False
    fields = [kind.get_member_type(i) for i in range(kind.get_nmembers())]
    bases = [
        f.get_super() if isinstance(f, h5py.h5t.TypeArrayID) else f for f in fields
    ]
    plain = (h5py.h5t.IEEE_F64LE, h5py.h5t.IEEE_F32LE)
    return all(any(base.equal(float_) for float_ in plain) for base in bases)


def _describe(dtype: np.dtype[Any]) -> str:
    if dtype.names is None:
        return str(dtype)
    fields = (f"{name} {dtype[name]}" for name in dtype.names)
    return f"{', '.join(fields)} ({dtype.itemsize} bytes a sample)"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def read_rows(series: h5py.Dataset, path: PathLike, start: int, stop: int) -> AnyArray:
    """Rows of a dataset, (stop - start,) of TIMESERIES_DTYPE."""
    try:
        return series[start:stop]
    except Exception as error:
        raise ValueError(
            f"{path}: samples {start} to {stop} cannot be read: {_reason(error)}. {AGAIN}"
        ) from error


def _succeeded(rows: AnyArray) -> BoolArray:
    """Where inverse kinematics did not fail, (n_times,) bool."""
    return (np.abs(rows["joint_angles"]) > _FAILED).any(axis=1)


def _check_rows(rows: AnyArray, path: PathLike, start: int, clock: float) -> float:
    """Refuse impossible values; return the time of the last row, in seconds."""
    for name, limit in _IMPLAUSIBLE.items():
        possible = np.abs(rows[name]) <= limit  # False for NaN
        if not possible.all():
            row, column = np.argwhere(~possible)[0]
            raise ValueError(
                f"{path}: `{name}` is {rows[name][row, column]:g} at sample {start + row}, "
                f"column {column}; emg2pose's own files hold finite values up to "
                f"{limit:g}. {AGAIN}"
            )
    times = rows["time"]
    forward = np.isfinite(times) & (times >= np.append(clock, times[:-1]))
    if not forward.all():
        raise ValueError(
            f"{path}: time runs backwards or is not finite at sample "
            f"{start + np.argmin(forward)}. {AGAIN}"
        )
    return float(times[-1])

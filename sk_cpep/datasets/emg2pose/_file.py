"""One recording's file of emg2pose: opened, checked, read."""

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass

import h5py
import numpy as np

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
    runs: np.ndarray

    @property
    def n_failed(self):
        """Samples at which inverse kinematics failed."""
        return self.n_times - int(np.diff(self.runs, axis=1).sum())


def index_recording(path):
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


def read_recording(path):
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
def open_timeseries(path):
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
    file = open_file(path)
    try:
        yield find_timeseries(file, path)
    finally:
        file.close()


def open_file(path):
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


@dataclass
class _Layout:
    """How a dataset is stored."""

    dtype: np.dtype
    plain_floats: bool
    shape: tuple
    elsewhere: bool
    chunk_bytes: int
    unit: str
    stored: int
    expected: int


def find_timeseries(file, path):
    """The dataset of samples of an open file, with its layout checked."""
    try:
        series = file.get(TIMESERIES)
        layout = _layout(series) if isinstance(series, h5py.Dataset) else None
    except Exception as error:
        raise ValueError(f"{path} is damaged: {_reason(error)}. {AGAIN}") from error
    if layout is None:
        raise ValueError(
            f"{path} has no dataset {TIMESERIES!r}; is this a recording of emg2pose?"
        )
    _check_layout(layout, path)
    return series


def _layout(series):
    dtype, shape, chunks = series.dtype, series.shape or (), series.chunks
    common = {
        "dtype": dtype,
        "plain_floats": _has_plain_floats(series.id.get_type()),
        "shape": shape,
        "elsewhere": bool(series.external) or series.is_virtual,
    }
    if chunks is None:
        return _Layout(
            **common,
            chunk_bytes=0,
            unit="bytes",
            stored=series.id.get_storage_size(),
            expected=math.prod(shape) * dtype.itemsize,
        )
    return _Layout(
        **common,
        chunk_bytes=math.prod(chunks) * dtype.itemsize,
        unit="chunks",
        stored=series.id.get_num_chunks(),
        expected=math.prod(math.ceil(n / c) for n, c in zip(shape, chunks)),
    )


def _has_plain_floats(kind):
    """Whether all fields are IEEE floats, which NumPy's dtype does not show."""
    if not isinstance(kind, h5py.h5t.TypeCompoundID):
        return False
    fields = [kind.get_member_type(i) for i in range(kind.get_nmembers())]
    bases = [
        f.get_super() if isinstance(f, h5py.h5t.TypeArrayID) else f for f in fields
    ]
    plain = (h5py.h5t.IEEE_F64LE, h5py.h5t.IEEE_F32LE)
    return all(any(base.equal(float_) for float_ in plain) for base in bases)


def _check_layout(layout, path):
    """Refuse other types than emg2pose's, and samples that are not in the file.

    HDF5 reads zeros where samples were never written.
    """
    if layout.dtype != TIMESERIES_DTYPE:
        raise ValueError(
            f"{path}: {TIMESERIES!r} holds {_describe(layout.dtype)}, expected "
            f"{_describe(TIMESERIES_DTYPE)}; is this a recording of emg2pose?"
        )
    if not layout.plain_floats:
        raise ValueError(
            f"{path} is damaged: the floats of {TIMESERIES!r} are not IEEE's. {AGAIN}"
        )
    if len(layout.shape) != 1 or not layout.shape[0]:
        raise ValueError(
            f"{path}: {TIMESERIES!r} has shape {layout.shape}, expected (n_times,) with "
            f"at least one sample. {AGAIN}"
        )
    if layout.elsewhere:
        raise ValueError(
            f"{path}: {TIMESERIES!r} is stored in other files; emg2pose's never is."
        )
    if layout.chunk_bytes > _MAX_CHUNK:
        raise ValueError(
            f"{path} is damaged: chunks of {layout.chunk_bytes} bytes. {AGAIN}"
        )
    if layout.stored != layout.expected:
        raise ValueError(
            f"{path}: {layout.stored} of {layout.expected} {layout.unit} of "
            f"{TIMESERIES!r} are there. {AGAIN}"
        )


def _describe(dtype):
    if dtype.names is None:
        return str(dtype)
    fields = (f"{name} {dtype[name]}" for name in dtype.names)
    return f"{', '.join(fields)} ({dtype.itemsize} bytes a sample)"


def _reason(error):
    return " ".join(str(error).split()) or type(error).__name__


def read_rows(series, path, start, stop):
    """Rows of a dataset, (stop - start,) of TIMESERIES_DTYPE."""
    try:
        return series[start:stop]
    except Exception as error:
        raise ValueError(
            f"{path}: samples {start} to {stop} cannot be read: {_reason(error)}. {AGAIN}"
        ) from error


def _succeeded(rows):
    """Where inverse kinematics did not fail, (n_times,) bool."""
    return (np.abs(rows["joint_angles"]) > _FAILED).any(axis=1)


def _check_rows(rows, path, start, clock):
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
    return times[-1]

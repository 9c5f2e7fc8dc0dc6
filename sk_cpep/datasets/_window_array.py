"""Windows that stay on disk until a batch of them is asked for."""

from numbers import Integral

import numpy as np


class WindowArray:
    """Windows of recordings, read from disk a batch at a time.

    Stands for a float32 array of shape (n_windows, n_channels, n_times). A single
    window is read when it is asked for, several with ``__getitems__(indices)``.
    A slice, an array of indices or a mask selects windows and reads nothing: it
    gives another `WindowArray`. So it goes through scikit-learn's splitters and
    searches, and to their workers, without being loaded. ``numpy.asarray``
    loads all of it.

    Parameters
    ----------
    source : object
        Where the windows are read. Has `n_channels` and
        ``read(recordings, starts, n_times)``, which takes two integer arrays of
        shape (n,) and returns a float32 array of shape
        (n, n_channels, n_times). It is pickled along, so it holds no open files. A
        cache knows the windows by that pickle: where they are read from files, let it
        hold what changes with the files, such as their times of modification.

    recordings : array-like of shape (n_windows,), int
        Recording that each window lies in, as the source numbers them.

    starts : array-like of shape (n_windows,), int
        First sample of each window within its recording.

    n_times : int
        Length of a window in samples.

    Attributes
    ----------
    shape : tuple of int
        (n_windows, n_channels, n_times).

    ndim : int
        3.

    dtype : numpy.dtype
        float32.

    nbytes : int
        Memory in bytes that all windows would take.

    Raises
    ------
    ValueError
        If `recordings` and `starts` are not integers of one and the same length.

    See Also
    --------
    load_emg2pose : Gives EMG and pose of emg2pose as window arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.datasets import WindowArray
    >>> class Ramps:
    ...     n_channels = 2
    ...
    ...     def read(self, recordings, starts, n_times):
    ...         times = starts[:, None, None] + np.arange(n_times)
    ...         return np.repeat(times.astype(np.float32), 2, axis=1)
    >>> X = WindowArray(Ramps(), recordings=[0, 0, 1], starts=[0, 4, 8], n_times=4)
    >>> X.shape
    (3, 2, 4)
    >>> X[1:].shape
    (2, 2, 4)
    >>> X[-1]
    array([[ 8.,  9., 10., 11.],
           [ 8.,  9., 10., 11.]], dtype=float32)
    """

    ndim = 3
    dtype = np.dtype(np.float32)

    def __init__(self, source, recordings, starts, n_times):
        self.source = source
        self.recordings = _integers(recordings, "recordings")
        self.starts = _integers(starts, "starts")
        self.n_times = int(n_times)
        if len(self.recordings) != len(self.starts):
            raise ValueError(
                f"recordings has {len(self.recordings)} entries, starts has "
                f"{len(self.starts)}: each window needs one of both."
            )

    @property
    def shape(self):
        return len(self.starts), self.source.n_channels, self.n_times

    @property
    def size(self):
        return int(np.prod(self.shape, dtype=object))

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    def __len__(self):
        return len(self.starts)

    def __sizeof__(self):
        # By this, Dask sends to its workers once what is not small.
        return super().__sizeof__() + self.recordings.nbytes + self.starts.nbytes

    def __repr__(self):
        return f"WindowArray(shape={self.shape}, dtype=float32, unread)"

    def __getitem__(self, key):
        key = _row_key(key)
        if isinstance(key, Integral) and not isinstance(key, (bool, np.bool_)):
            return self.__getitems__([key])[0]
        if not isinstance(key, slice):
            key = _row_indices(key, len(self))
        return WindowArray(
            self.source, self.recordings[key], self.starts[key], self.n_times
        )

    def __getitems__(self, indices):
        """Read several windows at once.

        Parameters
        ----------
        indices : array-like of shape (n,), int or bool
            Negative ones count from the end.

        Returns
        -------
        windows : ndarray of shape (n, n_channels, n_times), float32
            In the order asked for.

        Raises
        ------
        IndexError
            If an index is out of range.
        """
        indices = _row_indices(indices, len(self))
        return self.source.read(
            self.recordings[indices], self.starts[indices], self.n_times
        )

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError(
                "A WindowArray lies on disk: an array of it is always a copy."
            )
        loaded = self.source.read(self.recordings, self.starts, self.n_times)
        return loaded if dtype is None else loaded.astype(dtype, copy=False)


def _integers(values, name):
    """A one-dimensional int64 array."""
    values = np.asarray(values)
    if values.ndim != 1 or (values.dtype.kind not in "iu" and values.size):
        raise ValueError(
            f"{name} has to be one integer per window, got {values.dtype} of shape "
            f"{values.shape}."
        )
    return np.ascontiguousarray(values, dtype=np.int64)


def _row_key(key):
    """The part of an index that selects windows."""
    if not isinstance(key, tuple):
        return slice(None) if key is Ellipsis else key
    rows = [k for k in key if k is not Ellipsis and not _is_full_slice(k)]
    if not rows:
        return slice(None)
    if len(rows) > 1 or rows[0] is not key[0]:
        raise IndexError(
            f"index {key}: a WindowArray is indexed by window only; read the windows "
            "with numpy.asarray or X.__getitems__(indices), then index channels or times."
        )
    return rows[0]


def _is_full_slice(key):
    return isinstance(key, slice) and key == slice(None)


def _row_indices(key, n):
    """Indices or a mask as int64 indices from 0 to n - 1."""
    key = np.asarray(key)
    if key.ndim != 1:
        raise IndexError(
            f"index of shape {key.shape}: select windows with an integer, a slice, or "
            "indices or a mask of shape (n,)."
        )
    if key.dtype == bool:
        if len(key) != n:
            raise IndexError(f"a mask of {len(key)} for {n} windows.")
        return np.flatnonzero(key)
    if key.dtype.kind not in "iu" and key.size:
        raise IndexError(f"indices have to be integers or a mask, got {key.dtype}.")
    key = key.astype(np.int64)
    wrong = (key < -n) | (key >= n)
    if wrong.any():
        raise IndexError(f"index {key[wrong][0]} is out of range for {n} windows.")
    return np.where(key < 0, key + n, key)

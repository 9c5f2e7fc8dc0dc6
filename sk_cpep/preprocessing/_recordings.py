"""How the preprocessing steps read recordings, and map a function over them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_array, validate_data

from .._typing import BoolArray, FloatArray, IntArray, RecordingsLike
from ._origin import origin_of, with_origin

# As they are read: each of shape (n_channels, n_times_i), or of shape (n, n_channels,
# n_times) or (n, n_times) in one array.
Recordings: TypeAlias = list[FloatArray] | FloatArray

FLOATS = (np.float64, np.float32)

_ANY_SHAPE: dict[str, Any] = dict(
    ensure_2d=False, allow_nd=True, ensure_min_samples=0, ensure_min_features=0
)

# Float64 copies are made of one block of rows at a time: 2 MiB, near a core's cache.
BLOCK_SAMPLES = 2**18


def as_recordings(
    X: RecordingsLike,
    *,
    name: str = "X",
    estimator: Any = None,
    reset: bool = True,
    finite: bool = True,
    min_times: int = 1,
) -> Recordings:
    """Read recordings, or windows, as floating-point arrays without a copy.

    Parameters
    ----------
    X : list of array-likes, each of shape (n_channels, n_times_i), or array-like of \
            shape (n, n_channels, n_times) or (n, n_times)
        A list (or tuple, or 1-D object array) of 2-D arrays is a list of recordings.
        Anything else is read as one array, of which a 2-D one holds one-channel
        windows.

    name : str, default="X"
        What error messages call `X`.

    estimator : estimator object, default=None
        The estimator whose `n_features_in_` is set or checked: `n_channels` for a
        list and for a 3-D array, `n_times` for a 2-D array.

    reset : bool, default=True
        Set `n_features_in_` (in `fit`) rather than check it (in `transform`).

    finite : bool, default=True
        Refuse NaN and infinite values.

    min_times : {0, 1}, default=1
        Least number of samples of a recording in a list. With 0 an empty one is
        taken as one that is too short for a window.

    Returns
    -------
    X : list of ndarrays or ndarray
        float32 and float64 are kept, everything else becomes float64. Windows whose
        origin is known keep it.
    """
    given: Any = X
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
        given = list(X)
    if given is None or (isinstance(given, (list, tuple)) and len(given) == 0):
        raise ValueError(
            f"{name} holds no recordings, got {X!r}: 0 sample(s), while a minimum of 1 "
            "is required. Expected a list of arrays of shape (n_channels, n_times)."
        )
    read: Recordings
    if isinstance(given, (list, tuple)) and any(_ndim(x) >= 2 for x in given):
        read = _read_list(given, name, min_times)
        given = read[0].T
    else:
        read = with_origin(_read_array(given, name), origin_of(given))
    if estimator is not None:
        validate_data(estimator, X=given, reset=reset, skip_check_array=True)
    if finite:
        check_finite(read, name)
    return read


def check_finite(X: Recordings, name: str = "X") -> None:
    """Raise a ValueError that counts the NaN and infinite values per recording."""
    if isinstance(X, np.ndarray) and not any(_count_nonfinite(X)):
        return
    bad = {i: count for i, count in enumerate(map(_count_nonfinite, X)) if any(count)}
    if not bad:
        return
    n_nan, n_inf = np.sum(list(bad.values()), axis=0)
    first, (first_nan, first_inf) = next(iter(bad.items()))
    raise ValueError(
        f"{name} contains {n_nan} NaN and {n_inf} infinity values in {len(bad)} of "
        f"{len(X)} recordings; the first is recording {first}, with {first_nan} NaN "
        f"and {first_inf} infinity. Cut these samples out or interpolate them first."
    )


def map_recordings(
    func: Callable[[FloatArray, FloatArray], None],
    X: Recordings,
    n_jobs: int | None = None,
    *,
    whole: bool = False,
) -> Recordings:
    """Apply `func` to blocks of rows: to channels, or to recordings as a whole.

    A block has :data:`BLOCK_SAMPLES` samples, or one row where that is longer: it takes
    a fraction of the memory of a long recording, and stays in a core's cache.

    Parameters
    ----------
    func : callable
        ``func(x, out)`` reads an array of shape (n_rows, n_samples) and writes another
        of the same shape, each row independently of the others.

    X : list of ndarrays or ndarray
        What :func:`as_recordings` returned.

    n_jobs : int, default=None
        Number of threads.

    whole : bool, default=False
        A row is a recording, channel after channel, rather than a single channel.

    Returns
    -------
    Z : list of ndarrays or ndarray
        As `X`, in the precision of `X`, and of the same origin.

    Raises
    ------
    ValueError
        If a result is beyond the largest number of that precision.
    """
    is_list = isinstance(X, list)
    arrays = X if isinstance(X, list) else [np.asarray(X)]
    out = [np.empty_like(x, order="C") for x in arrays]
    blocks = [
        block for x, z in zip(arrays, out) for block in _blocks(x, z, whole, is_list)
    ]
    parallel = Parallel(n_jobs=n_jobs, require="sharedmem")
    finite = parallel(delayed(_apply)(func, x, z) for x, z in blocks)
    if not all(finite):
        _refuse_overflow(X, out if is_list else out[0])
    return out if is_list else with_origin(out[0], origin_of(X))


def _blocks(
    x: FloatArray, z: FloatArray, whole: bool, is_list: bool
) -> list[tuple[FloatArray, FloatArray]]:
    """Pairs of views, or of reads, of shape (n_rows, n_samples)."""
    width = x.size // (1 if is_list else len(x)) if whole else x.shape[-1]
    x, z = x.reshape(-1, width), z.reshape(-1, width)
    rows = max(1, BLOCK_SAMPLES // width)
    return [(x[s], z[s]) for s in gen_batches(len(x), rows)]


def _apply(
    func: Callable[[FloatArray, FloatArray], None], x: FloatArray, out: FloatArray
) -> bool:
    """Let `func` write `out`; whether all of it is finite."""
    with np.errstate(over="ignore"):
        func(x, out)
    return not any(_count_nonfinite(out))


def _refuse_overflow(X: Recordings, Z: Recordings) -> None:
    """Raise a ValueError that names the first recording with a result too large."""
    i = next(i for i, z in enumerate(Z) if any(_count_nonfinite(z)))
    raise ValueError(
        f"Recording {i} holds values up to {np.max(np.abs(X[i])):.3g}, for which the "
        f"result is beyond the largest {Z[i].dtype}. Give the recordings in a unit in "
        "which their values are smaller."
    )


def count_dead(X: Recordings, tolerance: float = 0.0) -> IntArray:
    """In how many recordings each channel has no signal, nothing but a constant.

    Parameters
    ----------
    X : list of ndarrays or ndarray
        What :func:`as_recordings` returned.

    tolerance : float, default=0.0
        As of :func:`is_flat`.

    Returns
    -------
    counts : ndarray of shape (n_channels,)
    """
    if isinstance(X, list):
        return np.sum([is_flat(x, tolerance) for x in X], axis=0)
    return is_flat(X if X.ndim == 3 else X[:, np.newaxis], tolerance).sum(axis=0)


def is_flat(x: FloatArray, tolerance: float = 0.0) -> BoolArray:
    """Whether rows hold a constant, up to the rounding of their precision.

    Parameters
    ----------
    x : ndarray of shape (..., n_times)

    tolerance : float, default=0.0
        Range, as a share of the largest absolute value, up to which a row is flat: at
        least twice the resolution of the precision of `x`.

    Returns
    -------
    flat : bool ndarray of shape (...)
    """
    tolerance = max(tolerance, 2 * float(np.finfo(x.dtype).eps))

    def within(x: FloatArray) -> BoolArray:
        low, high = x.min(axis=-1).astype(float), x.max(axis=-1).astype(float)
        return high / 2 - low / 2 <= tolerance * np.maximum(-low, high) / 2

    # Few rows that start flat remain so: the others need not be read to the end.
    flat = within(x[..., :8])
    flat[flat] = within(x[flat])
    return flat


def _ndim(x: ArrayLike) -> int:
    """Number of dimensions, 2 for nested lists of unequal lengths."""
    try:
        return np.ndim(x)
    except ValueError:
        return 2


def _read_list(
    entries: Sequence[ArrayLike], name: str, min_times: int
) -> list[FloatArray]:
    """Recordings of a list, checked for their shapes."""
    X = [_read_recording(x, i, name) for i, x in enumerate(entries)]
    n_channels = X[0].shape[:1]
    for i, shape in enumerate(x.shape for x in X):
        if len(shape) != 2:
            raise ValueError(
                f"{name} is a list, so each recording has to have the shape "
                f"(n_channels, n_times), but recording {i} has the shape {shape}."
            )
        if shape[:1] != n_channels:
            raise ValueError(
                f"All recordings need the same channels, but {name} has "
                f"{n_channels[0]} channels in recording 0 and {shape[0]} in recording "
                f"{i}. A recording has the shape (n_channels, n_times)."
            )
        if shape[0] == 0 or shape[1] < min_times:
            raise ValueError(
                f"recording {i} of {name} is empty, 0 feature(s): it has the shape "
                f"{shape}, expected (n_channels, n_times) with at least one channel "
                "and one sample. Leave it out."
            )
    return X


def _read_recording(x: ArrayLike, i: int, name: str) -> FloatArray:
    """A recording of any shape as an array of floats."""
    try:
        return check_array(x, dtype=FLOATS, ensure_all_finite=False, **_ANY_SHAPE)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"recording {i} of {name} cannot be read as an array: {error}"
        ) from error


def _read_array(X: Any, name: str) -> FloatArray:
    """Recordings of equal length, or windows, in one array."""
    if isinstance(X, (list, tuple)) and len(set(map(np.shape, X))) > 1:
        raise ValueError(
            f"{name} is a list of unequally long entries that are not 2-D; each "
            "recording has to have the shape (n_channels, n_times), with 1 channel too."
        )
    X = check_array(
        X, dtype=FLOATS, allow_nd=True, ensure_all_finite=False, input_name=name
    )
    if X.ndim > 3 or 0 in X.shape:
        raise ValueError(
            f"{name} has the shape {X.shape}; expected (n_recordings, n_channels, "
            "n_times) or (n_windows, n_times), with at least one channel and at least "
            "one time sample: 0 feature(s), while a minimum of 1 is required."
        )
    return X


def _count_nonfinite(x: FloatArray) -> tuple[int, int]:
    """Number of NaN and of infinite values."""
    # The sum is finite only where every value is, and allocates nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum()):
            return 0, 0
    return int(np.isnan(x).sum()), int(np.isinf(x).sum())

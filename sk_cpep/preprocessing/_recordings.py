"""How the preprocessing steps read recordings, and map a function over them."""

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_array, validate_data

from ._origin import origin_of, with_origin

FLOATS = (np.float64, np.float32)

# Float64 copies are made of one block at a time: 32 MiB each.
BLOCK_SAMPLES = 2**22


def as_recordings(X, *, name="X", estimator=None, reset=True, finite=True):
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

    Returns
    -------
    X : list of ndarrays or ndarray
        float32 and float64 are kept, everything else becomes float64. Windows whose
        origin is known keep it.
    """
    if is_recording_list(X):
        X = _read_list(X, name)
        if estimator is not None:
            validate_data(estimator, X=X[0].T, reset=reset, skip_check_array=True)
    else:
        X = with_origin(_read_array(X, name, estimator, reset), origin_of(X))
    if finite:
        check_finite(X, name)
    return X


def is_recording_list(X):
    """Whether `X` is a sequence of 2-D arrays rather than one array."""
    is_sequence = isinstance(X, (list, tuple)) or (
        isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    )
    return is_sequence and any(np.ndim(x) >= 2 for x in X)


def check_finite(X, name="X"):
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


def map_recordings(func, X, n_jobs=None):
    """Apply `func` to each recording, or to blocks of the rows of an array.

    Parameters
    ----------
    func : callable
        Takes and returns an array of shape (..., n_times). It must treat the
        rows of a 3-D or 2-D array independently of one another.

    X : list of ndarrays or ndarray
        What :func:`as_recordings` returned.

    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    Z : list of ndarrays or ndarray
        As `X`, in the precision of `X`, and of the same origin.
    """
    parallel = Parallel(n_jobs=n_jobs, require="sharedmem")
    if isinstance(X, list):
        return parallel(delayed(_apply)(func, x, np.empty_like(x)) for x in X)
    out = np.empty_like(X)
    rows = max(1, BLOCK_SAMPLES // X[0].size)
    parallel(delayed(_apply)(func, X[s], out[s]) for s in gen_batches(len(X), rows))
    return with_origin(out, origin_of(X))


def _apply(func, x, out):
    out[...] = func(x)
    return out


def _read_list(X, name):
    shapes = [np.shape(x) for x in X]
    for i, shape in enumerate(shapes):
        if len(shape) != 2:
            raise ValueError(
                f"{name} is a list, so each recording has to have the shape "
                f"(n_channels, n_times), but recording {i} has the shape {shape}."
            )
        if shape[0] != shapes[0][0]:
            raise ValueError(
                f"All recordings need the same channels, but {name} has "
                f"{shapes[0][0]} channels in recording 0 and {shape[0]} in recording "
                f"{i}. A recording has the shape (n_channels, n_times)."
            )
    return [
        check_array(x, dtype=FLOATS, ensure_all_finite=False, input_name=f"{name}[{i}]")
        for i, x in enumerate(X)
    ]


def _read_array(X, name, estimator, reset):
    if isinstance(X, (list, tuple)) and len(set(map(np.shape, X))) > 1:
        raise ValueError(
            f"{name} is a list of unequally long entries that are not 2-D; each "
            "recording has to have the shape (n_channels, n_times), with 1 channel too."
        )
    options = dict(dtype=FLOATS, allow_nd=True, ensure_all_finite=False)
    if estimator is None:
        X = check_array(X, input_name=name, **options)
    else:
        X = validate_data(estimator, X=X, reset=reset, **options)
    if X.ndim > 3 or X.shape[-1] == 0:
        raise ValueError(
            f"{name} has the shape {X.shape}; expected (n_recordings, n_channels, "
            "n_times) or (n_windows, n_times), with at least one time sample."
        )
    return X


def _count_nonfinite(x):
    # The sum is finite only where every value is, and allocates nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(x.sum(dtype=np.float64)):
            return 0, 0
    return np.count_nonzero(np.isnan(x)), np.count_nonzero(np.isinf(x))

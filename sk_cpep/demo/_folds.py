"""Every person held out once: folds of people."""

import numpy as np

from .._ids import read_ids


def fold_users(users, n_folds):
    """Divide people into folds, each spread over all of them.

    Parameters
    ----------
    users : array of ids
        Whose recordings there are.

    n_folds : int
        At most as many as there are people.

    Returns
    -------
    folds : list of list of ids
        The people held out in each fold.
    """
    known = np.unique(read_ids(users, "users")).tolist()
    n_folds = min(n_folds, len(known))
    return [known[first::n_folds] for first in range(n_folds)]

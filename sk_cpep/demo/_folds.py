"""Every person held out once: folds of people."""

import numpy as np


def fold_users(users, n_folds):
    """Divide people into folds, each spread over all of them.

    Parameters
    ----------
    users : int array
        Whose recordings there are.

    n_folds : int
        At most as many as there are people.

    Returns
    -------
    folds : list of list of int
        The people held out in each fold.
    """
    known = np.unique(users).tolist()
    n_folds = min(n_folds, len(known))
    return [known[first::n_folds] for first in range(n_folds)]

"""Every person held out once: folds of people, and their records as one."""

import numpy as np

from ..evaluation import summarise_people


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


def merge_records(runs):
    """One record for each method, protocol and gesture set, over all people.

    Parameters
    ----------
    runs : list of list of dict
        The records of each fold, in the same order.

    Returns
    -------
    records : list of dict
    """
    return [merge(list(records)) for records in zip(*runs, strict=True)]


def merge(records):
    """One record of several that differ in the people held out."""
    people = {user: a for r in records for user, a in r["per_user"].items()}
    summary = summarise_people(people)
    confusion = np.sum([r["confusion"] for r in records], axis=0)
    recalls = np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1)
    return records[0] | {
        "macro_accuracy": summary["mean"],
        "pooled_macro_accuracy": float(recalls[confusion.any(axis=1)].mean()),
        **summary,
        "n_train": [r["n_train"] for r in records],
        "n_test": sum(r["n_test"] for r in records),
        "confusion": confusion.tolist(),
        "predictions": [name for r in records for name in r["predictions"]],
    }

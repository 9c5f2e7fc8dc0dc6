"""Encoders that are fitted inside each fold of people, and what they embed there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._ids import read_comparable
from .._typing import Record
from ..zero_shot._encoder import check_aligned, steps_of
from ._encoder_steps import fit_clone, is_fitted, learns_from_poses
from ._folds import GestureFold, people_of_folds, split_gestures, unseen_rows
from ._gesture_windows import GestureWindows
from ._named_recordings import NamedRecordings, read_recordings
from ._named_windows import NamedWindows, read_windows
from ._records import merge_records


class Embedded:
    """Encoder of what an encoder has embedded already, for the protocols.

    It has `transform_pose` if, and only if, the encoder has.

    Parameters
    ----------
    estimator : fitted encoder, callable or None
        Whose embeddings they are.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        if estimator is None or hasattr(steps_of(estimator)[-1], "transform_pose"):
            self.transform_pose = self.transform

    def transform(self, X: Any) -> Any:
        return X


@dataclass
class EmbeddedFold:
    """What an encoder that was fitted to training people makes of everybody.

    Parameters
    ----------
    encoder : Embedded
        Leaves embeddings as they are, and knows whose they are: to be given to a
        protocol together with `train` and `test`.

    train, test : dict of GestureWindows
        Of training people and of people held out, for "in_distribution" and "unseen"
        gestures; a set without a gesture is left out. `X` are embeddings of EMG, of
        shape (n_windows, n_dims), `P` those of poses, or None.

    held_out : list of ids
        The people who are only tested on.
    """

    encoder: Embedded
    train: dict[str, GestureWindows]
    test: dict[str, GestureWindows]
    held_out: list[Any]


def folds_of(
    encoder: Any,
    data: Any,
    cv: Any,
    *,
    unseen: Sequence[Any] = (),
    purity: float = 0.6,
    rest: Any = "auto",
    poses: bool = True,
) -> Iterator[EmbeddedFold]:
    """Fit what is not fitted inside each fold of people, and embed everybody.

    Everything is checked before the first fit. An encoder that is fitted is used as it
    is, and embeds once for all folds; so is what another one holds as FrozenEstimator.

    Parameters
    ----------
    encoder, data, unseen, purity, rest
        As of :func:`linear_probe` with `cv`, where `data` is called `train`.

    cv : int, list of list of ids, or cross-validation splitter
        As of :func:`linear_probe`. Folds are made of windows that are named.

    poses : bool, default=True
        Whether poses are embedded, where there are poses and the encoder embeds them.

    Yields
    ------
    fold : EmbeddedFold

    Raises
    ------
    ValueError
        If data or folds do not fit together; the message says how.
    """
    fitted, unseen = is_fitted(encoder), list(unseen)
    source = _read(encoder, data, purity, rest, fitted, poses)
    unseen_rows(source.y, unseen)
    layout = _lay_out(source, cv, unseen)
    embedded = source.embed(encoder) if fitted else None
    for fold in layout:
        of_fold, everybody = encoder, embedded
        if everybody is None:
            of_fold = fit_clone(encoder, *source.training(fold.held_out, unseen))
            everybody = source.embed(of_fold)
        train, test = (
            {name: everybody.select(rows.X) for name, rows in part.items()}
            for part in (fold.train, fold.test)
        )
        yield EmbeddedFold(Embedded(of_fold), train, test, fold.held_out)


def _read(
    encoder: Any, data: Any, purity: float, rest: Any, fitted: bool, poses: bool
) -> NamedWindows | NamedRecordings:
    """Windows, or recordings, that are learned from and named."""
    names, rates = None, None
    if isinstance(data, Mapping):
        missing = [key for key in ("emg", "labels", "users") if data.get(key) is None]
        if missing:
            raise ValueError(
                f"A Bunch of recordings has emg, labels, users and perhaps pose; here "
                f"{missing[0]} is missing. Give windows as (X, P, y, users)."
            )
        X, P, y, users = (data.get(key) for key in ("emg", "pose", "labels", "users"))
        names, sfreq = data.get("gesture_names"), data.get("sfreq")
        if sfreq is not None and data.get("pose_sfreq") is not None:
            rates = (sfreq, data["pose_sfreq"])
    elif isinstance(data, GestureWindows):
        X, P, y, users = data.X, data.P, data.y, data.users
    elif isinstance(data, tuple) and len(data) in (3, 4):
        X, *P_given, y, users = data
        P = P_given[0] if P_given else None
    else:
        raise ValueError(
            "With cv, the data are (X, P, y, users), GestureWindows or a Bunch of "
            f"recordings; got {type(data).__name__}."
        )
    learns = not fitted and learns_from_poses(encoder)
    if learns and P is None:
        raise ValueError(
            f"{type(steps_of(encoder)[-1]).__name__} learns from poses: give them, as in "
            "(X, P, y, users)."
        )
    embeds = poses and (
        encoder is None or hasattr(steps_of(encoder)[-1], "transform_pose")
    )
    P = P if learns or embeds else None
    if not _are_per_sample(y):
        return read_windows(X, P, y, users, encoder, rest, fitted, embeds)
    return read_recordings(
        (X, P, y, users), encoder, names, rates, purity, rest, learns, embeds
    )


def _are_per_sample(y: Any) -> bool:
    """Whether there are labels per sample of recordings, not one of each window."""
    if hasattr(y, "iloc"):
        y = np.asarray(y)
    is_column = getattr(y, "ndim", 1) == 2 and y.shape[1] == 1
    return len(y) > 0 and np.ndim(y[0]) > 0 and not is_column


def _lay_out(
    source: NamedWindows | NamedRecordings, cv: Any, unseen: Sequence[Any]
) -> list[GestureFold]:
    """The folds, `X` being the numbers of the windows, once they are sound."""
    rows = GestureWindows(np.arange(len(source.y)), None, source.y, source.users)
    folds: list[GestureFold] = []
    tested: set[Any] = set()
    for held_out in people_of_folds(cv, source.users, source.y):
        known, held_out = read_comparable({"users": source.users, "cv": held_out})
        strange = sorted(set(held_out.tolist()) - set(known.tolist()), key=str)
        if strange:
            raise ValueError(f"cv holds out {strange}, who have no window to name.")
        twice = sorted(tested & set(held_out.tolist()), key=str)
        if twice:
            raise ValueError(
                f"cv holds out {twice} in more than one fold: everyone may be held out "
                "once."
            )
        tested |= set(held_out.tolist())
        fold = split_gestures(rows, rows, held_out, unseen)
        for name in fold.test:
            for part, who in ((fold.train, "left"), (fold.test, "held out")):
                if not len(part[name]):
                    raise ValueError(
                        f"In the fold that holds out {fold.held_out}, nobody {who} has "
                        f"a window of {name} gestures. Give other folds."
                    )
        folds.append(fold)
    return folds


def evaluate_in_fold(
    protocol: Callable[..., Any],
    encoder: Any,
    data: Any,
    *,
    cv: Any,
    unseen: Sequence[Any],
    purity: float,
    rest: Any,
    gestures: str,
    two_sets: Mapping[str, Any],
    from_poses: bool = False,
    **options: Any,
) -> Record | list[Record]:
    """Evaluate a protocol over all folds, to records over all people.

    Parameters
    ----------
    protocol : callable
        :func:`linear_probe`, :func:`zero_shot` or one like them.

    encoder, data, cv, unseen, purity, rest
        As of :func:`folds_of`.

    gestures : str
        What the record says of the gestures where none is unseen.

    two_sets : dict
        Parameters that only mean something for two sets that are given; none may be.

    from_poses : bool, default=False
        Whether the protocol learns from poses rather than EMG.

    **options : dict
        Further parameters of the protocol.

    Returns
    -------
    record : dict or list of dict
        With `unseen`, one record for each set of gestures.
    """
    given = [
        name
        for name, value in two_sets.items()
        if value is not None and value is not False
    ]
    if given:
        raise ValueError(
            f"With cv, one set holds everybody's data, and {given[0]} means nothing: "
            "leave it out, or cv."
        )
    if from_poses and encoder is not None:
        check_aligned(encoder)
    runs = []
    folds = folds_of(
        encoder,
        data,
        cv,
        unseen=unseen,
        purity=purity,
        rest=rest,
        poses=from_poses,
    )
    for fold in folds:
        run = []
        for name, train in fold.train.items():
            test = fold.test[name]
            learned = train.P if from_poses else train.X
            record = protocol(
                fold.encoder,
                (learned, train.y, train.users),
                (test.X, test.y, test.users),
                gestures=name if len(unseen) else gestures,
                **options,
            )
            run.append(record)
        runs.append(run)
    records = merge_records(runs)
    return records if len(unseen) else records[0]


def check_two_sets(test: Any, unseen: Sequence[Any], rest: Any) -> None:
    """Refuse what only `cv` gives a meaning to, where two sets are needed."""
    if test is None:
        raise ValueError(
            "Give `test`, the windows of other people than in the first set; or cv, for "
            "everyone to be held out once."
        )
    if len(unseen) or not (isinstance(rest, str) and rest == "auto"):
        raise ValueError(
            "unseen and rest say what is fitted and named in each fold, and need cv. "
            "With two sets that are given, leave the windows out of them."
        )

"""Methods that are compared: fitted inside each fold of people, then evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from .._typing import RandomStateLike
from ._classifiers import Candidates, softmax_candidates
from ._encoder_steps import fit_clone
from ._folds import (
    GESTURE_SETS,
    GestureFold,
    people_of_folds,
    split_gestures,
    unseen_rows,
)
from ._generalised import generalised_zero_shot
from ._gesture_windows import GestureWindows
from ._label_efficiency import Draws, draw_people, feasible, probe_by_people
from ._protocols import fits_of, linear_probe, supervised, zero_shot
from ._records import merge_records

Embed = Callable[[Mapping[str, Any], GestureWindows], Any]
# Embeddings, gestures and people.
Embedded = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Method:
    """What a method embeds, for each protocol.

    Functions are of the fitted estimators, by name, and of windows, to embeddings of
    shape (n_windows, n_dims).

    Parameters
    ----------
    probe : callable, default=None
        What the linear probe reads. None leaves this protocol out.

    query, gallery : callable, default=None
        What is looked up in zero-shot classification, and where. None leaves it out.

    classifier : classifier, default=None
        Not fitted; of EMG windows, trained on all labels. None leaves it out.
    """

    probe: Embed | None = None
    query: Embed | None = None
    gallery: Embed | None = None
    classifier: Any = None


def fit_estimators(
    estimators: Mapping[str, Any],
    pretrain: GestureWindows,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fit estimators to the windows of training people.

    Parameters
    ----------
    estimators : dict
        By name, in the order in which they are fitted: an estimator that is not
        fitted, of which a clone is fitted to ``(X, P)``, or to ``X`` if it needs no
        target; or a function of the windows, and of what has been fitted before it,
        to a fitted estimator.

    pretrain : GestureWindows

    say : callable
        Called with each name before it is fitted. By default nobody is told.

    Returns
    -------
    fitted : dict

    Raises
    ------
    ValueError
        If an estimator is fitted already: it may have seen people held out.
    """
    fitted: dict[str, Any] = {}
    for name, estimator in estimators.items():
        say(name)
        if isinstance(estimator, BaseEstimator):
            fitted[name] = _fit_clone(name, estimator, pretrain)
        else:
            fitted[name] = estimator(pretrain, fitted)
    return fitted


def _fit_clone(name: str, estimator: Any, windows: GestureWindows) -> Any:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        pass
    else:
        raise ValueError(
            f"{name} is fitted already, perhaps to people who are held out here: give "
            "an estimator that is not, which is fitted inside each fold. (To evaluate a "
            "fitted one, see linear_probe and zero_shot.)"
        )
    for parameter, value in estimator.get_params().items():
        if isinstance(value, FrozenEstimator):
            raise ValueError(
                f"{name} has {parameter}, which is fitted already, perhaps to people "
                "who are held out here: give an estimator that is not, or a function "
                "that fits it to the windows that it is given."
            )
    return fit_clone(estimator, windows.X, windows.P)


def evaluate_methods(
    fold: GestureFold,
    fitted: Mapping[str, Any],
    methods: Mapping[str, Method],
    *,
    C: float | str = "auto",
    n_neighbors: int = 10,
    n_people: Sequence[Any] = ("all",),
    n_draws: int = 10,
    classifiers: Candidates | None = None,
    galleries: Mapping[str, GestureWindows] | None = None,
    seen_penalties: Sequence[float] = (),
    random_state: RandomStateLike = 0,
) -> list[dict[str, Any]]:
    """Evaluate methods on the people held out of a fold.

    Parameters
    ----------
    fold : GestureFold

    fitted : dict
        Estimators that were fitted to ``fold.pretrain``; see :func:`fit_estimators`.

    methods : dict of Method

    C : float or "auto", default="auto"
        Inverse strength of the penalty of every linear probe; see :func:`linear_probe`.

    n_neighbors : int, default=10
        Poses that vote in zero-shot classification.

    n_people : sequence of int and "all", default=("all",)
        Of how many training people the labels are, in the linear probe.

    n_draws, random_state : default=10 and 0
        How often as many people are drawn, the same ones for every method, and by
        which random numbers; see :func:`label_efficiency`.

    classifiers : dict of classifiers, default=None
        Candidates of the probe, chosen for each method by itself, such as
        :func:`linear_classifiers`. None are softmax layers, by `C`.

    galleries : dict of GestureWindows, default=None
        Windows whose poses zero-shot queries are looked up among, by gesture set. None
        are those of training people, ``fold.train``.

    seen_penalties : sequence of float, default=()
        For each, zero-shot is evaluated with seen and unseen gestures in one gallery
        too; see :func:`generalised_zero_shot`. There must be both.

    Returns
    -------
    records : list of dict
        As of :func:`linear_probe`, :func:`label_efficiency` and :func:`zero_shot`, for
        each set of gestures, method and number of people; ``fits`` has the digests of
        all estimators' identities.
    """
    _check_both(seen_penalties, fold.test)
    sets = {"train": fold.train, "test": fold.test, "gallery": galleries or fold.train}

    @cache  # methods may share a gallery, or what they read
    def embedded(embed: Embed, part: str, gestures: str) -> Embedded:
        windows = sets[part][gestures]
        return embed(fitted, windows), windows.y, windows.users

    records: list[dict[str, Any]] = []
    for gestures in fold.test:
        users = fold.train[gestures].users
        draws = draw_people(users, n_people, n_draws, random_state)
        for name, method in methods.items():
            common: dict[str, Any] = {"method": name, "gestures": gestures}
            if method.probe is not None:
                train = embedded(method.probe, "train", gestures)
                test = embedded(method.probe, "test", gestures)
                found = _probes(train, test, draws, C, classifiers)
                records += [common | record for record in found]
            if method.classifier is not None:
                both = (fold.train[gestures], fold.test[gestures])
                windows = ((w.X, w.y, w.users) for w in both)
                records.append(supervised(method.classifier, *windows, **common))
            if method.query is not None and method.gallery is not None:
                poses = embedded(method.gallery, "gallery", gestures)
                queries = embedded(method.query, "test", gestures)
                records.append(
                    zero_shot(None, poses, queries, n_neighbors=n_neighbors, **common)
                )
    for name, method in methods.items():
        is_zero_shot = method.query is not None and method.gallery is not None
        if is_zero_shot and len(seen_penalties):
            poses, queries = (
                _joined([embedded(embed, part, g) for g in GESTURE_SETS])
                for embed, part in ((method.gallery, "gallery"), (method.query, "test"))
            )
            seen = np.unique(fold.train["in_distribution"].y)
            for penalty in seen_penalties:
                records += generalised_zero_shot(
                    None,
                    poses,
                    queries,
                    seen=seen,
                    n_neighbors=n_neighbors,
                    seen_penalty=penalty,
                    method=name,
                )
    fits = fits_of({name: _last_step(e) for name, e in fitted.items()})
    return [fits | record for record in records]


def _check_both(seen_penalties: Sequence[float], sets: Mapping[str, Any]) -> None:
    """Refuse one gallery of seen and unseen gestures where there are not both."""
    missing = [name for name in GESTURE_SETS if name not in sets]
    if len(seen_penalties) and missing:
        raise ValueError(
            "seen_penalties need windows of seen and of unseen gestures; there are none "
            f"of {', '.join(missing)}. Name some as `unseen`, or leave them out."
        )


def _probes(
    train: Embedded,
    test: Embedded,
    draws: Draws,
    C: float | str,
    classifiers: Candidates | None,
) -> list[dict[str, Any]]:
    """Linear probes by the number of people, without `method` and `gestures`."""
    records: list[dict[str, Any]] = []
    for n, people in draws.items():
        if n == "all":
            found = linear_probe(None, train, test, C=C, classifiers=classifiers)
            names = ("method", "gestures")
            records.append({k: v for k, v in found.items() if k not in names})
        else:
            candidates = classifiers or softmax_candidates(C)
            records += probe_by_people(train, test, {n: people}, candidates)
    return records


def _joined(sets: Sequence[Embedded]) -> tuple[Any, ...]:
    """Sets of (Z, y, users) as one."""
    return tuple(np.concatenate(parts) for parts in zip(*sets))


def cross_validate_gestures(
    estimators: Any,
    X: Any,
    P: Any,
    y: Any,
    users: Any,
    *,
    cv: Any = 5,
    unseen: Sequence[Any] = (),
    pretrain: Any = None,
    named: Any = None,
    methods: Mapping[str, Method] | None = None,
    C: float | str = "auto",
    n_neighbors: int = 10,
    n_people: Sequence[Any] = ("all",),
    n_draws: int = 10,
    classifiers: Candidates | None = None,
    seen_penalties: Sequence[float] = (),
    random_state: RandomStateLike = 0,
) -> list[dict[str, Any]]:
    """Evaluate estimators by linear probe and zero-shot, every person held out once.

    In each fold, estimators are fitted to the windows of the training people only,
    without unseen gestures. A probe then learns the names of gestures from training
    people; zero-shot looks poses of training people up.

    Parameters
    ----------
    estimators : estimator or dict
        Not fitted, such as a :class:`~sk_cpep.CPEP`, or a pipeline that ends with one;
        several by name, as of :func:`fit_estimators`.

    X : array-like of shape (n_windows, n_channels, n_times)
        EMG windows.

    P : array-like of shape (n_windows, n_joints, n_pose_times)
        Their pose windows.

    y, users : array-like of shape (n_windows,)
        Gesture and person of each window.

    cv : int, list of list of ids, or cross-validation splitter, default=5
        Into how many folds people are divided, the people of each fold, or a splitter
        that is given `users` as groups.

    unseen : sequence, default=()
        Gestures that no estimator is fitted to. They are evaluated apart, with names
        or poses of training people.

    pretrain, named : bool array-like of shape (n_windows,), default=None
        Which windows estimators are fitted to, and which are named. None is all.

    methods : dict of Method, default=None
        What is evaluated. None is every estimator: a probe on its ``transform``, and
        zero-shot if it has ``transform_pose``.

    C, n_neighbors, n_people, n_draws, classifiers, seen_penalties, random_state
        As of :func:`evaluate_methods`.

    Returns
    -------
    records : list of dict
        One for each method, protocol and set of gestures, over all people, as of
        :func:`merge_records`; for :func:`format_markdown`, :func:`to_frame`,
        :func:`paired_difference` and the displays.

    Raises
    ------
    ValueError
        If an estimator is fitted already, a fold would share people, a single gesture
        is unseen, or none is where there are `seen_penalties`.

    See Also
    --------
    linear_probe, zero_shot : One protocol at a time, of recordings too, and for encoders
        that are fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import CPEP, MAE
    >>> from sk_cpep.evaluation import cross_validate_gestures
    >>> rng = np.random.default_rng(0)
    >>> users, y = np.repeat([0, 1], 16), np.tile(["fist", "ok"], 16)
    >>> X = rng.normal(size=(32, 4, 40)) + 2 * (y == "ok")[:, None, None]
    >>> P = rng.normal(size=(32, 3, 20)) + 2 * (y == "ok")[:, None, None]
    >>> mae = MAE(10, d_model=16, n_layers=1, n_decoder_layers=1, max_epochs=1)
    >>> cpep = CPEP(mae, mae, max_epochs=1, random_state=0)
    >>> records = cross_validate_gestures(cpep, X, P, y, users, cv=2)
    >>> [(r["method"], r["protocol"], r["n_users"]) for r in records]
    [('CPEP', 'linear_probe', 2), ('CPEP', 'zero_shot', 2)]
    """
    if isinstance(estimators, BaseEstimator):
        estimators = {_name_of(estimators): estimators}
    X, P = (a if hasattr(a, "shape") else np.asarray(a) for a in (X, P))
    windows = GestureWindows(X, P, np.asarray(y), np.asarray(users))
    check_consistent_length(*(np.empty(len(a)) for a in (X, P, y, users)))
    is_seen = ~unseen_rows(windows.y, unseen)
    pretraining = windows.select(np.flatnonzero(is_seen & _mask(pretrain, len(y))))
    to_name = windows.select(np.flatnonzero(_mask(named, len(y))))
    runs, folds = [], people_of_folds(cv, windows.users, windows.y)
    if classifiers is None:
        softmax_candidates(C)  # refuses a wrong C before any fit
    is_new = np.isin(to_name.y, list(unseen))
    sets = dict(zip(GESTURE_SETS, (~is_new, is_new)))
    present = {name: to_name.users[rows] for name, rows in sets.items() if rows.any()}
    _check_both(seen_penalties, present)
    for known in present.values():
        n_people = feasible(n_people, known, folds)
    for held_out in folds:
        fold = split_gestures(pretraining, to_name, held_out, unseen)
        fitted = fit_estimators(estimators, fold.pretrain)
        chosen = {name: _default_method(name, e) for name, e in fitted.items()}
        runs.append(
            evaluate_methods(
                fold,
                fitted,
                methods or chosen,
                C=C,
                n_neighbors=n_neighbors,
                n_people=n_people,
                n_draws=n_draws,
                classifiers=classifiers,
                seen_penalties=seen_penalties,
                random_state=random_state,
            )
        )
    return merge_records(runs)


def _mask(rows: Any, n: int) -> Any:
    return np.ones(n, bool) if rows is None else np.asarray(rows, dtype=bool)


def _name_of(estimator: Any) -> str:
    """The name of a class; of a pipeline, that of its last step."""
    return type(_last_step(estimator)).__name__


def _last_step(estimator: Any) -> Any:
    """The last step of a pipeline; of anything else, itself."""
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    return estimator


def _default_method(name: str, estimator: Any) -> Method:
    """A probe on what it makes of EMG, and zero-shot where it embeds poses too."""

    def of_emg(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        return fitted[name].transform(windows.X)

    def of_pose(fitted: Mapping[str, Any], windows: GestureWindows) -> Any:
        return _last_step(fitted[name]).transform_pose(windows.P)

    if not hasattr(_last_step(estimator), "transform_pose"):
        return Method(probe=of_emg)
    return Method(probe=of_emg, query=of_emg, gallery=of_pose)

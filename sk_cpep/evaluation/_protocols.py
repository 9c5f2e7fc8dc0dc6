"""Linear probe and zero-shot evaluation, each to a plain record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from .._ids import read_ids
from .._typing import AnyArray, Float64Array, Record
from ..zero_shot import ZeroShotClassifier, predict_excluding
from ._classifiers import (
    Candidates,
    choose_classifier,
    fit_predict,
    softmax_candidates,
)
from ._guard import check_disjoint, check_exclusion
from ._in_fold import Embedded, check_two_sets, evaluate_in_fold
from ._metrics import (
    average_recalls,
    macro_accuracy,
    per_user_accuracy,
    per_user_recall,
    read_gestures,
)

_GESTURES = ("in_distribution", "unseen")


def linear_probe(
    encoder: Any,
    train: Any,
    test: Any = None,
    *,
    cv: Any = None,
    unseen: Sequence[Any] = (),
    purity: float = 0.6,
    rest: Any = "auto",
    C: float | str = "auto",
    max_iter: int = 2000,
    classifiers: Candidates | None = None,
    method: str | None = None,
    gestures: Any = "in_distribution",
    train_windows: Any = None,
    test_windows: Any = None,
    allow_shared_users: bool = False,
) -> Any:
    """Evaluate frozen embeddings by a linear classifier on top of them.

    The embeddings are standardised on the training windows and read by a softmax
    layer, :class:`~sklearn.linear_model.LogisticRegression`, in which every gesture
    counts the same, as in macro accuracy. An encoder that is fitted is used as it is;
    with `cv`, one that is not is fitted inside each fold of people.

    Parameters
    ----------
    encoder : transformer, callable or None
        What turns windows into embeddings (n_windows, n_dims): an object with
        ``transform``, a function such as ``cpep.transform_pose``, or None where
        `train` and `test` hold embeddings already. Fitted, or not fitted with `cv`; see
        Notes.

    train : tuple (X, y, users)
        Windows of shape (n_train, n_channels, n_times) or embeddings of shape
        (n_train, n_dims); gestures and people, both of shape (n_train,).

        With `cv`, the data of everybody: such a tuple; (X, P, y, users) with the poses
        for encoders that learn from them; :class:`GestureWindows`; the same of
        recordings, or a Bunch of them, as the datasets are loaded. Recordings are lists
        of arrays, (n_channels, n_times_i) of EMG, (n_joints, n_pose_times_i) of pose
        and (n_times_i,) of labels, one for each sample of the EMG, with one person for
        each; the encoder is a pipeline with a :class:`~sk_cpep.Windower` (and a
        :class:`~sk_cpep.CPEP` with a `pose_transformer`), by which they are cut.

    test : tuple (X, y, users), default=None
        The same of people that are not in `train`. None with `cv`.

    cv : int, list of list of ids, or cross-validation splitter, default=None
        Into how many folds people are divided, the people held out in each, or a
        splitter that is given the people as groups. None takes `test`.

    unseen : sequence, default=()
        With `cv`, gestures that no encoder is fitted to: none, or two and more. They
        are evaluated apart; the probe learns their names from training people.

    purity : float, default=0.6
        With `cv` and recordings, smallest share of a window that is to be named that
        one gesture holds.

    rest : label or None, default="auto"
        With `cv`, the label whose windows encoders are fitted to, but which is not
        named. "auto" is, for recordings, 0 or "rest" (the first of a Bunch's
        `gesture_names`), if there is such a label, and None for windows. None names
        all.

    C : float or "auto", default="auto"
        Inverse strength of the L2 penalty. "auto" takes, of 0.001, 0.01, 0.1 and 1,
        the one with which training people who are left out, a third at a time, are
        named best; 1 with one training person. ``settings["C"]`` is the one taken.

    max_iter : int, default=2000
        Maximum number of L-BFGS iterations; a ConvergenceWarning tells if it was
        too few.

    classifiers : dict of classifiers, default=None
        Given, candidates in the place of the softmax layer, not fitted, by name; `C`
        and `max_iter` are not used. One is chosen as the penalty is, and its name is
        ``settings["classifier"]``. See :func:`linear_classifiers`.

    method : str, default=None
        Name of what is evaluated, by default that of the encoder's class.

    gestures : {"in_distribution", "unseen"}, default="in_distribution"
        Whether the encoder was pre-trained on these gestures. Only recorded. With
        `unseen`, the sets of gestures tell.

    train_windows, test_windows : default=None
        Where the windows lie in the recordings; see :func:`check_disjoint`.

    allow_shared_users : bool, default=False
        Let people be in both sets; see :func:`check_disjoint`.

    Returns
    -------
    record : dict
        Ready for json:

        - ``method``, ``protocol`` ("linear_probe" or "zero_shot"), ``gestures``,
          ``settings`` (of the protocol); ``fits``, the digest of the encoder's
          `fit_identity_`, if it has one;
        - ``macro_accuracy``: mean over people of each one's macro accuracy, the
          number to report, also under ``mean``; beside it ``sd``, ``interval``,
          ``per_user``, ``percentile_10``, ``worst``, ``worst_user`` and ``n_users``
          as in :func:`per_user_accuracy`;
        - ``pooled_macro_accuracy``: over all test windows as if of one person;
        - ``per_class_recall``: by gesture, mean over the people who have it, see
          :func:`per_class_recall`; ``per_user_recall``: by person, then by gesture;
        - ``chance``: 1 / ``n_classes``, the gestures that can be predicted;
        - ``n_train``, ``n_test``: numbers of windows;
        - ``classes``: the gestures; ``confusion``: their confusion matrix, true
          ones down, predicted ones across; ``predictions``: of each test window.

        With `cv`, it is over the people of all folds, as of :func:`merge_records`; with
        `unseen` too, there is a list of two, "in_distribution" and "unseen".

    Raises
    ------
    ValueError
        If the sets share people or samples, if people or gestures are missing, or
        text in one set and numbers in the other, or if `test` has a gesture that
        `train` lacks; with `cv`, if data and folds do not fit together.

    See Also
    --------
    zero_shot : Evaluation without any EMG labels.
    cross_validate_gestures : Several estimators and both protocols at once.

    Notes
    -----
    With `cv`, a clone of an encoder that is not fitted is fitted to training people
    only, in each fold. What is fitted already, the encoder itself or what it holds as
    :class:`~sklearn.frozen.FrozenEstimator`, is used as it is: it must never have seen
    any of these people, nor the `unseen` gestures, which cannot be checked here.

    A window counts as its label says: one of a seen gesture is fitted to, though some
    of its samples may be of an unseen one. Of recordings, the stretches without a
    sample of an unseen gesture are fitted to, each as a recording of its own, if it is
    as long as a window; EMG and pose are cut at the same moments. A filter sees an end
    at either side of them, where it sees none in the whole recordings whose windows are
    then named: see `n_ringing_` of :class:`~sk_cpep.BandpassNotch` for how far that
    reaches.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import linear_probe
    >>> Z, y = np.repeat(np.eye(2), 4, axis=0), np.repeat(["fist", "ok"], 4)
    >>> record = linear_probe(None, (Z, y, ["anna"] * 8), (Z, y, ["ben"] * 8))
    >>> record["macro_accuracy"], record["chance"]
    (1.0, 0.5)

    Recordings of two people, and a scaler that is fitted inside each fold:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer, StandardScaler
    >>> from sk_cpep import Windower
    >>> labels = np.repeat(["rest", "fist", "rest", "ok"], 40)
    >>> emg = np.stack([labels == "fist", labels == "ok"]) + 0.1
    >>> encoder = make_pipeline(
    ...     Windower(20), FunctionTransformer(lambda X: X.mean(axis=2)), StandardScaler()
    ... )
    >>> people = ([emg, 2 * emg], [labels, labels], ["anna", "ben"])
    >>> linear_probe(encoder, people, cv=2)["per_user"]
    {'anna': 1.0, 'ben': 1.0}
    """
    if cv is not None:
        if classifiers is None:
            softmax_candidates(C, max_iter)  # refuses a wrong C before any fit
        return evaluate_in_fold(
            linear_probe,
            encoder,
            train,
            cv=cv,
            unseen=unseen,
            purity=purity,
            rest=rest,
            gestures=gestures,
            two_sets={
                "test": test,
                "train_windows": train_windows,
                "test_windows": test_windows,
                "allow_shared_users": allow_shared_users,
            },
            C=C,
            max_iter=max_iter,
            classifiers=classifiers,
            method=method,
        )
    check_two_sets(test, unseen, rest)
    header = record_header(encoder, method, "linear_probe", gestures, {})
    (X, y, users), (X_test, y_test, users_test) = train, test
    check_disjoint(
        users,
        users_test,
        windows_train=train_windows,
        windows_test=test_windows,
        allow_shared_users=allow_shared_users,
    )
    y, y_test, classes = check_classes(y, y_test)
    Z = embeddings(encoder, X, y, "train")
    Z_test = embeddings(encoder, X_test, y_test, "test")
    probe, header["settings"] = _choose_probe(C, max_iter, classifiers, Z, y, users)
    y_pred = fit_predict(probe, Z, y, Z_test)
    return header | score(classes, y_test, y_pred, users_test, users, len(y))


def _choose_probe(
    C: Any,
    max_iter: int,
    classifiers: Candidates | None,
    Z: Float64Array,
    y: AnyArray,
    users: ArrayLike,
) -> tuple[Any, Record]:
    """The classifier that is fitted, and the settings of the record."""
    known = read_ids(users, "users")
    candidates = classifiers or softmax_candidates(C, max_iter)
    chosen, _ = choose_classifier(candidates, Z, y, known)
    probe = candidates[chosen]
    if classifiers is not None:
        return probe, {"classifier": chosen}
    return probe, {"C": probe[-1].C, "max_iter": max_iter}


def zero_shot(
    encoder: Any,
    gallery: Any,
    test: Any = None,
    *,
    cv: Any = None,
    unseen: Sequence[Any] = (),
    purity: float = 0.6,
    rest: Any = "auto",
    n_neighbors: int = 10,
    batch_size: int | None = None,
    method: str | None = None,
    gestures: Any = "in_distribution",
    gallery_windows: Any = None,
    test_windows: Any = None,
    allow_shared_users: bool = False,
    exclude: tuple[ArrayLike, ArrayLike] | None = None,
) -> Any:
    """Evaluate how well EMG windows are named by the nearest poses.

    Parameters
    ----------
    encoder : encoder or None
        A :class:`~sk_cpep.CPEP` or whatever else
        :class:`~sk_cpep.ZeroShotClassifier` takes, or None where `gallery` and
        `test` hold embeddings already. Fitted, or not fitted with `cv`; see the notes
        of :func:`linear_probe`.

    gallery : tuple (P, y, users)
        Poses of shape (n_gallery, n_joints, n_pose_times) or pose embeddings of
        shape (n_gallery, n_dims); gestures and people, both of shape (n_gallery,).

        With `cv`, EMG and poses of everybody, windows or recordings: (X, P, y, users),
        GestureWindows or a Bunch, as of :func:`linear_probe`. The poses of training
        people are the gallery.

    test : tuple (X, y, users), default=None
        EMG windows of shape (n_test, n_channels, n_times) or their embeddings of
        shape (n_test, n_dims), gestures and people. As the people differ from
        those in the gallery, no query can meet the pose it was recorded with. None
        with `cv`.

    cv, unseen, purity, rest
        As of :func:`linear_probe`. Unseen gestures have a gallery of their own; see
        :func:`generalised_zero_shot` for one of all.

    n_neighbors : int, default=10
        Number of poses that vote.

    batch_size : int, default=None
        Number of queries compared at once; see
        :class:`~sk_cpep.ZeroShotClassifier`.

    method : str, default=None
        Name of what is evaluated, by default that of the encoder's class.

    gestures : {"in_distribution", "unseen"}, default="in_distribution"
        Whether the encoder was pre-trained on these gestures. Only recorded. With
        `unseen`, the sets of gestures tell.

    gallery_windows, test_windows : default=None
        Where the windows lie in the recordings; see :func:`check_disjoint`. Give
        them with `allow_shared_users`: they keep a query from its own pose.

    allow_shared_users : bool, default=False
        Let people be in both sets; see :func:`check_disjoint`.

    exclude : tuple (gallery_groups, test_groups), default=None
        Groups, such as recordings, of shapes (n_gallery,) and (n_test,). A query is
        compared with the `n_neighbors` nearest poses that are not of its own group,
        so that the gallery may hold the recordings of the queries. With the windows
        of both sets, it is checked that no recording is in two groups. See
        :func:`zero_shot_gallery`, which makes the groups for emg2pose.

    Returns
    -------
    record : dict
        As of :func:`linear_probe`; ``n_train`` is the size of the gallery. With `cv`
        and `unseen`, a list of two.

    Raises
    ------
    ValueError
        If the sets share people or samples, if people or gestures are missing, or
        text in one set and numbers in the other, or if `test` has a gesture that
        `gallery` lacks; with `cv`, if data and folds do not fit together.

    TypeError
        If the encoder does not embed both EMG and poses.

    See Also
    --------
    linear_probe : Evaluation by a classifier trained on EMG labels.
    zero_shot_gallery : Galleries of emg2pose.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep.evaluation import zero_shot
    >>> Z, y = np.repeat(np.eye(2), 4, axis=0), np.repeat(["fist", "ok"], 4)
    >>> gallery, test = (Z, y, ["anna"] * 8), (Z, y, ["ben"] * 8)
    >>> zero_shot(None, gallery, test, n_neighbors=4)["macro_accuracy"]
    1.0
    """
    if cv is not None:
        return evaluate_in_fold(
            zero_shot,
            encoder,
            gallery,
            cv=cv,
            unseen=unseen,
            purity=purity,
            rest=rest,
            gestures=gestures,
            two_sets={
                "test": test,
                "gallery_windows": gallery_windows,
                "test_windows": test_windows,
                "allow_shared_users": allow_shared_users,
                "exclude": exclude,
            },
            from_poses=True,
            n_neighbors=n_neighbors,
            batch_size=batch_size,
            method=method,
        )
    check_two_sets(test, unseen, rest)
    settings = {"n_neighbors": n_neighbors}
    header = record_header(encoder, method, "zero_shot", gestures, settings)
    (P, y, users), (X_test, y_test, users_test) = gallery, test
    check_disjoint(
        users,
        users_test,
        windows_train=gallery_windows if exclude is None else None,
        windows_test=test_windows if exclude is None else None,
        allow_shared_users=allow_shared_users,
    )
    if exclude is not None:
        settings["exclude"] = True
        exclude = check_exclusion(
            exclude, (users, gallery_windows), (users_test, test_windows)
        )
    y, y_test, classes = check_classes(y, y_test)
    classifier = ZeroShotClassifier(
        Precomputed() if encoder is None else encoder,
        n_neighbors,
        batch_size=batch_size,
    )
    classifier.fit(P, y)
    if exclude is None:
        y_pred = classifier.predict(X_test)
    else:
        y_pred = predict_excluding(classifier, X_test, *exclude)
    found = score(classes, y_test, y_pred, users_test, users, len(y))
    return header | found | {"n_people": 0, "n_labelled": 0}


def supervised(
    classifier: Any,
    train: Any,
    test: Any,
    *,
    method: str | None = None,
    gestures: Any = "in_distribution",
) -> Record:
    """Evaluate a classifier of windows that is trained on labels from end to end.

    Parameters
    ----------
    classifier : classifier
        Such as :class:`~sk_cpep.encoders.EncoderClassifier`. A clone is fitted to
        `train`, with the people as ``groups`` if its ``fit`` takes them.

    train, test : tuple (X, y, users)
        Windows, gestures and people; nobody is in both.

    method : str, default=None
        Name of what is evaluated, by default that of the class.

    gestures : {"in_distribution", "unseen"}, default="in_distribution"
        Which gestures these are. Only recorded.

    Returns
    -------
    record : dict
        As of :func:`linear_probe`, with ``protocol`` "supervised".

    Raises
    ------
    ValueError
        If the sets share people, or `test` has a gesture that `train` lacks.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sk_cpep.evaluation import supervised
    >>> X, y = np.repeat(np.eye(2), 4, axis=0), np.repeat(["fist", "ok"], 4)
    >>> train, test = (X, y, ["anna"] * 8), (X, y, ["ben"] * 8)
    >>> supervised(KNeighborsClassifier(1), train, test)["mean"]
    1.0
    """
    (X, y, users), (X_test, y_test, users_test) = train, test
    check_disjoint(users, users_test)
    y, y_test, classes = check_classes(y, y_test)
    groups = {"groups": users} if has_fit_parameter(classifier, "groups") else {}
    fitted = clone(classifier).fit(X, y, **groups)
    y_pred = fitted.predict(X_test)
    header = record_header(fitted, method, "supervised", gestures, {})
    return header | score(classes, y_test, y_pred, users_test, users, len(y))


class Precomputed:
    """Encoder of what is embedded already."""

    def transform(self, X: Any) -> Any:
        return X

    transform_pose = transform


def embeddings(encoder: Any, X: Any, y: AnyArray, name: str) -> Float64Array:
    """Embeddings (n, d) in float64, one for each label; `name` is for messages."""
    if encoder is not None:
        X = encoder.transform(X) if hasattr(encoder, "transform") else encoder(X)
    Z = np.asarray(X, dtype=np.float64)
    if Z.ndim != 2 or len(Z) != len(y):
        raise ValueError(
            f"Embeddings of `{name}` must be of shape ({len(y)}, n_dims), one row per "
            f"label; got {Z.shape}. Windows need an encoder."
        )
    return Z


def check_classes(
    y_train: ArrayLike, y_test: ArrayLike
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Gestures of both sets, and those that can be predicted: all of the test's."""
    y_train, y_test = read_gestures(
        {"y of the windows to learn from": y_train, "y of the test windows": y_test}
    )
    classes = np.unique(y_train)
    strange = [str(c) for c in np.unique(y_test) if c not in classes]
    if strange:
        raise ValueError(
            f"The test set has gestures that were never given a name to learn from: "
            f"{', '.join(strange)}. Add them to the training set or gallery, or leave "
            "them out of the test."
        )
    return y_train, y_test, classes


def record_header(
    encoder: Any, method: str | None, protocol: str, gestures: Any, settings: Record
) -> Record:
    """Begin a record: what was evaluated, and how."""
    if gestures not in _GESTURES:
        raise ValueError(f"gestures must be one of {_GESTURES}, got {gestures!r}.")
    owner = _embedder(encoder)
    name = "precomputed" if owner is None else getattr(owner, "__name__", None)
    header = {
        "method": str(method or name or type(owner).__name__),
        "protocol": protocol,
        "gestures": gestures,
        "settings": settings,
    }
    return header | fits_of({header["method"]: owner})


def _embedder(encoder: Any) -> Any:
    """What embeds, behind FrozenEstimator, Pipeline and bound methods."""
    if isinstance(encoder, (FrozenEstimator, Embedded)):
        return _embedder(encoder.estimator)
    if isinstance(encoder, Pipeline):
        return _embedder(encoder.steps[-1][1])
    return getattr(encoder, "__self__", encoder)


def fits_of_encoder(name: str, encoder: Any) -> Record:
    """Which fit a record of an encoder, a bound method or None is of, if known."""
    return fits_of({name: _embedder(encoder)})


def fits_of(fitted: Mapping[str, Any]) -> Record:
    """Which fits a record is of: the digests of their identities, by name, if known."""
    fits = {
        name: estimator.fit_identity_.digest
        for name, estimator in fitted.items()
        if hasattr(estimator, "fit_identity_")
    }
    return {"fits": fits} if fits else {}


def score(
    classes: AnyArray,
    y_true: AnyArray,
    y_pred: AnyArray,
    users: ArrayLike,
    users_train: ArrayLike,
    n_train: int,
) -> Record:
    """Complete a record: how good, for whom, against which chance."""
    people = per_user_accuracy(y_true, y_pred, users)
    recalls = per_user_recall(y_true, y_pred, users)
    return {
        "macro_accuracy": people["mean"],
        "pooled_macro_accuracy": macro_accuracy(y_true, y_pred),
        **people,
        "per_class_recall": average_recalls(recalls),
        "per_user_recall": recalls,
        "chance": 1 / len(classes),
        "n_people": "all",
        "n_labelled": len(np.unique(read_ids(users_train, "users"))),
        "n_train": n_train,
        "n_test": len(y_pred),
        "n_classes": len(classes),
        "classes": classes.tolist(),
        "confusion": confusion_matrix(y_true, y_pred, labels=classes).tolist(),
        "predictions": y_pred.tolist(),
    }

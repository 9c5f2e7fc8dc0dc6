"""The demo itself: pre-train, align, evaluate on people held out."""

from copy import copy
from dataclasses import dataclass

import numpy as np
from sklearn.frozen import FrozenEstimator

from .._ids import read_alike, read_ids
from ..encoders import CPEP, MAE
from ..evaluation import linear_probe, zero_shot
from ..zero_shot import ZeroShotClassifier
from ._windows import begins_in_rest, cut, label_share, prepare

GESTURE_SETS = ("in_distribution", "unseen")


@dataclass
class DemoData:
    """The windows of each stage.

    Parameters
    ----------
    pretraining : WindowSet
        Training people, movement, not a sample of an unseen gesture.

    train, test : dict of WindowSet
        Windows of one gesture each, of training people and of people held out, for
        "in_distribution" and "unseen" gestures.

    test_users : list of int
        People held out.
    """

    pretraining: object
    train: dict
    test: dict
    test_users: list


@dataclass
class DemoResult:
    """What the demo has made.

    Parameters
    ----------
    records : list of dict
        One per method, protocol and gesture set.

    emg_mae, pose_mae : MAE
    cpep : CPEP
    zero_shot : dict of ZeroShotClassifier
        One per gesture set, its gallery the training people's poses.
    """

    records: list
    emg_mae: object
    pose_mae: object
    cpep: object
    zero_shot: dict


def make_demo_data(recordings, config, test_users=None):
    """Windows of every stage.

    Parameters
    ----------
    recordings : Bunch
        As of :func:`~sk_cpep.datasets.make_gesture_recordings`.

    config : DemoConfig

    test_users : sequence of int, default=None
        People held out. None is the last `config.n_test_users`, or half of the
        people where they are few.

    Returns
    -------
    data : DemoData
    """
    held_out = choose_test_users(recordings.users, config, test_users)
    return split_people(*cut_demo_windows(recordings, config), config, held_out)


def cut_demo_windows(recordings, config):
    """Windows of everyone: those to pre-train on, and those to name."""
    names = list(recordings.gesture_names)
    unseen = [names.index(name) for name in config.unseen]
    emg, pose = prepare(recordings, config)

    every = cut(emg, pose, recordings, config, config.stride)
    moving = label_share(recordings.labels, every.windows, range(1, len(names)))
    keep = moving >= config.movement
    keep &= label_share(recordings.labels, every.windows, unseen) == 0

    probe = cut(emg, pose, recordings, config, config.probe_stride)
    probe = probe.select(
        (probe.windows["purity"] >= config.purity) & (probe.y > 0)  # 0 is rest
    )
    if config.onset:
        probe = probe.select(begins_in_rest(recordings.labels, probe.windows))
    probe.y = np.array(names)[probe.y]
    return every.select(keep), probe


def split_people(pretraining, probe, config, held_out):
    """Windows of every stage, the people in `held_out` only to test on."""
    users, pretraining_users, held_out = read_alike(
        {
            "users": probe.users,
            "users to pre-train on": pretraining.users,
            "held_out": held_out,
        }
    )
    tested = np.isin(users, held_out)
    is_unseen = np.isin(probe.y, config.unseen)
    gestures = dict(zip(GESTURE_SETS, (~is_unseen, is_unseen)))
    return DemoData(
        pretraining.select(~np.isin(pretraining_users, held_out)),
        {k: probe.select(~tested & rows) for k, rows in gestures.items()},
        {k: probe.select(tested & rows) for k, rows in gestures.items()},
        np.unique(held_out).tolist(),
    )


def choose_test_users(users, config, test_users):
    """People held out, checked against those there are."""
    known = np.unique(read_ids(users, "users"))
    if len(known) < 2:
        raise ValueError(
            f"Recordings of two people are needed at the least, one to learn from and "
            f"one to test on; there are those of {known.tolist()}."
        )
    if test_users is None:
        return known[-min(config.n_test_users, len(known) // 2) :]
    _, chosen = read_alike({"The people recorded": known, "test_users": test_users})
    chosen = np.unique(chosen)
    if not 0 < len(chosen) < len(known) or not np.isin(chosen, known).all():
        raise ValueError(
            f"Test subjects {chosen.tolist()} must be some, not all, of the people "
            f"recorded: {known.tolist()}."
        )
    return chosen


def run_demo(
    data, config, *, random_state=0, verbose=1, device="auto", say=lambda text: None
):
    """Pre-train both encoders, align them, and evaluate.

    Parameters
    ----------
    data : DemoData

    config : DemoConfig

    random_state : int, default=0

    verbose : int, default=1
        From 1 on, progress bars.

    device : str, default="auto"

    say : callable
        Called with a line of text before each step.

    Returns
    -------
    result : DemoResult
    """
    common = {"random_state": random_state, "verbose": verbose, "device": device}
    stage = data.pretraining
    say("1/4 Pre-training the EMG encoder: rebuild hidden patches")
    emg_mae = MAE(**config.emg_encoder, **common).fit(stage.X)
    say("2/4 Pre-training the pose encoder: rebuild hidden patches")
    pose_mae = MAE(**config.pose_encoder, **common).fit(stage.P)
    say("3/4 Aligning EMG with pose")
    cpep = CPEP(
        FrozenEstimator(emg_mae),
        FrozenEstimator(pose_mae),
        **config.alignment,
        **common,
    )
    cpep.fit(stage.X, stage.P, groups=stage.users)
    say("4/4 Naming the gestures of people held out")
    galleries = {
        k: ZeroShotClassifier(cpep, config.n_neighbors).fit(train.P, train.y)
        for k, train in data.train.items()
    }
    records = evaluate(data, config, emg_mae, pose_mae, cpep, galleries)
    return DemoResult(records, emg_mae, pose_mae, cpep, galleries)


def evaluate(data, config, emg_mae, pose_mae, cpep, galleries):
    """Records of every method and protocol."""
    probed = copy(cpep).set_params(embedding=config.probe_embedding)
    emg_methods = {
        "Amplitude features": amplitude_features,
        "EMG-MAE": emg_mae.transform,
        "CPEP": probed.transform,
    }
    records = []
    for name in GESTURE_SETS:
        sets = data.train[name], data.test[name]
        for method, embed in emg_methods.items():
            records.append(probe_record(method, embed, "X", sets, name, config))
        queries = cpep.transform(sets[1].X)
        gallery = galleries[name].gallery_embeddings_
        records.append(zero_shot_record("CPEP", queries, gallery, sets, name, config))
        upper = "Pose-MAE (upper bound)"
        records.append(probe_record(upper, pose_mae.transform, "P", sets, name, config))
        queries = cpep.transform_pose(sets[1].P)
        records.append(zero_shot_record(upper, queries, gallery, sets, name, config))
    return records


def amplitude_features(X):
    """Mean of every channel's envelope over the window: (n, C, T) to (n, C)."""
    return X.mean(axis=2)


def probe_record(method, embed, modality, sets, gestures, config):
    """A linear probe on embeddings of EMG ("X") or pose ("P")."""
    train, test = (
        (embed(getattr(windows, modality)), windows.y, windows.users)
        for windows in sets
    )
    return linear_probe(
        None, train, test, C=config.probe_C, method=method, gestures=gestures
    )


def zero_shot_record(method, queries, gallery, sets, gestures, config):
    """Zero-shot of embedded queries among the training people's embedded poses."""
    train, test = sets
    return zero_shot(
        None,
        (gallery, train.y, train.users),
        (queries, test.y, test.users),
        n_neighbors=config.n_neighbors,
        method=method,
        gestures=gestures,
    )

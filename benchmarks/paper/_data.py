"""The data as folds of people: what each stage learns from, and is tested on."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sk_cpep.datasets import load_ninapro_db1, load_pack, pack_emg2pose
from sk_cpep.evaluation import (
    GestureWindows,
    cut_gesture_windows,
    fold_users,
    paper_splits,
    recording_moments,
    split_gestures,
    zero_shot_gallery,
)
from sk_cpep.fit import normalised
from sk_cpep.preprocessing import BandpassNotch, standardise_groups

from ._prepare import binned
from ._store import digest

GESTURE_SETS = ("in_distribution", "unseen")
GALLERIES = ("training", "validation", "corpus")
SFREQ = 2000  # of emg2pose
N_BINS = 10


@dataclass
class Fold:
    """One division of the people.

    Parameters
    ----------
    name : str

    pretrain : GestureWindows
        Windows of all training stages.

    train, test : dict of GestureWindows
        Windows to learn names from, and to name, of each gesture set.

    galleries : dict of list of Gallery
        What zero-shot classification looks poses up in, for each gesture set.

    poses : dict of GestureWindows
        Windows whose pose is predicted, by kind of generalisation.

    sfreq, pose_sfreq : float
        Rates in Hz.

    pose_unit : str
        "rad", or "SD" where the glove is not calibrated.
    """

    name: str
    pretrain: GestureWindows
    train: dict
    test: dict
    galleries: dict
    poses: dict
    sfreq: float
    pose_sfreq: float
    pose_unit: str


@dataclass
class Gallery:
    """Poses with their names, and what :func:`~sk_cpep.evaluation.zero_shot` is told.

    Parameters
    ----------
    name : str

    windows : GestureWindows

    settings : dict
        `exclude` and `allow_shared_users`, where queries' people are in it.
    """

    name: str
    windows: GestureWindows
    settings: dict = field(default_factory=dict)


def recognise(root):
    """What kind of data a folder holds: "ninapro" or "emg2pose"."""
    root = Path(root)
    if (root / "metadata.csv").exists() or is_pack(root):
        return "emg2pose"
    if any(root.glob("S*_A1_E1.mat")):
        return "ninapro"
    there = "is no folder" if not root.is_dir() else "holds none of these"
    raise ValueError(
        f"--data {root} {there}: expected emg2pose's metadata.csv with its .hdf5 files, "
        "a finished pack of it (manifest.json), or Ninapro DB1's S1_A1_E1.mat, ..."
    )


def is_pack(root):
    """Whether a folder is a pack."""
    return (Path(root) / "manifest.json").exists()


def load_folds(kind, args, config):
    """Folds, and a fingerprint of the data that they are made of."""
    return {"ninapro": ninapro_folds, "emg2pose": emg2pose_folds}[kind](args, config)


def ninapro_folds(args, config):
    """Ninapro DB1: folds of people; those who tune are tested on by ``tune`` only."""
    recordings = load_ninapro_db1(args.data)
    pretraining, named = cut_gesture_windows(recordings, **config.windows.windowing)
    known = np.unique(recordings.users)
    tuning = [user for user in config.tuning_users if user in known]
    if args.people == "tune":
        held_out = [tuning]
    else:
        held_out = fold_users(np.setdiff1d(known, tuning), config.n_folds)
    if not all(0 < len(users) < len(known) for users in held_out):
        raise ValueError(
            f"--data {args.data} holds recordings of {known.tolist()}; somebody to test "
            f"on and somebody to learn from is needed, with {tuning} tuning."
        )
    rates = (recordings.sfreq, recordings.pose_sfreq)
    folds = [
        ninapro_fold(
            split_gestures(pretraining, named, users, config.windows.unseen), *rates
        )
        for users in held_out
    ]
    samples = [len(emg[0]) for emg in recordings.emg]
    return folds, digest([known.tolist(), samples])


def ninapro_fold(data, sfreq, pose_sfreq):
    """A division of the people of Ninapro DB1."""
    galleries = {}
    everything = {
        kind: concatenate([getattr(data, part)[kind] for part in ("train", "test")])
        for kind in GESTURE_SETS
    }
    for kind in GESTURE_SETS:
        corpus, queries = everything[kind], data.test[kind]
        # Everyone is one recording.
        settings = {
            "exclude": (corpus.users, queries.users),
            "allow_shared_users": True,
        }
        galleries[kind] = [
            Gallery("training", data.train[kind]),
            Gallery("corpus", corpus, settings),
        ]
    held_out = ", ".join(map(str, data.held_out))
    return Fold(
        name="held-out-" + "-".join(map(str, data.held_out)) if held_out else "",
        pretrain=data.pretrain,
        train=data.train,
        test=data.test,
        galleries=galleries,
        poses={
            "user": data.test["in_distribution"],
            "user_stage": data.test["unseen"],
        },
        sfreq=sfreq,
        pose_sfreq=pose_sfreq,
        pose_unit="SD",
    )


def concatenate(sets):
    """Window sets as one."""
    names = ("X", "P", "y", "users", "windows", "features")
    return GestureWindows(
        **{n: np.concatenate([getattr(s, n) for s in sets]) for n in names}
    )


def emg2pose_folds(args, config):
    """emg2pose, or a corpus of its format: the one division of the paper."""
    corpus = load_pack(packed(args, config), size=config.size, stride=config.stride)
    columns = (corpus.users, corpus.stages, corpus.splits, corpus.generalizations)
    sets = paper_splits(
        *columns, sessions=corpus.sessions, n_tuning_users=config.n_tuning_users
    )
    X, P, features = prepare(corpus, config)
    windows = GestureWindows(
        X, P, corpus.stages, corpus.users, corpus.windows, features
    )
    tested = sets.eval if args.people == "eval" else sets.tune
    moments = recording_moments(corpus.metadata["filename"])
    moments = moments[corpus.windows["recording"]]
    galleries = {}
    for kind in GESTURE_SETS:
        chosen = {
            name: zero_shot_gallery(
                *columns,
                moments,
                queries=tested[kind],
                gestures=kind,
                gallery=name,
                tuning_users=sets.tuning_users,
            )
            for name in GALLERIES
        }
        galleries[kind] = [
            Gallery(name, windows.select(found.gallery), found.settings)
            for name, found in chosen.items()
        ]
    split = "test" if args.people == "eval" else "val"
    fold = Fold(
        name=args.people,
        pretrain=windows.select(sets.pretrain),
        train={k: windows.select(sets.probe_train[k]) for k in GESTURE_SETS},
        test={k: windows.select(tested[k]) for k in GESTURE_SETS},
        galleries=galleries,
        poses={
            kind: windows.select(rows)
            for kind in ("user", "stage", "user_stage")
            if len(rows := pose_rows(corpus, sets, split, kind, config))
        },
        sfreq=SFREQ / config.bin,
        pose_sfreq=corpus.pose_sfreq / config.pose_step,
        pose_unit="rad",
    )
    return [fold], digest([corpus.metadata.tolist(), corpus.windows.tolist()])


def packed(args, config):
    """The folder of the pack: --data, or one that is made of it."""
    if is_pack(args.data):
        return args.data
    out = Path(args.pack or Path(args.out) / "pack")
    print(f"Packing {args.data} to {out} ...", flush=True)
    pack_emg2pose(
        args.data,
        out,
        filter=BandpassNotch(2, 250, 60, sfreq=SFREQ),
        pose_rate=config.pose_rate,
        n_jobs=args.jobs,
        verify=not is_pack(out),  # a finished one is checked as it is read
        verbose=1,
    )
    return out


def prepare(corpus, config):
    """EMG and pose windows as the encoders take them, and features in ten bins."""
    if config.bin == 1:
        root = binned(corpus.emg, N_BINS) ** 0.5
        return normalised(corpus.emg), corpus.pose, root.reshape(len(root), -1)
    worn = np.char.add(corpus.sessions.astype(str), corpus.sides.astype(str))
    worn = np.unique(worn, return_inverse=True)[1]
    envelope = binned(corpus.emg, corpus.emg.shape[2] // config.bin)
    root = standardise_groups(envelope**0.5, worn)
    features = np.stack([b.mean(axis=2) for b in np.array_split(root, N_BINS, 2)], 2)
    return (
        standardise_groups(envelope, worn),
        np.asarray(corpus.pose)[:, :, :: config.pose_step],
        features.reshape(len(features), -1),
    )


def pose_rows(corpus, sets, split, generalization, config):
    """Windows whose pose is predicted, evenly thinned to `n_pose_windows`."""
    rows = (corpus.splits == split) & (corpus.generalizations == generalization)
    if split == "val":
        rows &= np.isin(corpus.users, sets.tuning_users)
    rows = np.flatnonzero(rows)
    if config.n_pose_windows is None or len(rows) <= config.n_pose_windows:
        return rows
    return rows[np.linspace(0, len(rows) - 1, config.n_pose_windows).astype(int)]


def describe(folds):
    """A line for each fold: how many windows, of whom."""
    return "\n".join(
        f"{fold.name}: {len(fold.pretrain)} windows of "
        f"{len(np.unique(fold.pretrain.users))} people to pre-train on; "
        + "; ".join(
            f"{kind.replace('_', ' ')}: {len(fold.train[kind])} to learn names from, "
            f"{len(fold.test[kind])} of {len(np.unique(fold.test[kind].users))} "
            "people to name"
            for kind in GESTURE_SETS
        )
        for fold in folds
    )

"""Recordings that encoders are fitted to, and whose windows are named, inside a fold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np

from .._ids import read_comparable, read_ids
from .._typing import AnyArray, BoolArray
from ..encoders._pairing import check_recordings
from ..preprocessing import Windower
from ..preprocessing._labels import is_text
from ..preprocessing._origin import Origin, origin_of
from ..preprocessing._paired import plan_every_window, vote
from ..preprocessing._tracks import TOLERANCE, Track, read_tracks
from ..preprocessing._window import count_windows, warn_empty
from ..zero_shot._encoder import steps_of
from ._encoder_steps import check_embeddings, every_step, find_windower
from ._gesture_windows import GestureWindows


@dataclass(frozen=True)
class Cutting:
    """How a pipeline cuts recordings of EMG and of pose into windows.

    Parameters
    ----------
    emg, pose : tuple (size, stride)
        In samples of each; `pose` is None if it is not known.
    """

    emg: tuple[int, int]
    pose: tuple[int, int] | None = None

    def shared(self, n_times: int, n_pose_times: int) -> tuple[int, int]:
        """Samples of both, from the start on, that give as many windows of each."""
        if self.pose is None:
            return n_times, n_pose_times
        lengths = np.array([n_times]), np.array([n_pose_times])
        n_emg, n_pose = (
            int(count_windows(length, *how)[0])
            for length, how in zip(lengths, (self.emg, self.pose))
        )
        if n_emg == n_pose:
            return n_times, n_pose_times
        n = min(n_emg, n_pose)
        if n == 0:
            return 0, 0
        size, stride = zip(self.emg, self.pose)
        return size[0] + (n - 1) * stride[0], size[1] + (n - 1) * stride[1]


@dataclass
class NamedRecordings:
    """Recordings of everybody, each at the least as long as a window.

    Parameters
    ----------
    emg : list of ndarrays of shape (n_channels, n_times_i)
    pose : list of ndarrays of shape (n_joints, n_pose_times_i), or None
    labels : list of ndarrays of shape (n_times_i,)
    people : ndarray of shape (n_recordings,)
    names : ndarray or None
        What the labels stand for, where they are codes.

    ratio : Fraction
        Rate of the pose over that of the EMG.

    cutting : Cutting
    n_windows : int
        All that the pipeline cuts.

    rows : int ndarray of shape (n_named,)
        Those that are named.

    y, users : ndarrays of shape (n_named,)
        Their gestures and people.

    windows : structured ndarray of shape (n_named,)
        Where they lie.

    learns_from_poses, embeds_poses : bool
        What the pose is used for.
    """

    emg: list[Any]
    pose: list[Any] | None
    labels: list[AnyArray]
    people: AnyArray
    names: AnyArray | None
    ratio: Fraction
    cutting: Cutting
    n_windows: int
    rows: AnyArray
    y: AnyArray
    users: AnyArray
    windows: AnyArray
    learns_from_poses: bool
    embeds_poses: bool

    def training(self, held_out: Any, unseen: Sequence[Any]) -> tuple[Any, Any]:
        """Recordings of EMG and pose that an encoder may be fitted to.

        Parameters
        ----------
        held_out : sequence of ids
            People who are left out.

        unseen : sequence
            Gestures of which no sample is left: what lies between them is a recording
            of its own, if it is as long as a window.
        """
        users, held_out = read_comparable({"users": self.people, "cv": held_out})
        emg, pose = [], []
        for i in np.flatnonzero(~np.isin(users, held_out)).tolist():
            n_pose_times = None if self.pose is None else self.pose[i].shape[1]
            for here, there in find_stretches(
                self._is_unseen(i, unseen), n_pose_times, self.ratio, self.cutting
            ):
                emg.append(self.emg[i][:, here])
                if self.pose is not None:
                    pose.append(self.pose[i][:, there])
        if not emg:
            raise ValueError(
                f"Without {held_out.tolist()} and the gestures unseen={list(unseen)}, no "
                f"stretch of {self.cutting.emg[0]} samples, a window, is left to fit the "
                "encoder to."
            )
        return emg, pose if self.learns_from_poses else None

    def _is_unseen(self, recording: int, unseen: Sequence[Any]) -> BoolArray:
        """Which samples of the EMG are of unseen gestures."""
        codes = list(unseen)
        if self.names is not None:
            codes = np.flatnonzero(np.isin(self.names, codes)).tolist()
        mask = np.isin(self.labels[recording], codes)
        n_times = self.emg[recording].shape[1]
        return np.pad(mask, (0, max(0, n_times - len(mask))), mode="edge")[:n_times]

    def embed(self, encoder: Any) -> GestureWindows:
        """The windows that are named, embedded.

        Parameters
        ----------
        encoder : fitted encoder
        """
        Z: Any = self.emg
        origin = None
        for step in every_step(encoder):
            Z = step.transform(Z)
            if isinstance(step, Windower):
                origin = origin_of(Z)
                self._check_lengths(origin)
        Z = check_embeddings(Z, self.n_windows, "EMG")[self.rows]
        V = self._embed_poses(steps_of(encoder)[-1], origin)
        if V is not None:
            V = check_embeddings(V, self.n_windows, "pose")[self.rows]
        return GestureWindows(Z, V, self.y, self.users, self.windows)

    def _embed_poses(self, step: Any, emg: Origin | None) -> Any:
        """Embeddings of the poses of all windows, which pair with those of EMG."""
        if not self.embeds_poses or self.pose is None:
            return None
        transformer = getattr(step, "pose_transformer_", None)
        if transformer is not None and emg is not None:
            pose = origin_of(transformer.transform(self.pose))
            if pose is not None:
                check_recordings(emg, pose)
        return step.transform_pose(self.pose)

    def _check_lengths(self, origin: Origin | None) -> None:
        """Refuse steps that change the number of samples before they are cut."""
        lengths = [x.shape[1] for x in self.emg]
        if origin is not None and origin.lengths.tolist() != lengths:
            raise ValueError(
                "A step before the Windower changes the number of samples, so that "
                "labels of the samples do not fit. Apply it first, and give its result "
                "with labels of the same rate."
            )


def find_stretches(
    is_unseen: BoolArray, n_pose_times: int | None, ratio: Fraction, cutting: Cutting
) -> list[tuple[slice, slice]]:
    """Find the longest stretches of a recording without a sample of unseen gestures.

    Parameters
    ----------
    is_unseen : bool ndarray of shape (n_times,)
        Of the EMG.

    n_pose_times : int or None
        Samples of the pose, if there is one.

    ratio : Fraction
        Its rate over that of the EMG.

    cutting : Cutting
        Shorter stretches than a window are left out.

    Returns
    -------
    stretches : list of tuple (emg, pose) of slices
        Sample k of the pose is of the moment of sample k / ratio of the EMG; every
        one lies within the stretch, and the first ones of both are less than a sample
        of the EMG apart.
    """
    n_times = len(is_unseen)
    if not is_unseen.any():
        return [(slice(0, n_times), slice(0, n_pose_times))]
    edges = np.flatnonzero(np.diff(np.concatenate([[True], is_unseen, [True]])))
    found = []
    for start, stop in edges.reshape(-1, 2).tolist():
        begin = 0
        if n_pose_times is not None:
            begin = math.ceil(start * ratio)
            start = math.ceil(begin / ratio)
            stop = min(stop, math.floor(n_pose_times / ratio))
        length = max(0, stop - start)
        n_pose = math.floor(length * ratio)
        if n_pose_times is not None:
            length, n_pose = cutting.shared(length, n_pose)
        if length >= cutting.emg[0]:
            found.append((slice(start, start + length), slice(begin, begin + n_pose)))
    return found


def read_recordings(
    arrays: tuple[Any, Any, Any, Any],
    encoder: Any,
    names: Any,
    rates: tuple[float, float] | None,
    purity: float,
    rest: Any,
    learns_from_poses: bool,
    embeds_poses: bool,
) -> NamedRecordings:
    """Read recordings, and find the windows that a pipeline will cut.

    Parameters
    ----------
    arrays : tuple (X, P, y, users)
        Recordings of EMG and of pose, labels of their samples, and the person of each;
        `P` may be None.

    encoder : Pipeline
        With a :class:`~sk_cpep.Windower`.

    names : array-like or None
        What the labels stand for, if they are codes.

    rates : tuple (sfreq, pose_sfreq) or None
        In Hz, if they are known.

    purity, rest
        As of :func:`linear_probe`.

    learns_from_poses, embeds_poses : bool
        What the pose is used for.
    """
    if not isinstance(purity, Real) or not 0 <= float(purity) <= 1:
        raise ValueError(f"purity must be a number from 0 to 1, got {purity!r}.")
    windower = find_windower(encoder)
    if windower is None:
        raise ValueError(
            "y has labels per sample of recordings, which the encoder has to cut into "
            "windows: give a Pipeline with a Windower (and a CPEP with a "
            "pose_transformer). Or cut windows first, with make_windows."
        )
    cutting, ratio = _cutting_of(encoder, windower, *arrays[:2])
    known = (rates or (None, None)) if ratio is None else (1, ratio)
    emg, pose, labels, people = _read_tracks(arrays, known, windower.size)
    signals, poses = _trim(emg, pose, cutting)
    lengths = np.array([x.shape[1] for x in signals])
    counts = count_windows(lengths, *cutting.emg)
    warn_empty(counts, lengths, cutting.emg[0])
    kept = np.flatnonzero(counts)
    plan = plan_every_window(lengths, *cutting.emg)
    rows = np.flatnonzero(labels.fits(plan))
    winners, shares = vote(labels, plan[rows])
    names = _read_names(names, labels)
    if names is not None:
        winners = names[winners]
    plan["purity"][rows] = shares
    named = shares >= purity
    of_rest = _label_of_rest(rest, labels, names)
    if of_rest is not None:
        named &= winners != of_rest
    if not named.any():
        raise ValueError(
            f"None of the {len(plan)} windows is named: none is of one gesture by "
            f"purity={purity}, or all are of rest. Take shorter windows or a lower "
            "purity, or rest=None to name rest too."
        )
    windows = plan[rows[named]]
    return NamedRecordings(
        [signals[i] for i in kept],
        None if poses is None else [poses[i] for i in kept],
        [labels.data[i] for i in kept],
        people[kept],
        names,
        Fraction(1) if pose is None else pose.rate,
        cutting,
        len(plan),
        rows[named],
        winners[named],
        people[windows["recording"]],
        windows,
        learns_from_poses,
        embeds_poses,
    )


def _read_tracks(
    arrays: tuple[Any, Any, Any, Any],
    rates: Sequence[Any],
    size: int,
) -> tuple[Track, Track | None, Track, AnyArray]:
    """EMG, pose, labels of samples, and people, checked."""
    given = {"X": arrays[0], "P": arrays[1], "y": arrays[2], "users": arrays[3]}
    if arrays[1] is None:
        del given["P"]
        rates = (rates[0],)
    emg, *pose, labels, people = read_tracks(
        list(given.values()), [*rates, None, None], size, True, list(given)
    )
    if people.kind != "fact":
        raise ValueError(
            "users must hold one person for each recording, as an id; got "
            f"{people.kind} of each."
        )
    if labels.kind != "labels" or any(track.kind != "signal" for track in pose):
        raise ValueError(
            "y must hold labels per sample, of shape (n_times_i,) for each recording, "
            "and P recordings of shape (n_joints, n_pose_times_i); got "
            + " and ".join(f"{t.kind} as {t.name}" for t in (labels, *pose))
            + "."
        )
    return emg, pose[0] if pose else None, labels, read_ids(people.data, "users")


def _cutting_of(
    encoder: Any, windower: Windower, X: Any, P: Any
) -> tuple[Cutting, Fraction | None]:
    """How EMG and pose are cut, and the ratio of their rates, if that tells."""
    of_emg = _size_and_stride(windower)
    transformer = getattr(steps_of(encoder)[-1], "pose_transformer", None)
    of_pose = None if transformer is None else find_windower(transformer)
    if P is None or of_pose is None:
        return Cutting(of_emg), None
    cutting = Cutting(of_emg, _size_and_stride(of_pose))
    ratio = Fraction(of_pose.stride or of_pose.size, of_emg[1])
    if transformer is not of_pose:  # a step before may change the rate
        slack = TOLERANCE * max(1.0, float(ratio)) + 1e-6
        pairs = ((np.shape(x)[-1], np.shape(p)[-1]) for x, p in zip(X, P))
        if any(abs(n_pose - n * ratio) > slack for n, n_pose in pairs):
            return Cutting(of_emg), None
    return cutting, ratio


def _size_and_stride(windower: Windower) -> tuple[int, int]:
    return windower.size, windower.stride or windower.size


def _trim(
    emg: Track, pose: Track | None, cutting: Cutting
) -> tuple[list[Any], list[Any] | None]:
    """Recordings up to where both give as many windows."""
    if pose is None:
        return list(emg.data), None
    signals, poses = [], []
    for x, p in zip(emg.data, pose.data):
        n_times, n_pose_times = cutting.shared(x.shape[1], p.shape[1])
        signals.append(x[:, :n_times])
        poses.append(p[:, :n_pose_times])
    return signals, poses


def _read_names(names: Any, labels: Track) -> AnyArray | None:
    """What labels stand for, or None where they are names themselves."""
    if names is None or is_text(labels.data[0]):
        return None
    low, high = (
        pick([pick(x) for x in labels.data if len(x)]) for pick in (np.min, np.max)
    )
    if low < 0 or high >= len(names):
        raise ValueError(
            f"Labels go from {low} to {high}, but there are {len(names)} gesture_names: "
            "labels are their numbers, from 0 on."
        )
    return np.asarray(names)


def _label_of_rest(rest: Any, labels: Track, names: AnyArray | None) -> Any:
    """The label of windows that are not named, or None."""
    if rest is None:
        return None
    known = {label for track in labels.data for label in np.unique(track).tolist()}
    if names is not None:
        known = {names[code].item() for code in known}
    if not (isinstance(rest, str) and rest == "auto"):
        if rest not in known:
            raise ValueError(
                f"rest={rest!r}, but no sample is labelled so. None names all windows."
            )
        return rest
    if names is not None:
        return names[0]
    return next((label for label in (0, "rest") if label in known), None)

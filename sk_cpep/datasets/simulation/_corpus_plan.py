"""Who records what and when in a simulated corpus, as rows of its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from ..._typing import AnyArray
from ..emg2pose._format import (
    HELD_OUT,
    HELD_OUT_STAGES,
    METADATA_DTYPE,
    SIDES,
    STAGES,
)
from ._corpus_signals import MOCAP_SFREQ
from ._gestures import check_names
from ._simulator import generator

_FIRST_DAY = date(2022, 4, 7)
_N_DAYS = 244
_MORNING = 9 * 3600  # seconds after the stamp
_BREAK, _DONNING = 15, 600  # seconds between recordings, between sessions
_DEMONSTRATIONS = 13_772 / 25_253
# How a model generalises by (held-out user, held-out stage).
_GENERALIZATION = {flags: kind for kind, flags in HELD_OUT.items()}


@dataclass
class Recording:
    """A recording of both hands.

    Attributes
    ----------
    user, session : int
        Which person, and which of the person's sessions, from 0.
    stage, session_name : str
        As in the metadata table.
    number : int
        Within the session, from 1.
    n_frames : int
        Camera frames at 60 Hz.
    start : float
        Unix seconds.
    """

    user: int
    session: int
    stage: str
    session_name: str
    number: int
    n_frames: int
    start: float


def assign_splits(seed: int, n_users: int, n_val: int, n_test: int) -> AnyArray:
    """Split of each person, (n_users,), drawn at random."""
    splits = np.repeat(
        ["val", "test", "train"], [n_val, n_test, n_users - n_val - n_test]
    )
    return generator(seed).permutation(splits)


def plan_corpus(
    seed: int, n_users: int, stages: Sequence[str], n_sessions: int, seconds: float
) -> list[Recording]:
    """Plan the recordings of a corpus.

    Parameters
    ----------
    seed : int
        Of the corpus.
    n_users : int
        People.
    stages : sequence of str
        That everyone does in every session, each time in another order.
    n_sessions : int
        Sessions of each person, on one day.
    seconds : float
        Shortest duration; recordings last up to a quarter longer.

    Returns
    -------
    recordings : list of Recording
        Ordered by date, then by the name of the session and number.
    """
    recordings = []
    for user in range(n_users):
        rng = generator(seed, user, 1)
        stamp, day = _stamp(_FIRST_DAY + timedelta(days=int(rng.integers(_N_DAYS))))
        clock = _MORNING * MOCAP_SFREQ + int(rng.integers(3600 * MOCAP_SFREQ))
        for session in range(n_sessions):
            name = _session_name(day, stamp, seed, user * n_sessions + session, rng)
            for number, k in enumerate(rng.permutation(len(stages)), 1):
                n_frames = 1 + int(
                    np.ceil(seconds * MOCAP_SFREQ * rng.uniform(1, 1.25))
                )
                start = stamp + clock / MOCAP_SFREQ
                recordings.append(
                    Recording(user, session, stages[k], name, number, n_frames, start)
                )
                clock += n_frames + _BREAK * MOCAP_SFREQ
            clock += _DONNING * MOCAP_SFREQ
    return sorted(recordings, key=lambda r: (r.session_name, r.number))


def _stamp(day: date) -> tuple[int, str]:
    """Seconds of midnight in California's winter, and the day in ISO format."""
    midnight = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    return int(midnight.timestamp()), day.isoformat()


def _session_name(
    day: str, stamp: int, seed: int, index: int, rng: np.random.Generator
) -> str:
    """Name of a session, as the stem of its files begins."""
    kind = "demonstration" if rng.uniform() < _DEMONSTRATIONS else "train"
    return f"{day}-{stamp}-{_scramble(seed, index, 5)}-cv-emg-pose-{kind}@2"


def _scramble(seed: int, index: int, n_digits: int) -> str:
    """Hexadecimal digits that look random, and are never those of another index."""
    shuffled = index * 0x9E3779B1 + seed * 0x85EBCA6B + n_digits * 0xC2B2AE35
    return f"{shuffled % 16**n_digits:0{n_digits}x}"


def metadata_rows(
    seed: int, recordings: Sequence[Recording], user_splits: Sequence[str] | AnyArray
) -> AnyArray:
    """Rows of the metadata table, left and right for each recording.

    Parameters
    ----------
    seed : int
        Of the corpus.
    recordings : list of Recording
        Of `plan_corpus`.
    user_splits : sequence of str
        "train", "val" or "test" of each person.

    Returns
    -------
    metadata : ndarray of shape (2 * n_recordings,), METADATA_DTYPE
        In the order of the CSV file.
    """
    rows = [
        _row(seed, recording, side, user_splits[recording.user])
        for recording in recordings
        for side in SIDES
    ]
    return np.array(rows, METADATA_DTYPE)


def _row(
    seed: int, recording: Recording, side: str, user_split: str
) -> tuple[object, ...]:
    """One row of the table."""
    new_user, new_stage = user_split != "train", recording.stage in HELD_OUT_STAGES
    split = "test" if new_stage and not new_user else user_split
    return (
        recording.session_name,
        _scramble(seed, recording.user, 10),
        recording.stage,
        recording.start,
        recording.start + (recording.n_frames - 1) / MOCAP_SFREQ,
        side,
        f"{recording.session_name}-recording-{recording.number}_{side}",
        "both",
        new_user,
        new_stage,
        split,
        _GENERALIZATION[new_user, new_stage],
    )


def check_stages(stages: Sequence[str] | None) -> list[str]:
    """Stages of a corpus, all 29 for None.

    Raises
    ------
    ValueError
        If a stage is not one of emg2pose's, is named twice, or there is none.
    """
    return list(STAGES) if stages is None else check_names(stages, STAGES, "stages")

"""Reader of the Myo readings: raw EMG of a wristband, several sessions a person."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..._typing import AnyArray, PathLike
from .._tables import read_table

_SFREQ = 200.0
_SECONDS = 60.0
_N_CHANNELS = 8
_NAME = re.compile(r"(?:.*/)?(\d+)-(\d+)/(\d)\.txt")
_LINE = re.compile(rb"-?\d{1,3}(?:,-?\d{1,3}){7},\d")
_GESTURES: list[str] = read_table(__package__, "readings.toml")["gestures"]
_DESCR = """\
Myo readings
============
Raw EMG of a Myo wristband, 8 electrodes round the forearm. People: {n_users}; sessions,
between which the band was taken off: {n_sessions}; files of about a minute: {n}.

emg     signed bytes as the band sends them, about 200 Hz by its own clock; hum at 50 Hz
labels  what the screen asked for: rest and one gesture in turns of five seconds; the
        hand follows by up to a second. A file of rest alone has slight movements in it
        that ought not to count

The public "myo-readings-dataset" by Aljaž Frančič, MIT licence. There is no pose in it.
"""

Bytes = NDArray[np.int8]
Wanted = int | Sequence[int] | None


@dataclass
class Reading:
    """One file: a person's session of rest and one gesture.

    Parameters
    ----------
    user, session, gesture : int

    name : str
        What messages call the file.

    content : bytes
    """

    user: int
    session: int
    gesture: int
    name: str
    content: bytes


def load_myo_readings(
    folder: PathLike, people: Wanted = None, sessions: Wanted = None
) -> Bunch:
    """Read the Myo readings: raw EMG of rest and seven gestures [1]_.

    Parameters
    ----------
    folder : str or path-like
        Where the zips lie as they are published, one a person, or what they hold:
        folders ``PERSON-SESSION`` with files ``LABEL.txt``.

    people : int or sequence of int, default=None
        Whose readings to read. None is everybody's.

    sessions : int or sequence of int, default=None
        Which sessions, by their place in the order of a person's sessions, from 1 on.
        None is all.

    Returns
    -------
    recordings : :class:`~sklearn.utils.Bunch`
        One recording a file, in the order of people, sessions and files:

        emg : list of ndarray of shape (8, n_times_i), float32
            Signed bytes of the band, -128 to 127, in no unit.
        labels : list of ndarray of shape (n_times_i,), int16
            0 = rest, 1 to 7 index `gesture_names`: what the screen asked for.
        users, sessions, files : ndarray of shape (n_recordings,)
            Person, session (1 is the person's first) and which gesture takes turns with
            rest; 0 is rest alone.
        sfreq : float
            200.0 Hz, the band's nominal rate.
        rates : ndarray of shape (n_recordings,)
            What it was in each file, in Hz: samples of the minute, by 60.
        n_broken : ndarray of shape (n_recordings,)
            Lines of each file that were left out.
        channel_names, gesture_names : list of str
            `gesture_names[0]` is "rest".
        units : dict
            Of "emg".
        DESCR : str
            Description, with the source.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no readings in it, or no such person or session.
    ValueError
        If a zip is damaged, a file has no line of eight numbers and a label, or a label
        is neither 0 nor that of the file.

    Warns
    -----
    UserWarning
        If lines are broken (other columns than nine, or no whole numbers from -128 to
        127): they are left out, and the files are named.

    References
    ----------
    .. [1] A. Frančič, "myo-readings-dataset", 2021, MIT licence.

    Examples
    --------
    >>> from sk_cpep.datasets import load_myo_readings
    >>> data = load_myo_readings("myo_readings", people=10000)  # doctest: +SKIP
    >>> len(data.emg), data.emg[0].shape  # doctest: +SKIP
    (24, (8, 11911))
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(
            f"{folder} {what}; pass the folder that holds the zips of the readings."
        )
    chosen = _read_wanted("people", people)
    readings = list(_find(folder, chosen))
    known = sorted({reading.user for reading in readings})
    missing = sorted(set(chosen or ()) - set(known))
    if missing or not readings:
        raise FileNotFoundError(
            f"{folder} has no readings of {missing or 'anybody'}: expected PERSON.zip, or "
            "folders PERSON-SESSION with files 0.txt to 7.txt."
        )
    readings.sort(key=lambda r: (r.user, r.session, r.gesture))
    _number_sessions(readings)
    wanted = _read_wanted("sessions", sessions)
    if wanted is not None:
        readings = [r for r in readings if r.session in wanted]
        if not readings:
            raise FileNotFoundError(f"{folder} has no sessions {sorted(wanted)}.")
    return _recordings_of(readings)


def _recordings_of(readings: Sequence[Reading]) -> Bunch:
    """Readings as a Bunch, broken lines left out and named."""
    parsed = [_parse(reading) for reading in readings]
    broken = {r.name: n for r, (_, _, n) in zip(readings, parsed) if n}
    if broken:
        each = ", ".join(f"{name}: {n}" for name, n in broken.items())
        warnings.warn(
            f"{sum(broken.values())} broken lines were left out ({each}).",
            UserWarning,
            stacklevel=3,
        )
    users, sessions, files = (
        np.array([getattr(r, name) for r in readings])
        for name in ("user", "session", "gesture")
    )
    emg, labels, n_broken = map(list, zip(*parsed))
    return describe_readings(emg, labels, users, sessions, files, np.array(n_broken))


def describe_readings(
    emg: Sequence[Bytes],
    labels: Sequence[Bytes],
    users: AnyArray,
    sessions: AnyArray,
    files: AnyArray,
    n_broken: AnyArray,
) -> Bunch:
    """Readings as a Bunch; see :func:`load_myo_readings`.

    Parameters
    ----------
    emg, labels : list of ndarrays of shape (8, n_times_i) and (n_times_i,), int8

    users, sessions, files, n_broken : ndarrays of shape (n_recordings,)

    Returns
    -------
    recordings : Bunch
    """
    lengths = np.array([len(y) for y in labels])
    return Bunch(
        emg=[x.astype(np.float32) for x in emg],
        labels=[y.astype(np.int16) for y in labels],
        users=users,
        sessions=sessions,
        files=files,
        sfreq=_SFREQ,
        rates=(lengths + n_broken) / _SECONDS,
        n_broken=n_broken,
        channel_names=[f"EMG{i}" for i in range(1, _N_CHANNELS + 1)],
        gesture_names=list(_GESTURES),
        units={"emg": "signed bytes"},
        DESCR=_DESCR.format(
            n=len(emg),
            n_users=len(np.unique(users)),
            n_sessions=len(np.unique(np.stack([users, sessions]), axis=1).T),
        ),
    )


def _read_wanted(name: str, wanted: Wanted) -> set[int] | None:
    """Numbers that were asked for; None for all."""
    if wanted is None:
        return None
    several = [wanted] if isinstance(wanted, Integral) else wanted
    found = list(several) if isinstance(several, Sequence | np.ndarray) else []
    whole = [isinstance(w, Integral) and not isinstance(w, bool) for w in found]
    if not found or not all(whole):
        raise ValueError(f"{name}={wanted!r}: pass whole numbers, at least one.")
    return {int(w) for w in found}


def _find(folder: Path, people: set[int] | None) -> Iterator[Reading]:
    """The files of zips and folders, of some people."""
    for path in sorted(folder.iterdir()):
        is_readings = path.suffix == ".zip" and path.stem.isdecimal()
        if is_readings and (people is None or int(path.stem) in people):
            yield from _in_zip(path)
    for path in sorted(folder.glob("*/*.txt")):
        match = _NAME.fullmatch(path.as_posix())
        if match and (people is None or int(match[1]) in people):
            name = f"{path.parent.name}/{path.name}"
            user, session, gesture = map(int, match.groups())
            yield Reading(user, session, gesture, name, path.read_bytes())


def _in_zip(path: Path) -> Iterator[Reading]:
    """The files in a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if match := _NAME.fullmatch(name):
                    user, session, gesture = map(int, match.groups())
                    yield Reading(user, session, gesture, name, archive.read(name))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{path} is damaged, or no zip: {error}. Download or copy it again."
        ) from error


def _number_sessions(readings: Sequence[Reading]) -> None:
    """Number each person's sessions from 1 on, in their order."""
    for user in {reading.user for reading in readings}:
        mine = [reading for reading in readings if reading.user == user]
        order = sorted({reading.session for reading in mine})
        for reading in mine:
            reading.session = 1 + order.index(reading.session)


def _parse(reading: Reading) -> tuple[Bytes, Bytes, int]:
    """EMG (8, n), labels (n,), and how many lines are broken."""
    lines = reading.content.split()
    whole = [line for line in lines if _LINE.fullmatch(line)]
    if not whole:
        raise ValueError(
            f"{reading.name} has no line of eight numbers and a label, such as "
            "0,-1,10,9,1,1,0,-1,0; is it a file of the Myo readings?"
        )
    values = np.array(b",".join(whole).split(b",")).astype(np.int16)
    values = values.reshape(-1, 1 + _N_CHANNELS)
    possible = ((values[:, :-1] >= -128) & (values[:, :-1] <= 127)).all(axis=1)
    kept: Bytes = values[possible].astype(np.int8)
    strange = np.setdiff1d(kept[:, -1], [0, reading.gesture])
    if len(strange) or reading.gesture >= len(_GESTURES):
        raise ValueError(
            f"{reading.name} has labels {strange.tolist()}, expected 0 and "
            f"{reading.gesture}, the file's own, which is one of 0 to "
            f"{len(_GESTURES) - 1}."
        )
    return (
        np.ascontiguousarray(kept[:, :-1].T),
        kept[:, -1].copy(),
        len(lines) - len(kept),
    )

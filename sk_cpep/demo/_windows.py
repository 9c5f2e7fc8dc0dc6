"""From recordings to the windows of each stage of the demo."""

from dataclasses import dataclass

import numpy as np

from ..preprocessing import BandpassNotch, InstanceNorm, make_windows


@dataclass
class WindowSet:
    """Windows with all that is known of them.

    Parameters
    ----------
    X, P : float32 ndarrays of shape (n, n_channels, n_times), (n, n_joints, n_times)
        EMG and pose.

    y, users : ndarrays of shape (n,)
        Gesture (code or name) and person.

    windows : structured ndarray of shape (n,)
        Where each lies: `recording`, `start`, `stop`, `purity`.
    """

    X: np.ndarray
    P: np.ndarray
    y: np.ndarray
    users: np.ndarray
    windows: np.ndarray

    def __len__(self):
        return len(self.y)

    def select(self, rows):
        """The windows at `rows` (indices or mask)."""
        return WindowSet(
            self.X[rows],
            self.P[rows],
            self.y[rows],
            self.users[rows],
            self.windows[rows],
        )


def prepare(recordings, config):
    """Filter EMG, take its envelope, and standardise each channel over its recording.

    Filtering comes before windowing. The recording's own mean and SD are all that
    is used of it: no label, and nothing of other people.
    """
    emg = recordings.emg
    if config.filter is not None:
        emg = BandpassNotch(sfreq=recordings.sfreq, **config.filter).fit_transform(emg)
    if config.envelope is not None:
        low_pass = BandpassNotch(
            None, config.envelope, None, sfreq=recordings.sfreq, order=2
        )
        emg = low_pass.fit_transform([np.abs(recording) for recording in emg])
    norm = InstanceNorm(over="channel")
    return norm.fit_transform(emg), norm.fit_transform(recordings.pose)


def cut(emg, pose, recordings, config, stride):
    """All windows of the recordings, labelled by majority (rest is 0)."""
    size = round(config.window * recordings.sfreq)
    return WindowSet(
        *make_windows(
            emg,
            pose,
            recordings.labels,
            recordings.users,
            size=size,
            stride=round(stride * recordings.sfreq),
            purity=0.0,
            rates=[recordings.sfreq, recordings.pose_sfreq, None, None],
            return_provenance=True,
        )
    )


def label_share(labels, windows, codes):
    """Share of each window's samples whose label is among `codes`.

    Parameters
    ----------
    labels : list of int arrays of shape (n_times_i,)
        Labels of each recording's samples.

    windows : structured ndarray of shape (n,)
        `recording`, `start` and `stop` of each window.

    codes : sequence of int

    Returns
    -------
    share : ndarray of shape (n,)
    """
    share = np.empty(len(windows))
    for recording, samples in enumerate(labels):
        count = np.concatenate([[0], np.cumsum(np.isin(samples, codes))])
        here = windows["recording"] == recording
        start, stop = windows["start"][here], windows["stop"][here]
        share[here] = (count[stop] - count[start]) / (stop - start)
    return share


def begins_in_rest(labels, windows):
    """Whether the first sample of each window is rest (label 0)."""
    firsts = [labels[w["recording"]][w["start"]] for w in windows]
    return np.array(firsts) == 0

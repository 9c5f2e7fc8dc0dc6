"""What the demo does on each kind of data: fixed configurations."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DemoConfig:
    """Everything that the demo does to recordings of one kind.

    Parameters
    ----------
    window, stride : float
        Length of a window and distance of their starts, in seconds.

    probe_stride : float
        Distance of the starts of the windows that are classified, in seconds.

    purity : float
        Smallest share of a classified window that is one gesture.

    onset : bool
        Whether classified windows must begin in rest, so that each holds the onset
        of its movement.

    movement : float
        Smallest share of a window for pre-training in which the hand moves.

    unseen : tuple of str
        Gestures that no training stage sees.

    n_test_users : int
        People held out, the last ones, where none are named.

    n_folds : int
        Where no people are named and this is more than 1, everyone is held out once,
        in so many folds of people, each with encoders of its own.

    simulation : dict
        Parameters of :func:`~sk_cpep.datasets.make_gesture_recordings`.

    filter : dict or None
        Parameters of :class:`~sk_cpep.BandpassNotch` (without `sfreq`).

    envelope : float or None
        The filtered EMG is rectified, and low-passed at this frequency in Hz: for
        small data, which does not teach a network to do so.

    baseline : float or None
        The resting level of the envelope over so many seconds is taken off: a control.

    emg_encoder, pose_encoder, alignment : dict
        Parameters of the two :class:`~sk_cpep.MAE` and of :class:`~sk_cpep.CPEP`.

    supervised : dict
        Parameters of the :class:`~sk_cpep.encoders.EncoderClassifier`, of the size of
        the EMG encoder, that is trained on all labels from end to end.

    n_people, n_draws : tuple and int
        Of how many people the labels are that probes learn from, and how often as many
        people are drawn.

    rest_control : bool
        Whether the rest before movements is evaluated as well: where a session has all
        repetitions of a gesture in a row, and rests are longer than a window.

    session_stride : float
        Distance of the starts of the windows of whole sessions, in seconds.

    n_neighbors : int
        Poses that vote in zero-shot classification.

    seen_penalty : float
        What is taken off the similarity of poses of seen gestures where all gestures
        are in the gallery. ``python -m benchmarks.seen_penalty`` chooses it.
    """

    window: float
    stride: float
    probe_stride: float
    purity: float
    movement: float
    unseen: tuple[str, ...]
    n_test_users: int
    simulation: dict[str, Any] = field(default_factory=dict)
    onset: bool = False
    n_folds: int = 1
    filter: dict[str, Any] | None = None
    envelope: float | None = None
    emg_encoder: dict[str, Any] = field(default_factory=dict)
    pose_encoder: dict[str, Any] = field(default_factory=dict)
    alignment: dict[str, Any] = field(default_factory=dict)
    supervised: dict[str, Any] = field(default_factory=dict)
    n_people: tuple[Any, ...] = (1, 2, 4, 8, "all")
    n_draws: int = 8
    rest_control: bool = False
    session_stride: float = 1.0
    n_neighbors: int = 10
    seen_penalty: float = 0.08
    baseline: float | None = None

    @property
    def windowing(self) -> dict[str, Any]:
        """Parameters of :func:`~sk_cpep.evaluation.cut_gesture_windows`."""
        names = "stride probe_stride purity movement onset unseen"
        return self.signals | {name: getattr(self, name) for name in names.split()}

    @property
    def signals(self) -> dict[str, Any]:
        """What is done to recordings before windows are cut, and how long these are."""
        names = "window filter envelope baseline"
        return {name: getattr(self, name) for name in names.split()}


_SMALL: dict[str, Any] = {
    "d_model": 64,
    "n_layers": 2,
    "n_decoder_layers": 1,
    "mlp_ratio": 2.0,
}
_SMALL |= {"dropout": 0.1, "pooling": "mean", "lr": 1e-3, "weight_decay": 0.05}

_ALIGNMENT = {
    "temperature": 0.2,
    "learn_temperature": False,
    "target_temperature": 0.2,
    "center_pose": True,
    "pooling": "mean",
    "amplitude_jitter": 0.3,
    "lr": 1e-3,
    "weight_decay": 0.05,
    "batch_size": 128,
}

# What EMG goes through while training, in both ways.
_NINAPRO_AUGMENTATION = {
    "channel_rotation": 0,
    "ring_channels": 8,
    "electrode_shift": 0.5,
    "channel_dropout": 0.4,
    "time_shift": 50,
    "amplitude_jitter": 0.3,
}
_SUPERVISED = {
    "pooling": "mean",
    "lr": 1e-3,
    "weight_decay": 0.05,
    "batch_size": 128,
    "max_epochs": 10,
    "class_weight": "balanced",
}

NINAPRO = DemoConfig(
    window=2.0,
    stride=0.5,
    probe_stride=0.25,
    purity=0.6,
    onset=True,
    movement=0.5,
    unseen=(
        "middle extension",
        "little flexion",
        "thumb adduction",
        "thumb extension",
    ),
    n_test_users=3,
    n_folds=5,
    rest_control=True,
    emg_encoder={"patch_length": 10, "max_epochs": 6, **_SMALL},
    pose_encoder={"patch_length": 50, "max_epochs": 6, **_SMALL},
    alignment={**_ALIGNMENT, **_NINAPRO_AUGMENTATION, "max_epochs": 10},
    supervised={**_SUPERVISED, **_NINAPRO_AUGMENTATION},
)

SIMULATED = DemoConfig(
    simulation={
        "n_users": 24,
        "user_variability": 1.5,
        "gestures": 12,
        "n_repetitions": 6,
        "sfreq": 200.0,
        "pose_sfreq": 50.0,
    },
    window=2.0,
    stride=0.5,
    probe_stride=0.5,
    purity=0.6,
    movement=0.5,
    unseen=("hook_em_horns", "shaka", "ok", "vulcan"),
    n_test_users=8,
    filter={"low": 20.0, "high": 90.0, "notch": 50.0},
    envelope=5.0,
    emg_encoder={"patch_length": 20, "max_epochs": 6, **_SMALL},
    pose_encoder={"patch_length": 25, "max_epochs": 6, **_SMALL},
    alignment={**_ALIGNMENT, "max_epochs": 15},
    supervised={**_SUPERVISED, "amplitude_jitter": 0.3},
)

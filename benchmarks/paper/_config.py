"""Fixed configurations: one for each kind of data and size of run."""

from dataclasses import dataclass, field, replace

from sk_cpep.demo import NINAPRO as DEMO_NINAPRO
from sk_cpep.demo import SIMULATED as DEMO_SIMULATED
from sk_cpep.demo import DemoConfig


@dataclass(frozen=True)
class PaperConfig:
    """What is trained, and how it is evaluated.

    Parameters
    ----------
    emg_encoder, pose_encoder : dict
        Parameters of the two :class:`~sk_cpep.MAE`.

    alignment : dict
        Parameters of :class:`~sk_cpep.CPEP`.

    regressors : dict of dict
        Parameters of each pose regressor by the name of its class.

    emg_patch_lengths, pose_patch_lengths, mask_ratios : tuple
        The grids of Figure 3.

    probe_embedding : {"encoder", "projection"}
        What of CPEP the linear probe reads.

    supervised : dict
        Parameters of the :class:`~sk_cpep.encoders.EncoderClassifier` that is trained on
        all labels.

    n_people, n_draws : tuple and int
        Of how many people the labels are that probes of Figure 2 learn from, and how
        often as many people are drawn.

    n_neighbors : int
        Poses that vote in zero-shot classification.

    seen_penalty : float
        What is taken off the similarity of poses of seen gestures where all gestures
        are in the gallery.

    seeds : tuple of int
        Every method is trained once with each.

    windows : DemoConfig
        How recordings become windows (Ninapro DB1).

    n_folds, n_grid_folds : int
        Folds of people (Ninapro DB1), and those of them that Figure 3 is made on.

    tuning_users : tuple
        People on whom configurations are chosen; they are in no test set (Ninapro
        DB1; emg2pose has people of its own for it).

    batches_of_one_person : bool
        Whether a batch of the alignment holds one person's windows.

    size, stride : int
        Length of a window and distance of their starts, in samples (emg2pose).

    pose_rate : int
        Rate in Hz that the pose is packed at (emg2pose).

    bin : int
        The EMG is its root mean square in bins of so many samples, standardised over
        a session (emg2pose). 1 takes it as it is, each window standardised.

    pose_step : int
        One packed pose sample of so many is used (emg2pose).

    n_pose_windows : int or None
        At most so many windows of each kind to predict poses of.

    n_tuning_users : int
        Validation people on whom configurations are chosen (emg2pose); paper: 3.
    """

    emg_encoder: dict
    pose_encoder: dict
    alignment: dict
    regressors: dict
    emg_patch_lengths: tuple
    pose_patch_lengths: tuple
    mask_ratios: tuple = (0.25, 0.5, 0.75)
    probe_embedding: str = "projection"
    supervised: dict = field(default_factory=dict)
    n_people: tuple = (1, 2, 4, 8, "all")
    n_draws: int = 8
    n_neighbors: int = 10
    seen_penalty: float = 0.08
    seeds: tuple = (0,)
    windows: DemoConfig | None = None
    n_folds: int = 1
    n_grid_folds: int = 1
    tuning_users: tuple = ()
    batches_of_one_person: bool = False
    size: int = 4000
    stride: int | None = None
    pose_rate: int = 200
    bin: int = 1
    pose_step: int = 1
    n_pose_windows: int | None = None
    n_tuning_users: int = 3

    @property
    def envelopes(self):
        """Whether the EMG is an envelope."""
        return self.windows is not None or self.bin > 1


def _demo_sized(demo, alignment=(), **changes):
    """As the demo on such data is configured, but for changes to the alignment."""
    return PaperConfig(
        emg_encoder=demo.emg_encoder,
        pose_encoder=demo.pose_encoder,
        alignment=demo.alignment | dict(alignment),
        supervised=demo.supervised,
        n_people=demo.n_people,
        n_draws=demo.n_draws,
        n_neighbors=demo.n_neighbors,
        seen_penalty=demo.seen_penalty,
        batches_of_one_person=True,
        **changes,
    )


def _small_regressors(demo, **common):
    """Pose regressors of a size with the transformers, trained as long as these.

    The published factor of 0.01 on the outputs holds predictions back until hundreds
    of epochs are over, and is 1 here.
    """
    same = ("patch_length", "d_model", "n_layers", "mlp_ratio", "dropout")
    same += ("lr", "weight_decay")
    common |= {"early_stopping": False, "batch_size": 128}
    common |= {"max_epochs": demo.emg_encoder["max_epochs"]}
    tds = common | {"d_model": 64, "output_scale": 1.0}
    return {
        "PoseT": common | {name: demo.emg_encoder[name] for name in same},
        "EMG2Pose": tds,
        "VEMG2Pose": tds | {"d_hidden": 128},
        "NeuroPose": common | {"widths": (8, 32, 64)},
    }


_PUBLISHED_REGRESSORS = {"PoseT": {}, "EMG2Pose": {}, "VEMG2Pose": {}, "NeuroPose": {}}

# The paper's own sizes: defaults are the paper's.
EMG2POSE_FULL = PaperConfig(
    emg_encoder={"patch_length": 50},
    pose_encoder={"patch_length": 20},  # 200 samples at 2 kHz
    alignment={},
    regressors=_PUBLISHED_REGRESSORS,
    emg_patch_lengths=(25, 50, 100, 200),
    pose_patch_lengths=(10, 20, 40, 100),
)

# The paper's sizes at 100 Hz: patches of 50 ms and 100 ms.
NINAPRO_FULL = PaperConfig(
    emg_encoder={"patch_length": 5},
    pose_encoder={"patch_length": 10},
    alignment={"ring_channels": 8},
    regressors={name: {"ring_channels": 8} for name in _PUBLISHED_REGRESSORS},
    emg_patch_lengths=(5, 10, 20),
    pose_patch_lengths=(5, 10, 20, 50),
    windows=DEMO_NINAPRO,
    n_folds=4,
    tuning_users=(4, 10, 16),
)

NINAPRO_SMALL = _demo_sized(
    DEMO_NINAPRO,
    regressors=_small_regressors(DEMO_NINAPRO, channel_rotation=0),
    emg_patch_lengths=(5, 10, 20),
    pose_patch_lengths=(10, 25, 50),
    windows=DEMO_NINAPRO,
    n_folds=3,
    tuning_users=(4, 10, 16),
)

# Envelopes at 100 Hz and poses at 50 Hz, as in the demo on simulated recordings.
# Pooling and temperature are those of seven variants with the highest mean accuracy of
# CPEP over both protocols and gesture sets, on the people who tune of a corpus of 20.
EMG2POSE_SMALL = _demo_sized(
    DEMO_SIMULATED,
    {"pooling": "cls", "temperature": 0.1, "target_temperature": 0.1},
    regressors=_small_regressors(DEMO_SIMULATED),
    emg_patch_lengths=(10, 20, 40),
    pose_patch_lengths=(5, 10, 25),
    stride=1000,
    bin=20,
    pose_step=4,
    n_pose_windows=2000,
    n_tuning_users=2,
)


def _smoke(config):
    """Everything once, and nothing that lasts: shows that all of it runs."""
    tiny = {"d_model": 16, "n_layers": 1, "n_decoder_layers": 1, "max_epochs": 1}
    tiny_regressors = {
        "PoseT": {"d_model": 16, "n_layers": 1},
        "EMG2Pose": {"d_model": 32, "d_features": 8, "d_hidden": 16},
        "VEMG2Pose": {"d_model": 32, "d_features": 8, "d_hidden": 16},
        "NeuroPose": {"widths": (4, 8, 8), "n_residual_blocks": 1},
    }
    return replace(
        config,
        emg_encoder=config.emg_encoder | tiny,
        pose_encoder=config.pose_encoder | tiny,
        alignment=config.alignment | {"max_epochs": 2},
        supervised=config.supervised | {"max_epochs": 1},
        n_people=(1, "all"),
        n_draws=2,
        regressors={
            name: config.regressors[name] | sizes | {"max_epochs": 1}
            for name, sizes in tiny_regressors.items()
        },
        emg_patch_lengths=config.emg_patch_lengths[:1],
        pose_patch_lengths=config.pose_patch_lengths[:1],
        mask_ratios=(0.5,),
        n_folds=min(config.n_folds, 2),
        n_tuning_users=1,
        n_pose_windows=50,
    )


CONFIGS = {
    ("emg2pose", "full"): EMG2POSE_FULL,
    ("emg2pose", "small"): EMG2POSE_SMALL,
    ("emg2pose", "smoke"): _smoke(EMG2POSE_SMALL),
    ("ninapro", "full"): NINAPRO_FULL,
    ("ninapro", "small"): NINAPRO_SMALL,
    ("ninapro", "smoke"): _smoke(NINAPRO_SMALL),
}

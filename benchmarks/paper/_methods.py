"""What the figures and tables of the paper compare, as data."""

from dataclasses import asdict, dataclass, field

from sk_cpep.encoders import CPEP, MAE

from ._store import digest


@dataclass(frozen=True)
class Method:
    """One way to embed EMG (or pose), by everything that makes it what it is.

    Parameters
    ----------
    kind : {"amplitude", "bins", "supervised", "mae", "pose_mae", "regressor", "cpep"}

    emg, pose : dict
        Parameters of the two :class:`~sk_cpep.MAE`.

    alignment : dict
        Parameters of :class:`~sk_cpep.CPEP`.

    regressor : str
        Name of the class of a pose regressor.

    params : dict
        Parameters of the pose regressor, or of the supervised classifier.
    """

    kind: str
    emg: dict = field(default_factory=dict)
    pose: dict = field(default_factory=dict)
    alignment: dict = field(default_factory=dict)
    regressor: str = ""
    params: dict = field(default_factory=dict)

    @property
    def key(self):
        """Equal for methods that are the same computation."""
        alignment = CPEP(**self.alignment).get_params(deep=False)
        whole = {"emg": settled(self.emg), "pose": settled(self.pose)}
        return digest(asdict(self) | whole | {"alignment": alignment})


def settled(params):
    """All parameters of an MAE, those too that are left at their defaults."""
    return MAE(**params).get_params() if params else {}


@dataclass(frozen=True)
class Row:
    """A line of a table, or a cell of a grid: what it is called and what it runs."""

    table: str
    name: str
    method: Method
    cell: dict = field(default_factory=dict)


def figure2(config):
    """Every method of Figure 2, and rivals without poses to compare with."""
    emg, pose = config.emg_encoder, config.pose_encoder
    rows = [
        ("Amplitude", Method("amplitude")),
        ("Amplitude in ten bins", Method("bins")),
        (
            "EMG encoder, supervised",
            Method("supervised", emg=emg, params=config.supervised),
        ),
        ("EMG-MAE", Method("mae", emg=emg)),
    ]
    rows += [
        (name, Method("regressor", pose=pose, regressor=name, params=params))
        for name, params in config.regressors.items()
    ]
    rows += [
        ("CPEP", ours(config)),
        ("Pose-MAE (upper bound)", Method("pose_mae", pose=pose)),
    ]
    return [Row("figure2", name, method) for name, method in rows]


def table2(config):
    """The ablations of Table 2."""
    pooling = {"cls": "mean", "mean": "cls"}[config.alignment.get("pooling", "cls")]
    other = {"mean": "Average pooling", "cls": "[CLS] instead of average pooling"}
    changes = {
        "EMG encoder frozen": {"train_emg": False},
        "EMG encoder randomly initialised": {"emg_init": "random"},
        other[pooling]: {"pooling": pooling},
        "Both randomly initialised": {"emg_init": "random", "pose_init": "random"},
        # A pose encoder that trains has no embeddings to be centred beforehand.
        "Both encoders trained": {"train_pose": True, "center_pose": False},
        "Ours": {},
    }
    return [Row("table2", name, ours(config, **c)) for name, c in changes.items()]


def figure3(config):
    """CPEP over patch lengths and mask ratios, of one modality at a time."""
    rows = []
    for modality, lengths in (
        ("emg", config.emg_patch_lengths),
        ("pose", config.pose_patch_lengths),
    ):
        for length in lengths:
            for ratio in config.mask_ratios:
                changed = {"patch_length": length, "mask_ratio": ratio}
                encoders = {
                    "emg": config.emg_encoder,
                    "pose": config.pose_encoder,
                }
                encoders[modality] = encoders[modality] | changed
                method = Method("cpep", alignment=config.alignment, **encoders)
                name = f"{modality} patch {length}, mask ratio {ratio:g}"
                rows.append(Row("figure3", name, method, changed | {"of": modality}))
    return rows


def ours(config, **changes):
    """CPEP as configured, with `changes` to the alignment."""
    return Method(
        "cpep",
        emg=config.emg_encoder,
        pose=config.pose_encoder,
        alignment=config.alignment | changes,
    )


TABLES = {"figure2": figure2, "table2": table2, "figure3": figure3}


def check_patches(rows, n_times):
    """Refuse patches that no mask fits, before anything is trained.

    Parameters
    ----------
    rows : list of Row

    n_times : dict of int
        Samples of a window, "emg" and "pose".
    """
    for row in rows:
        for modality, samples in n_times.items():
            mae = MAE(**getattr(row.method, modality))
            n_tokens = samples // mae.patch_length
            n_masked = round(n_tokens * mae.mask_ratio)
            if getattr(row.method, modality) and not 0 < n_masked < n_tokens:
                raise ValueError(
                    f"{row.table}, {row.name}: {modality} patches of "
                    f"{mae.patch_length} samples in windows of {samples} are "
                    f"{n_tokens}, and a mask ratio of {mae.mask_ratio} hides "
                    f"{n_masked} of them. Change the configuration."
                )

"""Which fit this is: everything that its result depends on, by name."""

import hashlib
import json
import pickle
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.utils import check_random_state

from .._content_digest import describe_content
from .._file_identity import stamp
from ..training import TrainingPlan, fetch_rows, is_in_memory

FORMAT = 1  # goes up when the same facts come to mean another result
N_COMPARED = 256
_BLOCK_BYTES = 2**26

VALUE = "its value counts"
RESOLVED = "what it comes to on this machine counts"
CONTENT = "what it holds or does counts"
NOTHING = "no result depends on it"

# Whether the result of a fit depends on a parameter. The parameters of a user's own
# class, which are not listed, count by value.
# fmt: off
INFLUENCE = {
    **dict.fromkeys((
        "patch_length", "mask_ratio", "n_bands", "d_model", "n_layers", "n_decoder_layers",
        "n_heads", "mlp_ratio", "dropout", "pooling", "lr", "weight_decay",
        "batch_size", "max_epochs", "restart_period", "early_stopping",
        "validation_fraction", "n_iter_no_change", "tol", "compile", "temperature",
        "learn_temperature", "emg_init", "pose_init", "train_emg", "train_pose",
        "channel_rotation", "ring_channels", "electrode_shift", "amplitude_jitter",
        "time_shift", "noise", "channel_dropout", "duplicate_threshold",
        "target_temperature", "center_pose", "sfreq", "fingertip_weight",
        "gradient_clip", "mode", "strides", "kernel_sizes", "block_kernel_sizes",
        "block_channels", "n_blocks", "d_features", "d_hidden", "rollout_sfreq",
        "output_scale", "time_pools", "electrode_pools", "electrode_upsampling",
        "widths", "n_residual_blocks", "position_seconds", "n_lstm_layers", "kernel_size",
        "init", "label_smoothing", "class_weight",
    ), VALUE),
    **dict.fromkeys(("device", "precision"), RESOLVED),
    **dict.fromkeys((
        "callbacks", "hand_model", "random_state", "loss", "tokenizer", "target",
        "module", "objective",
    ), CONTENT),
    # Encoders count by their weights, a pose_transformer by the poses that it gives.
    **dict.fromkeys((
        "embedding", "emg_encoder", "pose_encoder", "encoder", "pose_transformer",
        "run_dir", "verbose",
    ), NOTHING),
}
# fmt: on

# Callbacks of skorch that watch a fit. One of your own says so with
# ``observes_only = True`` in its class.
_OBSERVERS = {
    *("EpochTimer", "MlflowLogger", "NeptuneLogger", "PrintLog", "ProgressBar"),
    *("SacredLogger", "TensorBoard", "TrainEndCheckpoint", "WandbLogger"),
}
_SCORES = {"BatchScoring", "EpochScoring", "PassthroughScoring"}


@dataclass(frozen=True)
class FitIdentity:
    """Everything that the result of a fit depends on.

    Two fits with equal identities have equal results on one machine.

    Parameters
    ----------
    facts : dict
        Plain values by name: parameters as they resolve on this machine, digests of
        the data, the state of the seed.

    extendable : bool, default=False
        Whether a fit of more epochs begins with just these epochs.

    resolved : tuple of str, default=()
        Facts that the machine decides, not the user.
    """

    facts: Mapping[str, Any]
    extendable: bool = False
    resolved: tuple[str, ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the facts, in hexadecimal."""
        return digest_of_facts(self.facts)

    @property
    def lineage(self) -> str | None:
        """The digest without `max_epochs`; None where a longer fit differs throughout."""
        if not self.extendable:
            return None
        return digest_of_facts({**self.facts, "max_epochs": None})

    def with_facts(self, **facts: Any) -> "FitIdentity":
        """The identity of a fit that depends on more."""
        facts = {name: plain_value(value) for name, value in facts.items()}
        return FitIdentity({**self.facts, **facts}, self.extendable, self.resolved)

    def __str__(self) -> str:
        return f"{self.facts['estimator']} {self.digest[:16]}"


def digest_of_facts(facts: Mapping[str, Any]) -> str:
    """SHA-256 of facts as sorted JSON, in hexadecimal."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How two identities differ, a fact each, in words.

    Parameters
    ----------
    before, now : dict
        The facts of two identities.
    """
    names = dict.fromkeys((*before, *now))
    return [
        f"{name} was {before.get(name)}, now {now.get(name)}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def starting_generator(estimator: Any, plan: TrainingPlan) -> np.random.RandomState:
    """`random_state` as a generator; that of the first process in all of them."""
    return plan.processes.same_generator(check_random_state(estimator.random_state))


def identify(
    estimator: Any,
    plan: TrainingPlan,
    rng: np.random.RandomState,
    *,
    validation_groups: Any = None,
    groups: Any = None,
    facts: Mapping[str, Any] | None = None,
    **data: Any,
) -> FitIdentity:
    """The identity of a fit that is about to begin.

    Parameters
    ----------
    estimator : estimator

    plan : TrainingPlan
        Its parameters, as they resolve on this machine.

    rng : numpy.random.RandomState
        From which nothing has been drawn yet.

    groups, validation_groups : array of shape (n_windows,), default=None
        The latter count with early stopping only.

    facts : dict, default=None
        What else the result depends on.

    **data
        Windows that are trained on. Arrays in memory are known by all of their values;
        others by shape, 256 windows, and what tells their source (the stamps of the
        files that are read).

    Returns
    -------
    identity : FitIdentity
        That of the first process, in all of them.

    Raises
    ------
    ValueError
        If processes that train together were given different things.
    """
    set_aside = validation_groups if plan.early_stopping else None
    known = {
        "format": FORMAT,
        "estimator": name_of(type(estimator)),
        **parameter_facts(estimator),
        "device": plan.device.type,
        "precision": str(plan.dtype).removeprefix("torch."),
        "n_processes": plan.processes.size,
        "random_state": seed_fact(estimator.random_state, rng),
        **{name: plain_value(value) for name, value in (facts or {}).items()},
        **{n: windows_fact(array, plan.batch_size) for n, array in data.items()},
        "groups": groups_fact(groups),
        "validation_groups": groups_fact(set_aside),
    }
    task = f"{type(estimator).__name__}.fit"
    run_dir = getattr(estimator, "run_dir", None)
    folder = None if run_dir is None else str(run_dir)
    compared = {**known, "device": None, "callbacks": None, "run_dir": folder}
    plan.processes.check_same(task, compared)
    sources = {f"{name}_source": source_digest(array) for name, array in data.items()}
    known |= {name: digest for name, digest in sources.items() if digest is not None}
    identity = FitIdentity(
        known,
        extendable=plan.schedule == "constant" or plan.restart_period is not None,
        resolved=tuple(
            name
            for name in ("device", "precision")
            if getattr(estimator, name) == "auto"
        ),
    )
    return plan.processes.broadcast(identity)


def name_of(kind: type) -> str:
    """The name of a class of the package; of others, with a digest of their code."""
    is_ours = kind.__module__.partition(".")[0] == "sk_cpep"
    return kind.__qualname__ if is_ours else describe_content(kind)


def parameter_facts(estimator: Any) -> dict[str, Any]:
    """The parameters that a result depends on by their value or content."""
    facts: dict[str, Any] = {}
    for name, value in estimator.get_params(deep=False).items():
        influence = INFLUENCE.get(name, VALUE)
        if name == "callbacks":
            facts[name] = callback_facts(value or ())
        elif name == "hand_model" and value is not None and Path(value).is_file():
            facts[name] = digest_of([np.frombuffer(Path(value).read_bytes(), np.uint8)])
        elif name != "random_state" and influence in (VALUE, CONTENT):
            # A parameter of a user's own class may have the name of another fact.
            is_ours = name in INFLUENCE
            facts[name if is_ours else f"parameter {name}"] = plain_value(value)
    return facts


def callback_facts(callbacks: Iterable[Any]) -> list[Any]:
    """The callbacks that may change what is learned, by class and parameters.

    A score counts where another callback may act on it.
    """
    given = [c[1] if isinstance(c, tuple) else c for c in callbacks]
    acting = [c for c in given if not observes(c, _OBSERVERS | _SCORES)]
    if acting:
        acting = [c for c in given if not observes(c, _OBSERVERS)]
    return [
        {"class": plain_value(type(c)), **plain_value(parameters_of_callback(c))}
        for c in acting
    ]


def observes(callback: Any, observers: Set[str]) -> bool:
    """Whether a callback only watches: it says so, or it is one of these of skorch."""
    kind = callback if isinstance(callback, type) else type(callback)
    is_skorch = kind.__module__.partition(".")[0] == "skorch"
    return bool(
        getattr(kind, "observes_only", is_skorch and kind.__name__ in observers)
    )


def parameters_of_callback(callback: Any) -> dict[str, Any]:
    """What a callback was made with; not what it has collected in an earlier fit."""
    if isinstance(callback, type):
        return {}
    if hasattr(callback, "get_params"):
        with suppress(AttributeError):  # of a constructor that stores otherwise
            return dict(callback.get_params(deep=False))
    return {k: v for k, v in vars(callback).items() if not k.endswith("_")}


def plain_value(value: Any) -> Any:
    """A value as JSON has it; code and other objects by a digest of their content."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: plain_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain_value(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    return describe_content(value)


def seed_fact(random_state: Any, rng: np.random.RandomState) -> Any:
    """An int as it is, a generator by its state."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return f"a generator of digest {describe_content(rng.get_state(legacy=False))}"


def windows_fact(array: Any, batch_size: int = N_COMPARED) -> str:
    """Shape and digest of windows: of all that are in memory, else of some."""
    shape = tuple(int(n) for n in array.shape)
    if is_in_memory(array):
        step = max(1, _BLOCK_BYTES // (4 * max(1, int(np.prod(shape[1:])))))
        blocks = (array[start : start + step] for start in range(0, shape[0], step))
        blocks = (np.asarray(block, dtype=np.float32) for block in blocks)
        return f"of shape {shape}, digest {digest_of(blocks)}"
    rows = np.linspace(0, shape[0] - 1, min(shape[0], N_COMPARED)).round().astype(int)
    starts = range(0, len(rows), batch_size)
    some = digest_of(fetch_rows(array, rows[i : i + batch_size]) for i in starts)
    return f"of shape {shape}, digest {some} of {len(rows)} windows"


def source_digest(array: Any) -> str | None:
    """Digest of where windows are read from; None of arrays in memory."""
    if is_in_memory(array):
        return None
    if isinstance(array, np.memmap):
        return digest_of([repr(stamp(array.filename or ""))])
    if hasattr(array, "fingerprint"):
        with suppress(TypeError):  # of a source that cannot be pickled
            return str(array.fingerprint())[:16]
        return None
    file = getattr(getattr(array, "file", None), "filename", None)  # of h5py
    if isinstance(file, str):
        return digest_of([repr(stamp(file))])
    try:
        return str(joblib.hash(array))[:16]
    except (TypeError, AttributeError, pickle.PicklingError):
        return None


def groups_fact(groups: Any) -> str | None:
    """Which rows are of one group, in words."""
    if groups is None:
        return None
    names, members = np.unique(groups, return_inverse=True)
    return f"{len(names)} of digest {digest_of([members.astype(np.int64)])}"


def digest_of(arrays: Iterable[Any]) -> str:
    """SHA-256 of the content of arrays, one after the other; 16 digits of it."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()[:16]

"""Reading and checking what is to be fitted, before anything is done."""

import os
import tomllib
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import joblib
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import (
    StrOptions,
    validate_parameter_constraints,
)

from ..datasets import load_pack
from ..encoders import CPEP, MAE

_PATH = [str, os.PathLike]
_NORMALISE = {"normalise": [StrOptions({"channel", "window"})]}
_PACK = load_pack._skl_parameter_constraints | {
    "groups": [StrOptions({"users"})],
    "validation_groups": [StrOptions({"recordings", "users"})],
    **_NORMALISE,
}
_GROUPS = ("groups", "validation_groups")
_FILES = dict.fromkeys(("emg", "pose", *_GROUPS), _PATH) | _NORMALISE
_OUTPUT = {"model": _PATH, "overwrite": ["boolean"], "run_dir": _PATH}
# Of [output], or nothing that a file can hold.
_NOT_IN_A_FILE = {"callbacks", "run_dir", "pose_transformer"}
_ENCODERS = {"emg_encoder": 50, "pose_encoder": 200}  # and their patch lengths
_FITTED = {"config_", "n_channels_in_", "n_times_in_"}  # of an MAE, beside its network
_INHERITED = ("device", "precision", "compile", "verbose")


@dataclass(frozen=True)
class FitConfig:
    """What is fitted, to what, and where it goes.

    Parameters
    ----------
    data : dict
        As for :func:`load_windows`.

    estimator : CPEP or MAE

    modality : {"emg", "pose"} or None
        What an MAE is fitted to.

    model : pathlib.Path
        File of the fitted estimator.

    overwrite : bool
        Whether that may be there.

    inputs : dict of str to str
        What is read, by the keys that say so: files and folders.
    """

    data: dict
    estimator: CPEP | MAE
    modality: str | None
    model: Path
    overwrite: bool
    inputs: dict


def read_config(path, *, verbose=1):
    """Read a file, and check all of it.

    Parameters
    ----------
    path : path-like
        TOML. Paths in it are relative to its folder.

    verbose : int, default=1
        Of estimators that are not told.

    Returns
    -------
    config : FitConfig

    Raises
    ------
    OSError
        If it, or a file that it names, cannot be read.
    ValueError
        If something in it is unknown, missing or no value for it, naming the key.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    try:
        config = check_tables(tables, path.parent, verbose)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return replace(config, inputs=config.inputs | {"CONFIG": str(path)})


def check_tables(tables, folder, verbose):
    """The tables of a file in `folder` as a :class:`FitConfig`."""
    check_names(tables, {"data", "cpep", "mae", "output"}, "the file", "table")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{name} is to be a table, [{name}], not {table!r}.")
    kinds = [name for name in ("cpep", "mae") if name in tables]
    if len(kinds) != 1:
        raise ValueError(
            f"one of [cpep] and [mae] says what is fitted, got {kinds or 'none'}."
        )
    data = check_data(tables.get("data", {}), folder)
    output = check_table(tables.get("output", {}), _OUTPUT, "output", {"model"}, folder)
    modality = None
    if kinds == ["mae"]:
        modality, estimator = make_mae(tables["mae"], verbose)
    else:
        estimator = make_cpep(tables["cpep"], verbose, folder)
    check_modalities(data, modality)
    if "run_dir" in output:
        estimator.set_params(run_dir=output["run_dir"])
        if estimator.random_state is None:  # a run is found again by its seed
            estimator.set_params(random_state=0)
    return FitConfig(
        inputs=find_inputs(data, tables.get("cpep", {}), folder),
        data=data,
        estimator=estimator,
        modality=modality,
        model=Path(output["model"]),
        overwrite=output.get("overwrite", False),
    )


def find_inputs(data, cpep, folder):
    """What is read, by the keys that say so."""
    kinds = _PACK if "pack" in data else _FILES
    inputs = {f"[data] {k}": v for k, v in data.items() if kinds[k] == _PATH}
    for name in _ENCODERS:
        if "fitted" in cpep.get(name, {}):
            inputs[f"[cpep.{name}] fitted"] = str(folder / cpep[name]["fitted"])
    return inputs


def check_data(table, folder):
    """The table ``[data]``, its paths settled."""
    if "pack" in table and {"emg", "pose"} & set(table):
        raise ValueError("[data] takes pack, or emg and pose, not both.")
    if "pack" not in table:
        if not {"emg", "pose"} & set(table):
            check_names(table, _PACK | _FILES, "[data]", "key")
            raise ValueError(
                "[data] needs pack, a folder that python -m sk_cpep pack made, or "
                "emg and pose, .npy files of windows."
            )
        data = check_table(table, _FILES, "data", set(), folder)
        files = ("emg", "pose", *_GROUPS)
        missing = [data[k] for k in files if not is_file(data, k)]
        if missing:
            raise FileNotFoundError(f"[data] {', '.join(missing)}: no such file.")
        return data
    return check_table(table, _PACK, "data", {"pack"}, folder)


def is_file(data, key):
    """Whether a key, if it is given, names a file."""
    return key not in data or Path(data[key]).is_file()


def check_modalities(data, modality):
    """Refuse data without what is to be fitted."""
    wanted = ["emg", "pose"] if modality is None else [modality]
    missing = [name for name in wanted if not {name, "pack"} & set(data)]
    if missing:
        raise ValueError(
            f"[data] needs {' and '.join(missing)}, which is to be fitted."
        )
    if "normalise" in data and not {"emg", "pack"} & set(data):
        raise ValueError("[data] normalise is for emg, which is not given.")


def make_mae(table, verbose):
    """The modality and the estimator of the table ``[mae]``."""
    table = dict(table)
    modality = table.pop("modality", None)
    if modality not in ("emg", "pose"):
        raise ValueError(f"[mae] modality must be 'emg' or 'pose', got {modality!r}.")
    patch_length = _ENCODERS[f"{modality}_encoder"]
    start = {"patch_length": patch_length, "verbose": verbose}
    return modality, make(MAE, start, table, "mae")


def make_cpep(table, verbose, folder):
    """The estimator of the table ``[cpep]``, with its encoders."""
    table = dict(table)
    tables = {name: table.pop(name, {}) for name in _ENCODERS}
    cpep = make(CPEP, {"verbose": verbose}, table, "cpep", also=_ENCODERS)
    inherited = {name: getattr(cpep, name) for name in _INHERITED}
    encoders = {
        name: make_encoder(tables[name], patch_length, inherited, name, folder)
        for name, patch_length in _ENCODERS.items()
    }
    return cpep.set_params(**encoders)


def make_encoder(table, patch_length, inherited, name, folder):
    """An MAE that is to be pre-trained, or one that is fitted already."""
    where = f"cpep.{name}"
    if not isinstance(table, dict):
        raise ValueError(f"{name} is to be a table, [{where}], not {table!r}.")
    if "fitted" not in table:
        start = {"patch_length": patch_length, **inherited}
        return make(MAE, start, table, where, also={"fitted"})
    table = check_table(table, {"fitted": _PATH}, where, {"fitted"}, folder)
    return FrozenEstimator(load_mae(table["fitted"], f"[{where}] fitted"))


def load_mae(path, key):
    """A fitted MAE from a file of joblib's, which runs whatever code is in it."""
    expected = f"{key} must be the file of a fitted MAE, but {path}"
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"{expected} {what}.")
    try:
        mae = joblib.load(path)
    except OSError:
        raise
    except (Exception, SystemExit) as error:  # junk may fail in any way
        raise ValueError(f"{expected} cannot be loaded ({describe(error)}).") from error
    if not isinstance(mae, MAE) or not hasattr(mae, "module_"):
        raise ValueError(f"{expected} holds: {type(mae).__name__}.")
    missing = (set(MAE().get_params()) | _FITTED) - set(vars(mae))
    if missing:
        raise ValueError(f"{expected} is of another version, without {min(missing)}.")
    return mae


def describe(error):
    """An error in a line, with its kind."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def make(kind, start, table, where, also=()):
    """An estimator with the parameters of a table.

    Parameters
    ----------
    kind : class

    start : dict
        Parameters that differ from the defaults, where the table is silent.

    table : dict

    where : str
        Its name.

    also : collection of str, default=()
        Other keys that it might have had.
    """
    known = set(kind().get_params(deep=False)) - _NOT_IN_A_FILE
    check_names(table, known | set(also), f"[{where}]", "key")
    estimator = kind(**start | table)
    try:
        estimator._validate_params()
    except ValueError as error:
        raise ValueError(f"[{where}] {error}") from error
    return estimator


def check_table(table, constraints, where, required, folder):
    """A table whose keys and values are as expected, its paths settled."""
    check_names(table, constraints, f"[{where}]", "key")
    for name in sorted(required - set(table)):
        raise ValueError(f"[{where}] needs {name}.")
    known = {name: constraints[name] for name in table}
    validate_parameter_constraints(known, table, caller_name=f"[{where}]")
    for name, value in table.items():
        if constraints[name] == _PATH and "\0" in value:
            raise ValueError(f"[{where}] {name} = {value!r} is no path.")
    return {
        name: str(folder / value) if constraints[name] == _PATH else value
        for name, value in table.items()
    }


def check_names(given, known, where, kind):
    """Refuse names that are not known, and propose the ones that may be meant."""
    for name in given:
        if name in known:
            continue
        close = get_close_matches(name, known, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"{where} has an unknown {kind}, {name!r}.{meant} "
            f"Known: {', '.join(sorted(known))}."
        )

"""Reading and checking what is to be fitted, before anything is done."""

import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import joblib
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import (
    StrOptions,
    validate_parameter_constraints,
)

from .._typing import PathLike
from ..datasets import load_pack
from ..encoders import CPEP, MAE

Table: TypeAlias = Mapping[str, Any]
Constraints: TypeAlias = Mapping[str, list[Any]]
Kind = TypeVar("Kind", CPEP, MAE)

_PATH: list[Any] = [str, os.PathLike]
_NORMALISE = {"normalise": [StrOptions({"channel", "window"})]}
_PACK: Constraints = vars(load_pack)["_skl_parameter_constraints"] | {
    "groups": [StrOptions({"users"})],
    "validation_groups": [StrOptions({"recordings", "users"})],
    **_NORMALISE,
}
_FILES = ("emg", "pose", "groups", "validation_groups")
_ARRAYS = dict.fromkeys(_FILES, _PATH) | _NORMALISE
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

    modalities : tuple of {"emg", "pose"}
        What the estimator is fitted to: one of them for an MAE, else both.

    model : pathlib.Path
        File of the fitted estimator.

    overwrite : bool
        Whether that may be there.

    inputs : dict of str to str
        What is read, by the keys that say so: files and folders.
    """

    data: Table
    estimator: CPEP | MAE
    modalities: tuple[str, ...]
    model: Path
    overwrite: bool
    inputs: dict[str, str]


def read_config(path: PathLike, *, verbose: int = 1) -> FitConfig:
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


def check_tables(tables: Table, folder: Path, verbose: int) -> FitConfig:
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
    modalities: tuple[str, ...] = ("emg", "pose")
    estimator: CPEP | MAE
    if kinds == ["mae"]:
        modality, estimator = make_mae(tables["mae"], verbose)
        modalities = (modality,)
    else:
        estimator = make_cpep(tables["cpep"], verbose, folder)
    check_modalities(data, modalities)
    if "run_dir" in output:
        estimator.set_params(run_dir=output["run_dir"])
        if estimator.random_state is None:  # a run is found again by its seed
            estimator.set_params(random_state=0)
    return FitConfig(
        inputs=find_inputs(data, tables.get("cpep", {}), folder),
        data=data,
        estimator=estimator,
        modalities=modalities,
        model=Path(output["model"]),
        overwrite=output.get("overwrite", False),
    )


def find_inputs(data: Table, cpep: Table, folder: Path) -> dict[str, str]:
    """What is read, by the keys that say so."""
    kinds = _PACK if "pack" in data else _ARRAYS
    inputs = {f"[data] {k}": v for k, v in data.items() if kinds[k] == _PATH}
    for name in _ENCODERS:
        if "fitted" in cpep.get(name, {}):
            inputs[f"[cpep.{name}] fitted"] = str(folder / cpep[name]["fitted"])
    return inputs


def check_data(table: Table, folder: Path) -> Table:
    """The table ``[data]``, its paths settled."""
    of_arrays = {"emg", "pose"} & set(table)
    if "pack" in table:
        if of_arrays:
            raise ValueError("[data] takes pack, or emg and pose, not both.")
        return check_table(table, _PACK, "data", {"pack"}, folder)
    if not of_arrays:
        check_names(table, {**_PACK, **_ARRAYS}, "[data]", "key")
        raise ValueError(
            "[data] needs pack, a folder that python -m sk_cpep pack made, or "
            "emg and pose, .npy files of windows."
        )
    data = check_table(table, _ARRAYS, "data", set(), folder)
    paths = [data[name] for name in _FILES if name in data]
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise FileNotFoundError(f"[data] {', '.join(missing)}: no such file.")
    return data


def check_modalities(data: Table, modalities: Iterable[str]) -> None:
    """Refuse data without what is to be fitted."""
    missing = [name for name in modalities if not {name, "pack"} & set(data)]
    if missing:
        raise ValueError(
            f"[data] needs {' and '.join(missing)}, which is to be fitted."
        )
    if "normalise" in data and not {"emg", "pack"} & set(data):
        raise ValueError("[data] normalise is for emg, which is not given.")


def make_mae(table: Table, verbose: int) -> tuple[str, MAE]:
    """The modality and the estimator of the table ``[mae]``."""
    own = dict(table)
    modality = own.pop("modality", None)
    if modality not in ("emg", "pose"):
        raise ValueError(f"[mae] modality must be 'emg' or 'pose', got {modality!r}.")
    patch_length = _ENCODERS[f"{modality}_encoder"]
    start = {"patch_length": patch_length, "verbose": verbose}
    return modality, make(MAE, start, own, "mae")


def make_cpep(table: Table, verbose: int, folder: Path) -> CPEP:
    """The estimator of the table ``[cpep]``, with its encoders."""
    own = {name: value for name, value in table.items() if name not in _ENCODERS}
    cpep = make(CPEP, {"verbose": verbose}, own, "cpep", also=_ENCODERS)
    inherited = {name: getattr(cpep, name) for name in _INHERITED}
    encoders = {
        name: make_encoder(
            table.get(name, {}), {"patch_length": length, **inherited}, name, folder
        )
        for name, length in _ENCODERS.items()
    }
    cpep.set_params(**encoders)
    return cpep


def make_encoder(
    table: Table, start: Table, name: str, folder: Path
) -> MAE | FrozenEstimator:
    """An MAE that is to be pre-trained, or one that is fitted already."""
    where = f"cpep.{name}"
    if not isinstance(table, dict):
        raise ValueError(f"{name} is to be a table, [{where}], not {table!r}.")
    if "fitted" not in table:
        return make(MAE, start, table, where, also={"fitted"})
    table = check_table(table, {"fitted": _PATH}, where, {"fitted"}, folder)
    return FrozenEstimator(load_mae(table["fitted"], f"[{where}] fitted"))


def load_mae(path: PathLike, key: str) -> MAE:
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
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ValueError(f"{expected} cannot be loaded ({what}).") from error
    if not isinstance(mae, MAE) or not hasattr(mae, "module_"):
        raise ValueError(f"{expected} holds: {type(mae).__name__}.")
    missing = (set(MAE().get_params()) | _FITTED) - set(vars(mae))
    if missing:
        raise ValueError(f"{expected} is of another version, without {min(missing)}.")
    return mae


def make(
    kind: type[Kind], start: Table, table: Table, where: str, also: Iterable[str] = ()
) -> Kind:
    """An estimator with the parameters of a table.

    Parameters
    ----------
    kind : class

    start : mapping
        Parameters that differ from the defaults, where the table is silent.

    table : mapping

    where : str
        Its name.

    also : iterable of str, default=()
        Other keys that it might have had.
    """
    known = set(kind().get_params(deep=False)) - _NOT_IN_A_FILE
    check_names(table, known | set(also), f"[{where}]", "key")
    estimator = kind(**{**start, **table})
    try:
        estimator._validate_params()
    except ValueError as error:
        raise ValueError(f"[{where}] {error}") from error
    return estimator


def check_table(
    table: Table,
    constraints: Constraints,
    where: str,
    required: set[str],
    folder: Path,
) -> dict[str, Any]:
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


def check_names(
    given: Iterable[str], known: Collection[str], where: str, kind: str
) -> None:
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

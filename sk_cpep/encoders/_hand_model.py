"""Hand models from files in the layout of UmeTrack."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._typing import Float64Array, PathLike
from ..nn import HandModel
from ..nn._hand_model import N_BONES, N_JOINTS, N_LANDMARKS

_KEYS = (
    "joint_rotation_axes",
    "joint_rest_positions",
    "landmark_rest_positions",
    "landmark_rest_bone_indices",
    "landmark_rest_bone_weights",
)


def load_hand_model(path: PathLike) -> HandModel:
    """Read a hand model.

    Neither emg2pose's recordings nor this package contain one: the models that go
    with the data come with licences of their own.

    Parameters
    ----------
    path : str or path-like
        A JSON file with, at its top level or in one object below it:

        - ``joint_rotation_axes`` (20 or 22, 3): unit vectors, four joints each of
          thumb, index, middle, ring and pinky, outwards. Those of the wrist, if any,
          come last and are not used;
        - ``joint_rest_positions`` (20 or 22, 3) in mm;
        - ``landmark_rest_positions`` (21, 3) in mm, the five fingertips first;
        - ``landmark_rest_bone_indices`` and ``landmark_rest_bone_weights``: for each
          landmark the bones that it hangs on and the share of each. 0 is the root, 1
          the wrist, then three a finger, after its second to fourth joint.

    Returns
    -------
    hand : sk_cpep.nn.HandModel
        ``hand.landmarks(angles)`` takes joint angles of shape (n, 20) in radians to
        the positions (n, 21, 3) of the landmarks in mm.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    ValueError
        If the file is no JSON, lacks something, or holds values that make no hand.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Hand model {path} is not JSON: {error}") from error
    content = _find_keys(content, path)
    axes, centres = (_read_vectors(content, key, path) for key in _KEYS[:2])
    landmarks = _read_vectors(content, _KEYS[2], path)
    for key, vectors, counts in (
        (_KEYS[0], axes, (N_JOINTS, N_JOINTS + 2)),
        (_KEYS[1], centres, (N_JOINTS, N_JOINTS + 2)),
        (_KEYS[2], landmarks, (N_LANDMARKS,)),
    ):
        if len(vectors) not in counts:
            raise ValueError(
                f"Hand model {path}: {key} has {len(vectors)} rows, expected "
                f"{' or '.join(map(str, counts))}."
            )
    axes, centres = axes[:N_JOINTS], centres[:N_JOINTS]
    if not np.allclose(np.linalg.norm(axes, axis=1), 1, atol=1e-3):
        raise ValueError(f"Hand model {path}: {_KEYS[0]} must be of length 1.")
    weights = _read_weights(content, path)
    arrays = (axes, centres, landmarks, weights)
    return HandModel(*(torch.from_numpy(a.astype(np.float32)) for a in arrays))


def _find_keys(content: Any, path: PathLike) -> dict[str, Any]:
    """The object that has the keys: the file's, or one below it."""
    below = content.values() if isinstance(content, dict) else ()
    objects: list[dict[str, Any]] = [
        o for o in (content, *below) if isinstance(o, dict)
    ]
    lacking = [[key for key in _KEYS if key not in o] for o in objects]
    best = min(lacking, key=len, default=list(_KEYS))
    if best:
        raise ValueError(f"Hand model {path} lacks {', '.join(best)}.")
    return objects[lacking.index(best)]


def _read_vectors(content: dict[str, Any], key: str, path: PathLike) -> Float64Array:
    """Numbers as vectors (n, 3)."""
    try:
        vectors = np.asarray(content[key], dtype=np.float64).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Hand model {path}: {key} must be rows of three numbers."
        ) from error
    if not np.isfinite(vectors).all():
        raise ValueError(f"Hand model {path}: {key} has values that are not finite.")
    return vectors


def _read_weights(content: dict[str, Any], path: PathLike) -> Float64Array:
    """Share of each bone in each landmark, (21, 17)."""
    indices, shares = (content[key] for key in _KEYS[3:])
    weights = np.zeros((N_LANDMARKS, N_BONES))
    try:
        rows = list(zip(indices, shares, strict=True))
        if len(rows) != N_LANDMARKS:
            raise ValueError(f"{len(rows)} landmarks")
        for weight, (bones, parts) in zip(weights, rows):
            for bone, part in zip(np.ravel(bones), np.ravel(parts), strict=True):
                if part:  # rows are filled up with bones of no share
                    weight[range(N_BONES)[int(bone)]] += part
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"Hand model {path}: {_KEYS[3]} and {_KEYS[4]} must hold, for each of "
            f"{N_LANDMARKS} landmarks, bones from 0 to {N_BONES - 1} and as many "
            f"shares. {error}."
        ) from error
    if not np.allclose(weights.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"Hand model {path}: {_KEYS[4]} must sum to 1 per landmark.")
    return weights

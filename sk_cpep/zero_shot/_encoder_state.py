"""Whether an encoder is still the one that a gallery was made with."""

import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .._typing import AnyArray
from ._encoder import steps_of

# Attributes of estimators that change nothing of what they compute, or only how.
_IGNORED = {"batch_size", "device", "history_", "n_jobs", "run_dir", "verbose"}
_LEARNED = np.ndarray, torch.Tensor, torch.nn.Module, BaseEstimator
# Number of values of each array that are compared in every call.
_N_PROBED = 8


@dataclass
class _LastSeen:
    """The encoder when a classifier used it last."""

    probe: list[Any]
    checksums: dict[str, int]
    warned_of: int | None = None


# Kept beside the classifiers: an address in memory must not get into a pickle of one.
_last_seen: WeakKeyDictionary[Any, _LastSeen] = WeakKeyDictionary()


def weight_checksums(encoder: Any) -> dict[str, int]:
    """Checksums of all weights that embed poses, and of all that embed the source.

    Parameters
    ----------
    encoder : fitted encoder
        A :class:`~sk_cpep.CPEP`, or a Pipeline, search or FrozenEstimator of one. In
        an encoder of another class every fitted array, tensor, module and estimator
        counts as embedding poses, as it cannot be known which of them do.

    Returns
    -------
    checksums : dict of int
        ``"pose"`` and ``"source"``; equal for equal values, on every device and machine.
    """
    return {side: _checksum(part) for side, part in _sides(encoder).items()}


def check_encoder_unchanged(classifier: Any) -> None:
    """Refuse an encoder that embeds poses otherwise than when the gallery was made.

    Every call compares where the weights are in memory, how often PyTorch saw them
    change, and some of their values, which takes little time beside embedding a single
    window. All values are read only if any of these differs.

    Raises
    ------
    ValueError
        If what embeds poses has changed since `fit`.

    Warns
    -----
    UserWarning
        If only what embeds the source has changed; once for each change.
    """
    expected = getattr(classifier, "_weight_checksums", None)
    if expected is None:  # pickled before they were kept
        return
    probe = _probe(list(_sides(classifier.encoder).values()))
    seen = _last_seen.get(classifier)
    if seen is None or seen.probe != probe:
        warned_of = None if seen is None else seen.warned_of
        seen = _LastSeen(probe, weight_checksums(classifier.encoder), warned_of)
        _last_seen[classifier] = seen
    if seen.checksums["pose"] != expected["pose"]:
        raise ValueError(
            "The encoder was changed since fit: it embeds poses otherwise than those in "
            "the gallery were embedded. Fit again with the present encoder."
        )
    source = seen.checksums["source"]
    if source not in (expected["source"], seen.warned_of):
        seen.warned_of = source
        warnings.warn(
            "The encoder's transform was changed since the gallery was made, but its "
            "transform_pose was not: the gallery is kept. Fit again if that was not "
            "intended.",
            UserWarning,
            stacklevel=4,
        )


def _sides(encoder: Any) -> dict[str, Any]:
    """Objects that embed poses and objects that embed the source, by side."""
    *before, step = steps_of(encoder)
    if hasattr(step, "_embedding_parts"):
        pose, source = step._embedding_parts()
    else:
        held = getattr(step, "__dict__", {}).items()
        pose = {k: v for k, v in held if k.endswith("_") and isinstance(v, _LEARNED)}
        source = ()
    return {"pose": pose, "source": (before, source)}


def _values(
    part: Any, seen: tuple[int, ...] = ()
) -> Iterator[str | AnyArray | torch.Tensor]:
    """Yield the tensors and arrays that a part is made of, and all else as text."""
    if isinstance(part, torch.nn.Module):
        yield from part.state_dict(keep_vars=True).values()
    elif isinstance(part, torch.Tensor):
        yield part
    elif isinstance(part, (np.ndarray, np.generic)):
        array = np.asarray(part)
        yield repr(array.tolist()) if array.dtype.hasobject else array
    elif isinstance(part, dict):
        for name in sorted(part, key=repr):
            yield repr(name)
            yield from _values(part[name], seen)
    elif isinstance(part, (list, tuple)):
        for item in part:
            yield from _values(item, seen)
    elif isinstance(part, BaseEstimator) and id(part) not in seen:
        names = {k for k in vars(part) if not k.startswith("_")} - _IGNORED
        yield type(part).__qualname__
        yield from _values({k: vars(part)[k] for k in names}, (*seen, id(part)))
    elif part is None or isinstance(part, (bool, int, float, str)):
        yield repr(part)
    else:
        yield type(part).__qualname__


def _probe(part: Any) -> list[Any]:
    """Places, versions and a few evenly spaced values of all arrays of a part."""
    found: list[Any] = []
    tensors: dict[Any, list[torch.Tensor]] = {}
    for value in _values(part):
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, np.ndarray):
            found.append((value.ctypes.data, value.shape, _few(value).tobytes()))
        else:
            version = 0 if value.is_inference() else value._version
            found.append((value.data_ptr(), version))
            few = _few(value.detach())
            tensors.setdefault((few.device, few.dtype), []).append(few)
    # One transfer from the device for each type, rather than one for each tensor.
    return [*found, *(_bytes(torch.cat(some)) for some in tensors.values())]


def _few(array: Any) -> Any:
    """A few evenly spaced values of an array or a tensor."""
    flat = array.reshape(-1)
    return flat[:: max(1, len(flat) // _N_PROBED)]


def _checksum(part: Any) -> int:
    """CRC-32 of the values, shapes and texts of a part."""
    total = 0
    for value in _values(part):
        if isinstance(value, str):
            total = zlib.crc32(value.encode(), total)
        else:
            total = zlib.crc32(f"{tuple(value.shape)}".encode(), total)
            total = zlib.crc32(_bytes(value), total)
    return total


def _bytes(array: AnyArray | torch.Tensor) -> bytes:
    """Bytes of an array, or of a tensor on whatever device, in the order of rows."""
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu().reshape(-1).view(torch.uint8).numpy()
    return array.tobytes()

"""Whether an encoder is still the one that a gallery was made with."""

import warnings
import zlib
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sklearn.base import BaseEstimator

from ._embeddings import steps_of

# Attributes of estimators that change nothing of what they compute, or only how.
_IGNORED = {"batch_size", "device", "history_", "memory", "n_jobs", "verbose"}
# Values of each array that are looked at in every call.
_N_PROBED = 8
# What each classifier found last, for as long as it lives.
_found = WeakKeyDictionary()


class _Found:
    """The encoder as a classifier saw it last."""

    def __init__(self, glance, checksums):
        self.glance = glance
        self.checksums = checksums
        self.told = None


def checksums_of(encoder):
    """Checksums of all that embeds poses, and of all that embeds EMG.

    Parameters
    ----------
    encoder : fitted encoder
        A :class:`~sk_cpep.CPEP`, or a Pipeline, search or FrozenEstimator of one. Of
        another class, the fitted arrays, tensors, modules and estimators count, and
        nothing is known of which of them embed poses: all do.

    Returns
    -------
    checksums : dict of int
        ``"pose"`` and ``"emg"``; equal for equal values, on every device and machine.
    """
    return {side: _checksum(part) for side, part in _sides(encoder).items()}


def check_unchanged(classifier):
    """Refuse an encoder that embeds poses in another way than those of the gallery.

    What is looked at in every call is where weights are, how often PyTorch saw them
    change, and some of their values: little beside embedding a single window. Only if
    any of it differs are all values read.

    Raises
    ------
    ValueError
        If what embeds poses is not what it was in `fit`.

    Warns
    -----
    UserWarning
        If only what embeds EMG is another one; once for each.
    """
    expected = getattr(classifier, "_encoder_checksums", None)
    if expected is None:  # pickled before they were kept
        return
    found = _look(classifier)
    if found.checksums["pose"] != expected["pose"]:
        raise ValueError(
            "The encoder was changed since fit: it embeds poses in another way than "
            "those in the gallery. Fit again with the present one."
        )
    changed = found.checksums["emg"] != expected["emg"]
    if changed and found.told != found.checksums["emg"]:
        found.told = found.checksums["emg"]
        warnings.warn(
            "The encoder embeds EMG in another way than when the gallery was made, and "
            "poses as then: the gallery is kept. Fit again if that was not intended.",
            UserWarning,
            stacklevel=4,
        )


def _look(classifier):
    """What the encoder is now, read anew only where it seems to have changed."""
    sides = _sides(classifier.encoder)
    glance = _glance(list(sides.values()))
    found = _found.get(classifier)
    if found is None or found.glance != glance:
        told = None if found is None else found.told
        found = _Found(glance, {side: _checksum(part) for side, part in sides.items()})
        found.told = told
        _found[classifier] = found
    return found


def _sides(encoder):
    """Objects that embed poses and objects that embed EMG, by side."""
    *before, step = steps_of(encoder)
    if hasattr(step, "_embedding_parts"):
        pose, emg = step._embedding_parts()
    else:
        kinds = np.ndarray, torch.Tensor, torch.nn.Module, BaseEstimator
        held = getattr(step, "__dict__", {})
        fitted = {k: v for k, v in held.items() if k.endswith("_")}
        pose = {k: v for k, v in fitted.items() if isinstance(v, kinds)}
        emg = ()
    return {"pose": pose, "emg": (before, emg)}


def _values(part, seen=()):
    """Yield the tensors and arrays that a part is made of, and all else as text."""
    if isinstance(part, torch.nn.Module):
        yield from part.state_dict(keep_vars=True).values()
    elif isinstance(part, torch.Tensor):
        yield part
    elif isinstance(part, np.ndarray):
        yield repr(part.tolist()) if part.dtype.hasobject else part
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
    elif isinstance(part, np.generic):
        yield np.asarray(part)  # whose text depends on the version of numpy
    elif part is None or isinstance(part, (bool, int, float, str)):
        yield repr(part)
    else:
        yield type(part).__qualname__


def _glance(part):
    """What is seen of values without reading them all."""
    stamps, probes = [], []
    for value in _values(part):
        if isinstance(value, torch.Tensor):
            version = 0 if value.is_inference() else value._version
            stamps.append((value.data_ptr(), version))
            probes.append(_some(value.detach()))
        elif isinstance(value, np.ndarray):
            start = value.__array_interface__["data"][0]
            stamps.append((start, value.shape, _some(value).tobytes()))
        else:
            stamps.append(value)
    by_kind = {}
    for probe in probes:  # one transfer of each kind, and not one of each tensor
        by_kind.setdefault((probe.device, probe.dtype), []).append(probe)
    return stamps, [_bytes(torch.cat(some)) for some in by_kind.values()]


def _some(array):
    """A few evenly spaced values of an array or a tensor."""
    flat = array.reshape(-1)
    return flat[:: max(1, len(flat) // _N_PROBED)]


def _checksum(part):
    total = 0
    for value in _values(part):
        if isinstance(value, str):
            total = zlib.crc32(value.encode(), total)
        else:
            total = zlib.crc32(f"{tuple(value.shape)}".encode(), total)
            total = zlib.crc32(_bytes(value), total)
    return total


def _bytes(array):
    """Bytes of an array, or of a tensor on whatever device, in the order of rows."""
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu().reshape(-1).view(torch.uint8).numpy()
    return array.tobytes()

"""What a fit leaves on disk, so that another one can resume it."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from skorch.callbacks import Callback

from .._version import __version__
from .._whole_file import replace_file

if TYPE_CHECKING:
    from ._net import LossNet

FORMAT = 2


class Checkpoint:
    """Where a run is left after every epoch; this one leaves nothing.

    Attributes
    ----------
    has_ended : bool
        Whether the run that is resumed was ended by early stopping or a callback.
    """

    has_ended = False

    def begin(self, net: LossNet) -> None:
        """Bring a net to where the run was left; before ``on_train_begin``."""

    def resume(self, net: LossNet) -> None:
        """The same for what is made in ``on_train_begin``."""

    def save(self, net: LossNet, has_ended: bool = False) -> None:
        """Leave the run as it is after this epoch."""


class SaveEpoch(Callback):
    """Leave a checkpoint after every epoch.

    Parameters
    ----------
    checkpoint : Checkpoint
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def on_epoch_end(self, net: LossNet, **kwargs: Any) -> None:
        """Save the epoch."""
        self.checkpoint.save(net)


class DamagedFile(Exception):
    """A file is there, but not as it was written."""


def write_state(
    path: Path, state: dict[str, Any], previous: Path | None = None
) -> None:
    """Write tensors and plain values to a file, completely or not at all."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "sk_cpep": __version__, **state}, buffer)
    try:
        replace_file(path, buffer.getbuffer(), previous)
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise


def read_state(path: Path) -> dict[str, Any]:
    """Read a file of :func:`write_state`; no code in it is run.

    Raises
    ------
    DamagedFile
        If it is not as it was written, or something else wrote it.
    """
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wrong = archive.testzip()
        if wrong is not None:
            raise zipfile.BadZipFile(f"bad checksum of {wrong}")
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # what is damaged may fail in any way
        raise DamagedFile(f"{path} is damaged") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedFile(f"{path} was not written by this version of sk_cpep")
    return state

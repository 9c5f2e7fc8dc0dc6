"""What the sources of windows in files have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from .._file_identity import stamp
from .._typing import Float32Array
from ._window_array import Indices


class FileSource(ABC):
    """Recordings in files, read in windows.

    Attributes
    ----------
    n_channels : int
        Channels of every window.
    """

    n_channels: int

    @abstractmethod
    def paths(self) -> list[Path]:
        """Files that are read."""

    @abstractmethod
    def read_into(
        self, recordings: Indices, starts: Indices, out: Float32Array
    ) -> None:
        """Read windows into `out` of shape (n, n_channels, n_times)."""

    @abstractmethod
    def fingerprint(self, recordings: Indices) -> str:
        """Digest of what identifies the content of recordings."""

    def read(self, recordings: Indices, starts: Indices, n_times: int) -> Float32Array:
        """Read windows.

        Parameters
        ----------
        recordings, starts : int array of shape (n,)
            Number of the recording, and first sample within it.

        n_times : int
            Samples of a window.

        Returns
        -------
        windows : ndarray of shape (n, n_channels, n_times), float32

        Raises
        ------
        FileNotFoundError, ValueError
            If a file is gone, damaged, or has changed; if a window lies outside its
            recording; if values are not finite.
        """
        out = np.empty((len(starts), self.n_channels, n_times), np.float32)
        self.read_into(np.asarray(recordings), np.asarray(starts), out)
        return out

    def __getstate__(self) -> dict[str, Any]:
        # A cache that knows windows by their pickle has to see replaced files.
        return vars(self) | {"stamps": [stamp(path) for path in self.paths()]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        del self.stamps  # type: ignore[attr-defined]

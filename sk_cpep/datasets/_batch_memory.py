"""Memory for batches, used again when nobody holds the batch any more."""

import math
import sys
import threading

import numpy as np

_MAX_KEPT = 2  # one batch is in use while the next is read
_MAX_BYTES = 2**27


class BatchMemory:
    """Float32 arrays in the memory of earlier ones.

    A batch of windows is so large that the system gives fresh memory for each, and
    clears it page by page, which takes as long as to read the windows. So the memory
    of a batch is kept, and given out again once no array, view or tensor of it is
    left. It is not pickled, and a copy begins with none.
    """

    def __init__(self):
        self._kept = []
        self._lock = threading.Lock()

    def __reduce__(self):
        return BatchMemory, ()

    def empty(self, shape):
        """An array with undefined values.

        Parameters
        ----------
        shape : tuple of int

        Returns
        -------
        array : float32 ndarray of shape `shape`
        """
        size = math.prod(shape)
        if size * 4 > _MAX_BYTES:
            return np.empty(shape, np.float32)
        with self._lock:
            n = self._find_free(size)
            if n is None:
                n = self._make(size)
            return self._kept[n][:size].reshape(shape)

    def _find_free(self, size):
        """Number of a memory that is unused, and large enough but not by far too large."""
        for n in range(len(self._kept)):
            fits = size <= self._kept[n].size <= 2 * size
            if fits and _count_references(self._kept, n) == _UNUSED:
                return n
        return None

    def _make(self, size):
        """Number of a new memory, kept in place of the oldest."""
        if len(self._kept) == _MAX_KEPT:
            del self._kept[0]
        self._kept.append(np.empty(size, np.float32))
        return len(self._kept) - 1


def _count_references(arrays, n):
    return sys.getrefcount(arrays[n])


_UNUSED = _count_references([np.empty(0)], 0)

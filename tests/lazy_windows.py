"""Windows that are not in memory, for tests of what reads them."""

import numpy as np


class Lazy:
    """Windows by index; they cannot be read whole, and count the largest request."""

    def __init__(self, data):
        self.data = data
        self.shape = data.shape
        self.largest = 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.largest = max(self.largest, np.size(index))
        return self.data[index]

    def __array__(self, *args, **kwargs):
        raise AssertionError("copied whole")


class Fetched(Lazy):
    """The same, fetched several at a time alone."""

    def __getitems__(self, indices):
        return super().__getitem__(indices)

    def __getitem__(self, index):
        raise AssertionError("fetched one by one")

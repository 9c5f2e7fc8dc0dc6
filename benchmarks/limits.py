"""What the machine allows: matrix products and copies, measured on the spot."""

import torch

from .timing import seconds_of

MATMUL_SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}
COPY_BYTES = {"cpu": 2**29, "cuda": 2**31, "mps": 2**29}
MIN_SECONDS = 0.05  # a shorter measurement says more about the clock


def matmul_ceiling(device, dtype=torch.float32, shape=None, repeats=5):
    """Fastest matrix product.

    Parameters
    ----------
    device : torch.device or str

    dtype : torch.dtype, default=torch.float32
        Float32 products run as torch is set to
        (``torch.get_float32_matmul_precision()``); no setting is changed.

    shape : tuple of 3 int, default=None
        ``(M, K, N)`` of the product of M x K and K x N. None is a large square.

    repeats : int, default=5
        The best of so many counts.

    Returns
    -------
    rate : float
        Floating-point operations a second; a multiplication and an addition are two.
    """
    device = torch.device(device)
    M, K, N = shape or (MATMUL_SIDE[device.type],) * 3
    a = torch.rand(M, K, device=device).to(dtype)
    b = torch.rand(K, N, device=device).to(dtype)
    out = torch.empty(M, N, device=device, dtype=dtype)
    return 2 * M * K * N / _best(lambda: torch.mm(a, b, out=out), device, repeats)


def copy_bandwidth(device, n_bytes=None, repeats=5):
    """Fastest copy from memory to memory of a device.

    Parameters
    ----------
    device : torch.device or str

    n_bytes : int, default=None
        Size of what is copied. None is more than caches hold.

    repeats : int, default=5
        The best of so many counts.

    Returns
    -------
    rate : float
        Bytes a second, of those read and those written together.
    """
    device = torch.device(device)
    n_bytes = n_bytes or COPY_BYTES[device.type]
    source = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * n_bytes / _best(lambda: target.copy_(source), device, repeats)


class Limits:
    """The best of measurements that are spread over a run.

    A machine that is busy with something else for a while would have others exceed
    limits measured just then.

    Parameters
    ----------
    device : torch.device or str

    Attributes
    ----------
    matmul : dict of str to float
        Operations a second in ``"float32"`` and ``"bfloat16"``.

    copies : float
        Bytes a second, read and written.
    """

    def __init__(self, device):
        self.device = torch.device(device)
        self.matmul = dict.fromkeys(("float32", "bfloat16"), 0.0)
        self.copies = 0.0
        self.measure()

    def measure(self):
        """Measure again; the best counts."""
        for precision, best in self.matmul.items():
            rate = matmul_ceiling(self.device, getattr(torch, precision))
            self.matmul[precision] = max(best, rate)
        self.copies = max(self.copies, copy_bandwidth(self.device))


def _best(operation, device, repeats):
    """Least seconds of an operation, warm, over runs that are long enough to time."""
    operation()
    n = max(1, round(MIN_SECONDS / max(seconds_of(operation, device), 1e-9)))

    def run():
        for _ in range(n):
            operation()

    return min(seconds_of(run, device) for _ in range(repeats)) / n

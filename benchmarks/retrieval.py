"""How fast the nearest poses are found, at the size of the corpus.

``python -m benchmarks.retrieval`` looks up 10,000 queries in a gallery of 666,000 x 256
unit embeddings, the 10 nearest of each, by

* :class:`sk_cpep.ZeroShotClassifier`, ``kneighbors`` and the whole of ``predict``, with
  an encoder that does nothing;
* FAISS flat (``IndexFlatIP``; on a GPU where its build has one);
* scikit-learn's brute force, euclidean distances of unit rows;
* torch, a product and ``topk``, of as many queries at once as take 1 GiB;

all with as many threads, on galleries that are random and such as real ones are, in
clusters. The limit is the matrix product at the ceiling measured on the spot. It says
first how many of the neighbours of some queries are those of a full sort in float64,
and in the end how much memory a search took beside the gallery. ``--device cuda`` does
the same on a GPU.
"""

import argparse
import re
import sys
import threading
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from sk_cpep import ZeroShotClassifier
from sk_cpep.training import resolve_device

from .limits import matmul_ceiling
from .table import Table, finish, table_file
from .timing import in_turn, seconds_of

OURS, PREDICT = "kneighbors", "predict"
FAISS, SKLEARN, TORCH = "FAISS flat", "scikit-learn, brute", "torch, topk"
PEERS = (FAISS, SKLEARN, TORCH)
N_GESTURES, N_CHECKED = 29, 32
BLOCK_BYTES = 2**30  # similarities that torch holds at once
STATUS = Path("/proc/self/status")


class Precomputed:
    """An encoder of what is embedded already."""

    def transform(self, X):
        return X

    transform_pose = transform


def make_rows(kind, n, d, seed):
    """Unit rows (n, d), float32, and gestures (n,)."""
    rng = np.random.default_rng(seed)
    gestures = rng.integers(N_GESTURES, size=n)
    Z = rng.standard_normal((n, d), dtype=np.float32)
    if kind == "clustered":  # cosines within a gesture are 0.8 to 1
        shared = np.random.default_rng(99)
        centres = shared.standard_normal((N_GESTURES, d), dtype=np.float32)
        ways = 0.1 * shared.standard_normal((8, d), dtype=np.float32)
        Z *= 0.03
        Z += rng.standard_normal((n, 8), dtype=np.float32) @ ways
        Z += centres[gestures]
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    return Z, gestures


def make_searches(G, gestures, k, device):
    """Every way to search, from queries to the rows of their neighbours.

    Returns
    -------
    searches : dict of str to callable
    missing : dict of str to str
        What to do about those that are not installed.
    """
    zero = ZeroShotClassifier(Precomputed(), k, device=device).fit(G, gestures)
    searches = {
        OURS: lambda Q: zero.kneighbors(Q, return_distance=False),
        PREDICT: zero.predict,
        SKLEARN: scikit_learn_search(G, k),
        TORCH: torch_search(G, k, device),
    }
    try:
        return searches | {FAISS: faiss_search(G, k, device)}, {}
    except ImportError:
        return searches, {FAISS: "not installed: pip install faiss-cpu"}


def faiss_search(G, k, device):
    """Inner products by FAISS, on a GPU where its build and the device have one."""
    import faiss

    index = faiss.IndexFlatIP(G.shape[1])
    if device.type == "cuda" and hasattr(faiss, "StandardGpuResources"):
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(G)
    faiss.omp_set_num_threads(torch.get_num_threads())
    return lambda Q: index.search(Q, k)[1]


def scikit_learn_search(G, k):
    """Euclidean distances of unit rows: the order is that of the cosines."""
    brute = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(G)
    return lambda Q: brute.kneighbors(Q, return_distance=False)


def torch_search(G, k, device):
    """A product and its largest entries, block after block."""
    gallery = torch.from_numpy(G).to(device)
    size = max(1, BLOCK_BYTES // (4 * len(G)))

    def search(Q):
        blocks = torch.from_numpy(Q).to(device).split(size)
        return (
            torch.cat([(q @ gallery.T).topk(k).indices for q in blocks]).cpu().numpy()
        )

    return search


def full_sort(Q, G, k):
    """Neighbours by float64, one query after the other."""
    products = ((G @ q).astype(np.float64) for q in Q.astype(np.float64))
    return np.stack([np.argsort(-s, kind="stable")[:k] for s in products])


class Watch:
    """The most memory that a process takes for itself, in bytes, while it is watched.

    ``None`` where the system does not tell.
    """

    def __init__(self, interval=0.005):
        self.interval = interval
        self.most = self.before = own_memory()

    def __enter__(self):
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while self.before is not None and not self._done.wait(self.interval):
            self.most = max(self.most, own_memory())

    @property
    def taken(self):
        """Bytes more than there were."""
        return None if self.before is None else self.most - self.before


def own_memory():
    """Bytes of anonymous memory."""
    if not STATUS.is_file():
        return None
    found = re.search(r"RssAnon:\s+(\d+) kB", STATUS.read_text())
    return 1024 * int(found[1]) if found else None


def timed(search, Q, device, memory):
    """A job that says how long a search took; the memory it took goes to a list."""

    def job():
        with Watch() as watch:
            seconds = seconds_of(lambda: search(Q), device)
        memory.append(watch.taken)
        return seconds

    return job


def build_parser():
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval",
        description="Looking up the nearest poses, beside its peers and its limit.",
    )
    add = parser.add_argument
    add("--device", default="auto")
    add("--queries", type=int, default=10_000)
    add("--gallery", type=int, default=666_000)
    add("--dims", type=int, default=256)
    add("--neighbors", type=int, default=10)
    kinds = ["random", "clustered"]
    add("--data", nargs="+", choices=kinds, default=kinds)
    add("--without", nargs="+", choices=PEERS, default=[], help="peers to leave out")
    add("--threads", type=int, help="default: as many as torch takes")
    add("--repeats", type=int, default=3)
    add("--json", type=table_file, metavar="FILE", help="write the figures there too")
    return parser


def main(argv=None):
    """Run the command; its exit status."""
    args = build_parser().parse_args(argv)
    try:
        device = resolve_device(args.device)
    except ValueError as error:
        print(f"benchmarks.retrieval: {error}", file=sys.stderr)
        return 2
    before, threads = torch.get_num_threads(), args.threads or torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            finish(measure(args, device), args.json)
    finally:
        torch.set_num_threads(before)
    return 0


def measure(args, device):
    """The table."""
    title = f"{args.neighbors} nearest of {args.gallery:,} x {args.dims}"
    table = Table(title, "queries/s", device)
    table.figures |= {"same neighbours as float64": {}, "peak memory, bytes": {}}
    ceiling = matmul_ceiling(device, torch.float32)
    limit = ceiling / (2 * args.gallery * args.dims)
    table.figures["matmul ceiling, FLOP/s"] = ceiling
    table.add("limit: the product at the ceiling", limit)
    for kind in args.data:
        measure_kind(table, kind, limit, args, device)
    table.remark(
        f"{args.queries:,} queries. Memory is what a search takes beside gallery, index "
        "and queries; FAISS holds a copy of the gallery, and sums in float32 only."
    )
    return table


def measure_kind(table, kind, limit, args, device):
    """Rows of one kind of data."""
    G, gestures = make_rows(kind, args.gallery, args.dims, seed=0)
    Q, _ = make_rows(kind, args.queries, args.dims, seed=1)
    searches, missing = make_searches(G, gestures, args.neighbors, device)
    searches = {n: s for n, s in searches.items() if n not in args.without}
    same = agreement(searches, Q[:N_CHECKED], G, args.neighbors)
    memory = {name: [] for name in searches}
    jobs = {n: timed(s, Q, device, memory[n]) for n, s in searches.items()}
    seconds = in_turn(jobs, args.repeats, verbose=True)
    peak = {name: max_or_none(taken) for name, taken in memory.items()}
    notes = {name: describe(peak[name], same.get(name)) for name in searches}
    rename = {name: f"{name}, {kind}" for name in searches}
    seconds = {rename[name]: times for name, times in seconds.items()}
    table.add_seconds(
        args.queries, seconds, {rename[name]: note for name, note in notes.items()}
    )
    for name, what in missing.items():
        table.add(f"{name}, {kind}", None, what)
    for peer in PEERS:
        table.add_speed(seconds, rename[OURS], f"{peer}, {kind}")
    rate = table.rates[rename[OURS]]
    table.ratios[f"share of the ceiling, {kind}"] = rate / limit
    table.figures["same neighbours as float64"][kind] = same
    table.figures["peak memory, bytes"][kind] = peak


def agreement(searches, Q, G, k):
    """Share of the neighbours that are in the place where float64 has them."""
    expected = full_sort(Q, G, k)
    searches = {name: s for name, s in searches.items() if name != PREDICT}
    return {n: float(np.mean(s(Q) == expected)) for n, s in searches.items()}


def describe(peak, same):
    """A note."""
    parts = [] if peak is None else [f"{peak / 2**20:,.0f} MiB"]
    parts += [] if same is None else [f"{100 * same:.4g} % as float64"]
    return ", ".join(parts)


def max_or_none(values):
    """The largest, or None where nothing was measured."""
    return None if None in values else max(values)


if __name__ == "__main__":
    sys.exit(main())

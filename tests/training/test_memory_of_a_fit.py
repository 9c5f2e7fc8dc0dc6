"""Memory of a fit from packed files, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sk_cpep.datasets import pack_emg2pose, write_emg2pose_corpus

MIB = 2**20
# RssAnon is memory of the process itself: pages of mapped files, which the system
# takes back when it needs them, are in RssFile.
FIT = """
import sys
import threading

import numpy as np

from sk_cpep import MAE
from sk_cpep.datasets import load_pack


def anonymous():
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("RssAnon")]
    return 1024 * int(line.split()[1])


def watch():
    while not done.wait(0.005):
        peaks.append(anonymous())


def fit(n_windows):
    windows = X[np.resize(np.arange(len(X)), n_windows)]
    peaks.clear()
    mae.fit(windows)
    mae.score(windows)
    return max(peaks), windows.nbytes


X = load_pack(sys.argv[1], size=400, stride=200).emg
mae = MAE(
    50, d_model=8, n_layers=1, n_decoder_layers=1, n_heads=1, batch_size=64,
    max_epochs=1, early_stopping=True, device="cpu", precision="float32",
    random_state=0,
)
mae.fit(X[:128])
done, peaks = threading.Event(), []
watcher = threading.Thread(target=watch)
watcher.start()
print(*fit(1024), *fit(8 * 1024))
done.set()
watcher.join()
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="needs Linux, which tells memory of a process from pages of its files; "
    "test_batches.py and test_prefetch.py cover that no more is read than batches",
)
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    corpus = write_emg2pose_corpus(
        tmp_path / "corpus",
        3,
        stages=["ShakaVulcanPeace"],
        n_sessions=1,
        seconds=5.0,
        random_state=0,
    )
    pack_emg2pose(corpus, tmp_path / "pack", filter=None)
    output = subprocess.run(
        [sys.executable, "-c", FIT, str(tmp_path / "pack")],
        # Threads of the reader share what one has freed, on however many cores.
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    peak, n_bytes, peak_of_8, n_bytes_of_8 = map(int, output.split())
    assert n_bytes_of_8 == 8 * n_bytes > 190 * MIB
    assert peak_of_8 - peak < 24 * MIB

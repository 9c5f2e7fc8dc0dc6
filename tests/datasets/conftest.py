"""Tiny corpora in emg2pose's format, written with h5py and csv alone."""

import csv
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

COLUMNS = [
    "session",
    "user",
    "stage",
    "start",
    "end",
    "side",
    "filename",
    "moving_hand",
    "held_out_user",
    "held_out_stage",
    "split",
    "generalization",
]
DTYPE = np.dtype(
    {
        "names": ["time", "joint_angles", "emg"],
        "formats": ["<f8", ("<f8", (20,)), ("<f4", (16,))],
        "offsets": [0, 8, 168],
        "itemsize": 232,
    }
)


def table_row(number=0, **changes):
    """A row of the table, with a file of its own for each number."""
    row = {
        "session": "2022-04-07-1649318400-8125c-cv-emg-pose-train@2",
        "user": "0123456789",
        "stage": "HandClawGraspFlicks",
        "start": 1649318400.0 + 60 * number,
        "end": 1649318450.5 + 60 * number,
        "side": "left" if number % 2 else "right",
        "filename": f"2022-04-07-1649318400-8125c-cv-emg-pose-train@2-recording-{number}",
        "moving_hand": "both",
        "held_out_user": False,
        "held_out_stage": False,
        "split": "train",
        "generalization": "none",
    }
    return {**row, **changes}


def small_table():
    """Nine rows of three users, in all six pairs of split and generalization."""
    kinds = [
        ("a", "train", "none"),
        ("a", "train", "none"),
        ("a", "test", "stage"),
        ("b", "val", "user"),
        ("b", "val", "user_stage"),
        ("c", "test", "user"),
        ("c", "test", "user_stage"),
        ("a", "train", "none"),
        ("a", "train", "none"),
    ]
    return [
        table_row(
            number,
            user=user,
            session=f"session-{user}",
            stage=("ShakaVulcanPeace" if "stage" in kind else "unconstrained"),
            held_out_user="user" in kind,
            held_out_stage="stage" in kind,
            split=split,
            generalization=kind,
        )
        for number, (user, split, kind) in enumerate(kinds)
    ]


def write_table(root, rows, columns=COLUMNS):
    path = root / "metadata.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def make_samples(n_times, failed=(), seed=0):
    """Samples of a recording; `failed` are (start, stop) without angles."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(n_times, DTYPE)
    samples["time"] = 1649318400.0 + np.arange(n_times) / 2000
    samples["joint_angles"] = rng.uniform(0.1, 1.5, (n_times, 20))
    samples["emg"] = rng.normal(size=(n_times, 16))
    for start, stop in failed:
        samples["joint_angles"][start:stop] = 0
    return samples


def write_recording(path, samples, **storage):
    """Write a recording, with attributes that contradict the table as real ones do."""
    with h5py.File(path, "w") as file:
        group = file.create_group("emg2pose")
        group.create_dataset("timeseries", data=samples, **storage)
        group.attrs["stage"] = "AnotherStage_both"
        group.attrs["side"] = "neither"
        group.attrs["user"] = "ffffffffff"
        group.attrs["sample_rate"] = 2000.0
        group.attrs["num_channels"] = np.int64(16)


def write_corpus(root, rows=None, n_times=300, failed=None, **storage):
    """Write a table and its files; return rows and samples of each.

    `failed` maps a row's number to its stretches without angles.
    """
    rows = small_table() if rows is None else rows
    root.mkdir(exist_ok=True)
    write_table(root, rows)
    samples = []
    for number, row in enumerate(rows):
        stretches = (failed or {}).get(number, ())
        samples.append(make_samples(n_times + 10 * number, stretches, seed=number))
        write_recording(root / f"{row['filename']}.hdf5", samples[-1], **storage)
    return rows, samples


@pytest.fixture(scope="session")
def corpora():
    """The functions that write corpora."""
    return SimpleNamespace(
        COLUMNS=COLUMNS,
        make_samples=make_samples,
        small_table=small_table,
        table_row=table_row,
        write_corpus=write_corpus,
        write_recording=write_recording,
        write_table=write_table,
    )

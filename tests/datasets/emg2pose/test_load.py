"""The loader of emg2pose against h5py and plain loops over samples."""

import multiprocessing
import os
import pickle
import threading

import h5py
import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, train_test_split
from sklearn.pipeline import make_pipeline

from sk_cpep import CPEP, MAE, ZeroShotClassifier
from sk_cpep.datasets import WindowArray, load_emg2pose
from sk_cpep.datasets.emg2pose import _file as files
from sk_cpep.datasets.emg2pose._source import OPEN_FILES
from sk_cpep.evaluation import check_disjoint

FAILED = {0: [(0, 1), (100, 110)], 1: [(299, 310)], 3: [(40, 41)], 6: [(0, 360)]}
COLUMNS = {
    "users": "user",
    "sessions": "session",
    "sides": "side",
    "stages": "stage",
    "splits": "split",
    "generalizations": "generalization",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, corpora):
    root = tmp_path_factory.mktemp("corpus") / "emg2pose"
    rows, samples = corpora.write_corpus(root, failed=FAILED, chunks=(64,))
    return root, rows, samples


def windows_one_by_one(samples, size, stride):
    """(recording, start) of windows without an all-zero sample; stride <= size."""
    found = []
    for recording, rows in enumerate(samples):
        failed, start = np.all(rows["joint_angles"] == 0, axis=1), 0
        while start + size <= len(rows):
            if failed[start : start + size].any():
                start += np.argmax(failed[start : start + size]) + 1
            else:
                found.append((recording, start))
                start += stride
    return found


@pytest.mark.parametrize(
    ("size", "stride", "pose_stride"), [(40, None, 1), (40, 7, 8), (33, 33, 10)]
)
def test_windows_are_slices_of_the_recordings(corpus, size, stride, pose_stride):
    root, rows, samples = corpus
    data = load_emg2pose(root, size=size, stride=stride, pose_stride=pose_stride)
    expected = windows_one_by_one(samples, size, stride or size)
    where = data.windows[["recording", "start"]].tolist()
    assert where == expected
    assert_array_equal(data.windows["stop"], data.windows["start"] + size)
    n, n_pose = len(expected), len(range(0, size, pose_stride))
    assert data.emg.shape == (n, 16, size)
    assert data.pose.shape == (n, 20, n_pose)
    assert (data.sfreq, data.pose_sfreq) == (2000.0, 2000.0 / pose_stride)
    emg, pose = np.asarray(data.emg), np.asarray(data.pose)
    assert emg.dtype == pose.dtype == np.float32
    for i, (recording, start) in enumerate(expected):
        cut = samples[recording][start : start + size]
        assert_array_equal(emg[i], cut["emg"].T)
        assert_array_equal(pose[i], np.float32(cut["joint_angles"][::pose_stride].T))
        assert np.any(cut["joint_angles"] != 0, axis=1).all()


def test_facts_of_windows_are_those_of_the_table(corpus):
    root, rows, _ = corpus
    data = load_emg2pose(root, size=40)
    assert isinstance(data.emg, WindowArray)
    for name, column in COLUMNS.items():
        expected = [rows[recording][column] for recording in data.windows["recording"]]
        assert data[name].tolist() == expected
    assert len(data.channel_names) == 16
    assert data.joint_names[:2] == ["THUMB_CMC_FE", "THUMB_CMC_AA"]
    assert "CC BY-NC-SA 4.0" in data.DESCR


def test_what_is_lost_is_counted(corpus):
    root, _, samples = corpus
    data = load_emg2pose(root, size=40, stride=20)
    zero = [np.all(rows["joint_angles"] == 0, axis=1) for rows in samples]
    for rows, failed, counts in zip(samples, zero, data.recordings):
        grid = range(0, len(rows) - 39, 20)
        lost = [start for start in grid if failed[start : start + 40].any()]
        assert counts["n_times"] == len(rows)
        assert counts["n_failed"] == failed.sum()
        assert (counts["n_grid"], counts["n_lost"]) == (len(grid), len(lost))
    per_recording = np.bincount(data.windows["recording"], minlength=len(samples))
    assert_array_equal(data.recordings["n_windows"], per_recording)
    assert data.report == {
        "recordings_selected": 9,
        "recordings_read": 9,
        "recordings_without_windows": 1,
        "recordings_skipped": [],
        "samples": sum(map(len, samples)),
        "samples_failed_ik": 11 + 11 + 1 + 360,
        "windows_kept": len(data.emg),
        "windows_on_grid": data.recordings["n_grid"].sum(),
        "windows_lost_to_failed_ik": data.recordings["n_lost"].sum(),
    }
    assert data.report["windows_lost_to_failed_ik"] > 0


def test_angles_next_to_zero_are_failures_and_small_ones_are_not(tmp_path, corpora):
    samples = corpora.make_samples(30)
    samples["joint_angles"][10] = 1e-8
    samples["joint_angles"][20] = 0
    samples["joint_angles"][20, 7] = -1.1e-8
    rows = [corpora.table_row()]
    corpora.write_table(tmp_path, rows)
    corpora.write_recording(tmp_path / f"{rows[0]['filename']}.hdf5", samples)
    data = load_emg2pose(tmp_path, size=5)
    assert data.windows["start"].tolist() == [0, 5, 11, 16, 21]


def test_reference_windows(corpus):
    root, _, samples = corpus
    data = load_emg2pose(root, size=50, stride=10, reference_windows=True)
    expected = []
    for recording, rows in enumerate(samples):
        valid = np.any(rows["joint_angles"] != 0, axis=1)
        edges = np.flatnonzero(np.diff(np.r_[False, valid, False]))
        for a, b in zip(edges[::2], edges[1::2] - 1):
            n_windows = (b - 1 - a - 50) // 10 + 1 if b - a >= 50 else 0
            expected += [(recording, a + 10 * k) for k in range(n_windows)]
    assert data.windows[["recording", "start"]].tolist() == expected
    assert len(expected) < len(load_emg2pose(root, size=50, stride=10).emg)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"split": "train"}, [0, 1, 7, 8]),
        ({"split": ["val", "test"], "sides": "left"}, [3, 5]),
        ({"generalization": "user_stage"}, [4, 6]),
        ({"users": ["a"], "stages": "ShakaVulcanPeace"}, [2]),
        ({"users": np.array(["c", "b"])}, [3, 4, 5, 6]),
        ({"users": np.array([b"c", b"b"])}, [3, 4, 5, 6]),
        ({"users": pd.Categorical(["c", "b"])}, [3, 4, 5, 6]),
    ],
)
def test_selections(corpus, asked, expected):
    root, rows, _ = corpus
    data = load_emg2pose(root, size=40, **asked)
    names = [rows[row]["filename"] for row in expected]
    assert data.metadata["filename"].tolist() == names
    assert data.report["recordings_selected"] == len(expected)
    assert set(data.windows["recording"]) <= set(range(len(expected)))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"split": "training"}, r"split: \['training'\] given, expected of \['train'"),
        (
            {"users": ["a", "nobody"]},
            r"user: \['nobody'\] given, expected of \['a', 'b'",
        ),
        ({"stages": "Shaka"}, r"stage: \['Shaka'\] given"),
        ({"sides": []}, r"side: \[\] given"),
        ({"users": ["a", None]}, "user has 1 missing value"),
        ({"users": ["a", 1]}, "user mixes ids"),
        ({"users": [1]}, r"user: \[1\] given, expected of \['a', 'b'"),
        (
            {"split": "train", "users": "b"},
            "None of the 9 recordings has .*'user': 'b'",
        ),
        ({"size": 5000}, "longest run without failed .* has 380 samples"),
        ({"size": 0}, "'size' parameter"),
        ({"stride": 0}, "'stride' parameter"),
        ({"pose_stride": 1.5}, "'pose_stride' parameter"),
        ({"on_error": "ignore"}, "'on_error' parameter"),
    ],
)
def test_wrong_requests(corpus, asked, said):
    with pytest.raises(ValueError, match=said):
        load_emg2pose(corpus[0], **{"size": 40, **asked})


def test_any_order_and_repetition_of_a_batch(corpus):
    data = load_emg2pose(corpus[0], size=40, stride=10)
    emg = np.asarray(data.emg)
    order = np.random.default_rng(0).integers(-len(emg), len(emg), 200)
    assert_array_equal(data.emg.__getitems__(order), emg[order])
    assert_array_equal(np.asarray(data.emg[order][::-1]), emg[order][::-1])


def test_few_files_stay_open(tmp_path, corpora):
    rows = [corpora.table_row(i) for i in range(20)]
    corpora.write_corpus(tmp_path / "c", rows, n_times=50)
    data = load_emg2pose(tmp_path / "c", size=40)
    assert len(OPEN_FILES) == 0
    np.asarray(data.emg), np.asarray(data.pose)
    assert len(OPEN_FILES) == 16
    OPEN_FILES.close()
    assert len(OPEN_FILES) == 0
    np.asarray(data.emg)


def test_pickles_without_open_files(corpus):
    data = load_emg2pose(corpus[0], size=40)
    expected = data.emg[3]
    content = pickle.dumps(data)
    assert len(content) < 30_000
    twin = pickle.loads(content)
    assert_array_equal(twin.emg[3], expected)
    assert_array_equal(twin.metadata, data.metadata)


def test_the_folder_may_be_relative_and_left(corpus, tmp_path, monkeypatch):
    root = corpus[0]
    expected = np.asarray(load_emg2pose(root, size=40).pose)
    monkeypatch.chdir(root.parent)
    pose = load_emg2pose(root.name, size=40).pose
    monkeypatch.chdir(tmp_path)
    assert_array_equal(np.asarray(pose), expected)


def read_in_child(emg, queue):
    queue.put((len(OPEN_FILES), emg[0].sum()))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(),
    reason="no fork on this system, where handles cannot be shared",
)
def test_a_forked_process_opens_files_of_its_own(corpus):
    data = load_emg2pose(corpus[0], size=40)
    expected = data.emg[0].sum()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=read_in_child, args=(data.emg, queue))
    process.start()
    n_open, found = queue.get(timeout=60)
    process.join()
    assert (n_open, found) == (0, expected)
    assert len(OPEN_FILES) == 1


def test_threads_read_the_same(corpus):
    data = load_emg2pose(corpus[0], size=40)
    expected, found = np.asarray(data.emg), {}

    def read(seed):
        order = np.random.default_rng(seed).permutation(len(expected))
        batches = [data.emg.__getitems__(o) for o in np.array_split(order, 8)]
        found[seed] = np.concatenate(batches)[np.argsort(order)]

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(np.array_equal(x, expected) for x in found.values())


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_processes_find_the_same(corpus, n_jobs, capsys):
    one = load_emg2pose(corpus[0], size=40)
    data = load_emg2pose(corpus[0], size=40, n_jobs=n_jobs, verbose=1)
    assert_array_equal(data.windows, one.windows)
    assert_array_equal(data.recordings, one.recordings)
    assert "9/9" in capsys.readouterr().err


def test_a_long_recording_is_indexed_in_blocks(corpus, monkeypatch):
    """The blocks' edges are nowhere to be seen."""
    whole = load_emg2pose(corpus[0], size=40)
    for block in (1, 7, 64):
        monkeypatch.setattr(files, "_BLOCK", block)
        data = load_emg2pose(corpus[0], size=40)
        assert_array_equal(data.windows, whole.windows)


def test_whole_recordings(corpus):
    root, rows, samples = corpus
    path = root / f"{rows[0]['filename']}.hdf5"
    emg, angles, runs = files.read_recording(path)
    assert_array_equal(emg, samples[0]["emg"].T)
    assert_array_equal(angles, samples[0]["joint_angles"].T)
    assert runs.tolist() == [[1, 100], [110, 300]]
    index = files.index_recording(path)
    assert (index.n_times, index.n_failed) == (300, 11)


# The cache


def test_cache_spares_reading(corpus, tmp_path, monkeypatch):
    cache = tmp_path / "index.npz"
    first = load_emg2pose(corpus[0], size=40, split="train", cache=cache)
    more = load_emg2pose(corpus[0], size=40, cache=cache)

    def refuse(path):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("sk_cpep.datasets.emg2pose._index.index_recording", refuse)
    again = load_emg2pose(corpus[0], size=40, cache=cache)
    assert_array_equal(again.windows, more.windows)
    assert_array_equal(again.recordings, more.recordings)
    part = load_emg2pose(corpus[0], size=40, split="train", cache=cache)
    assert_array_equal(part.windows, first.windows)
    with pytest.raises(AssertionError, match="was read again"):
        load_emg2pose(corpus[0], size=40)


def test_cache_sees_changed_files(tmp_path, corpora):
    rows, _ = corpora.write_corpus(tmp_path / "c")
    cache = tmp_path / "index.npz"
    load_emg2pose(tmp_path / "c", size=40, cache=cache)
    path = tmp_path / "c" / f"{rows[2]['filename']}.hdf5"
    corpora.write_recording(path, corpora.make_samples(90, [(0, 10)]))
    data = load_emg2pose(tmp_path / "c", size=40, cache=cache)
    assert data.recordings[["n_times", "n_failed", "n_windows"]][2].item() == (
        90,
        10,
        2,
    )


def put_in_place(path, new):
    new.replace(path)


def with_its_time(path, new):
    times = path.stat()
    new.replace(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def written_over(path, new):
    times = path.stat()
    path.write_bytes(new.read_bytes())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


CHANGES = [put_in_place, with_its_time, written_over]


@pytest.mark.parametrize("change", CHANGES)
def test_files_of_the_same_size_that_were_replaced(tmp_path, corpora, change):
    rows, _ = corpora.write_corpus(tmp_path / "c")
    cache = tmp_path / "index.npz"
    data = load_emg2pose(tmp_path / "c", size=40, cache=cache)
    old = joblib.hash([data.emg, data.pose])
    before = np.asarray(data.emg[data.windows["recording"] == 2])
    path = tmp_path / "c" / f"{rows[2]['filename']}.hdf5"
    samples = corpora.make_samples(320, [(100, 180)], seed=9)
    corpora.write_recording(tmp_path / "new.hdf5", samples)
    change(path, tmp_path / "new.hdf5")
    assert joblib.hash([data.emg, data.pose]) != old
    assert joblib.hash(pickle.loads(pickle.dumps([data.emg, data.pose]))) == (
        joblib.hash([data.emg, data.pose])
    )
    now = data.emg[data.windows["recording"] == 2]
    assert not np.array_equal(np.asarray(now), before)  # no file is read that is gone
    data = load_emg2pose(tmp_path / "c", size=40, cache=cache)
    assert data.recordings["n_failed"][2] == 80
    first = samples["emg"][:40].T
    assert_array_equal(data.emg[data.windows["recording"] == 2][0], first)


def test_an_earlier_index_is_made_anew(corpus, tmp_path):
    cache = tmp_path / "index.npz"
    np.savez(cache, format="sk_cpep index 1", names=["a"])
    load_emg2pose(corpus[0], size=40, split="train", cache=cache)
    with np.load(cache) as kept:
        assert str(kept["format"]) == "sk_cpep index 2"


def test_no_flipped_bit_of_an_index_is_used(corpus, tmp_path):
    cache = tmp_path / "index.npz"
    expected = load_emg2pose(corpus[0], size=40, cache=cache).windows
    whole = cache.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 60):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.integers(8)
        cache.write_bytes(flipped)
        try:
            found = load_emg2pose(corpus[0], size=40, cache=cache).windows
        except ValueError as error:
            assert "index.npz is no index of recordings, or a damaged" in str(error)
        else:  # a bit of the archive that says nothing, such as a date
            assert_array_equal(found, expected)


def test_a_cache_without_a_folder_is_told_before_anything_is_read(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*there is no such folder"):
        load_emg2pose(corpus[0], size=40, cache=tmp_path / "nowhere" / "index.npz")


def test_cache_keeps_what_was_read_before_an_error(tmp_path, corpora):
    rows, _ = corpora.write_corpus(tmp_path / "c")
    path = tmp_path / "c" / f"{rows[5]['filename']}.hdf5"
    path.write_bytes(path.read_bytes()[:3000])
    cache = tmp_path / "index.npz"
    with pytest.raises(ValueError, match=path.name):
        load_emg2pose(tmp_path / "c", size=40, cache=cache)
    with np.load(cache) as kept:
        assert kept["names"].tolist() == [f"{row['filename']}.hdf5" for row in rows[:5]]


@pytest.mark.parametrize("content", [b"", b"my notes", b"PK\x03\x04 broken"])
def test_cache_leaves_other_files_alone(corpus, tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="notes.txt is no index of recordings"):
        load_emg2pose(corpus[0], size=40, cache=path)
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match="other.npz is no index of recordings"):
        load_emg2pose(corpus[0], size=40, cache=tmp_path / "other.npz")
    assert path.read_bytes() == content


# With scikit-learn and this package, never read whole


class Watched:
    """A source that remembers the largest batch."""

    def __init__(self, source):
        self.source = source
        self.n_channels = source.n_channels
        self.largest = 0

    def read(self, recordings, starts, n_times):
        self.largest = max(self.largest, len(starts))
        return self.source.read(recordings, starts, n_times)


def watched(windows):
    source = Watched(windows.source)
    return WindowArray(source, windows.recordings, windows.starts, windows.n_times)


@pytest.fixture(scope="module")
def data(corpus):
    return load_emg2pose(corpus[0], size=40, stride=20, pose_stride=4)


NETWORK = dict(
    d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2, max_epochs=1, device="cpu"
)


def small_cpep(**parameters):
    emg = MAE(patch_length=10, batch_size=16, random_state=0, **NETWORK)
    pose = MAE(patch_length=5, batch_size=16, random_state=0, **NETWORK)
    common = dict(max_epochs=1, batch_size=16, device="cpu", random_state=0)
    return CPEP(emg, pose, **common | parameters)


def test_encoders_read_batch_by_batch(data):
    n = 320  # more than are looked at to tell one fit from another
    rows = np.resize(np.arange(len(data.emg)), n)
    X, P = watched(data.emg[rows]), watched(data.pose[rows])
    cpep = small_cpep().fit(X, P)
    Z, V = cpep.transform(X), cpep.transform_pose(P)
    assert Z.shape == V.shape == (n, 8)
    assert max(X.source.largest, P.source.largest) < n
    X, P = np.asarray(data.emg[rows]), np.asarray(data.pose[rows])
    in_memory = small_cpep().fit(X, P)
    assert_array_equal(Z, in_memory.transform(X))
    assert_array_equal(V, in_memory.transform_pose(P))


def test_zero_shot_and_probe_on_lazy_windows(data):
    cpep = small_cpep().fit(data.emg, data.pose)
    gallery, queries = data.splits == "train", data.splits != "train"
    zero_shot = ZeroShotClassifier(cpep, n_neighbors=3)
    zero_shot.fit(data.pose[gallery], data.sides[gallery])
    assert len(zero_shot.predict(data.emg[queries])) == queries.sum()
    probe = make_pipeline(small_cpep(), LogisticRegression())
    probe[0].fit(data.emg, data.pose)
    probe[1].fit(probe[0].transform(data.emg), data.sides)
    assert set(probe.predict(data.emg[queries])) <= {"left", "right"}


def test_splitters(data):
    y = np.arange(len(data.emg))
    X, _, P, _, rows, _ = train_test_split(
        data.emg, data.pose, y, stratify=data.sides, random_state=0
    )
    assert isinstance(X, WindowArray)
    assert isinstance(P, WindowArray)
    assert_array_equal(X.__getitems__([3, 1]), data.emg.__getitems__(rows[[3, 1]]))
    for train, test in GroupKFold(3).split(data.emg, groups=data.users):
        check_disjoint(
            data.users[train],
            data.users[test],
            windows_train=data.windows[train],
            windows_test=data.windows[test],
        )


def test_grid_search_in_two_processes(data):
    search = GridSearchCV(
        small_cpep(), {"max_epochs": [1, 2]}, cv=GroupKFold(2), n_jobs=2, refit=False
    )
    search.fit(data.emg, data.pose, groups=data.users)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_window_count_of_a_class(data):
    dummy = DummyClassifier().fit(data.emg, data.stages)
    counts = np.unique(data.stages.astype(str), return_counts=True)[1]
    np.testing.assert_allclose(dummy.class_prior_, counts / counts.sum())


def test_the_attributes_inside_the_files_are_not_believed(corpus, data):
    root, rows, _ = corpus
    with h5py.File(root / f"{rows[0]['filename']}.hdf5") as file:
        assert file["emg2pose"].attrs["stage"] == "AnotherStage_both"
    assert set(data.stages) == {"ShakaVulcanPeace", "unconstrained"}

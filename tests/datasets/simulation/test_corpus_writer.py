"""Simulated corpora against what is known of emg2pose's files."""

import csv
import re
from collections import Counter
from datetime import UTC, datetime
from math import floor

import h5py
import numpy as np
import pytest
from joblib import parallel_config
from scipy.signal import welch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from sk_cpep.datasets import (
    load_emg2pose,
    read_emg2pose_metadata,
    write_emg2pose_corpus,
)
from sk_cpep.datasets.emg2pose._format import STAGES
from sk_cpep.datasets.simulation import _corpus_signals as simulation
from sk_cpep.datasets.simulation import _corpus_writer as writer
from sk_cpep.datasets.simulation._gestures import (
    STAGE_ANGLES,
    STAGE_GESTURES,
    STAGE_POSTURES,
)
from sk_cpep.datasets.simulation._muscles import recording_noise
from sk_cpep.evaluation import GESTURE_STAGES

COLUMNS = (
    "session,user,stage,start,end,side,filename,moving_hand,held_out_user,"
    "held_out_stage,split,generalization"
)
HELD_OUT = ["ShakaVulcanPeace", "HookEmHornsOKScissors"]
ORDINARY = ["HandClawGraspFlicks", "unconstrained", "WristFlexionAbduction"]
SMALL = dict(stages=ORDINARY + HELD_OUT, n_sessions=2, seconds=0.8, random_state=0)
PATTERN = re.compile(
    r"(\d{4}-\d\d-\d\d)-(\d+)-([0-9a-f]{5})-cv-emg-pose-(train|demonstration)@2"
    r"-recording-(\d+)_(left|right)"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus") / "new"
    people = dict(n_users=7, n_val_users=1, n_test_users=2)
    return write_emg2pose_corpus(root, **people, **SMALL, ik_failures=0.3)


@pytest.fixture(scope="module")
def rows(corpus):
    with open(corpus / "metadata.csv", newline="") as file:
        return list(csv.DictReader(file))


def read(root, filename):
    with h5py.File(root / f"{filename}.hdf5") as file:
        return file["emg2pose/timeseries"][:]


def test_files_are_those_of_the_table(corpus, rows):
    assert (corpus / "metadata.csv").read_text().split("\n")[0] == COLUMNS
    names = {path.name for path in corpus.iterdir()}
    assert names == {row["filename"] + ".hdf5" for row in rows} | {"metadata.csv"}
    assert len(rows) == 7 * 2 * 5 * 2
    assert Counter(row["side"] for row in rows) == {"left": 70, "right": 70}


def test_names_of_files_and_sessions(rows):
    for row in rows:
        day, stamp, _, _, number, side = PATTERN.fullmatch(row["filename"]).groups()
        moment = datetime.fromtimestamp(int(stamp), UTC)
        assert moment.isoformat() == f"{day}T08:00:00+00:00"
        assert row["filename"] == f"{row['session']}-recording-{number}_{side}"
        assert side == row["side"]
        assert 1 <= int(number) <= 5
        assert re.fullmatch("[0-9a-f]{10}", row["user"])
    days = [row["session"][:10] for row in rows]
    assert days == sorted(days)
    assert len({(row["session"], row["user"]) for row in rows}) == 14
    assert len({row["session"] for row in rows}) == 14


def test_values_of_the_table(rows):
    assert {row["moving_hand"] for row in rows} == {"both"}
    for row in rows:
        new_user, new_stage = row["held_out_user"], row["held_out_stage"]
        assert new_stage == str(row["stage"] in HELD_OUT)
        assert (
            row["generalization"]
            == {
                ("False", "False"): "none",
                ("False", "True"): "stage",
                ("True", "False"): "user",
                ("True", "True"): "user_stage",
            }[new_user, new_stage]
        )
        assert (row["split"] == "train") == (row["generalization"] == "none")
    sets = {}
    for row in rows:
        key = row["split"], row["generalization"]
        sets.setdefault(key, set()).add(row["user"])
    assert {key: len(users) for key, users in sets.items()} == {
        ("train", "none"): 4,
        ("test", "stage"): 4,
        ("val", "user"): 1,
        ("val", "user_stage"): 1,
        ("test", "user"): 2,
        ("test", "user_stage"): 2,
    }
    assert sets["train", "none"] == sets["test", "stage"]
    assert sets["test", "user"] == sets["test", "user_stage"]


def test_sessions_of_a_person_do_not_overlap_in_time(rows):
    for user in {row["user"] for row in rows}:
        spans = sorted(
            (float(row["start"]), float(row["end"]))
            for row in rows
            if row["user"] == user and row["side"] == "left"
        )
        assert all(end < start for (_, end), (start, _) in zip(spans, spans[1:]))


def test_compound_type_and_attributes(corpus, rows):
    for row in rows[::9]:
        with h5py.File(corpus / f"{row['filename']}.hdf5") as file:
            assert list(file) == ["emg2pose"]
            series, attributes = file["emg2pose/timeseries"], file["emg2pose"].attrs
            assert series.ndim == 1
            assert series.dtype.itemsize == 232
            assert {
                name: (kind, offset)
                for name, (kind, offset, *_) in series.dtype.fields.items()
            } == {
                "time": (np.dtype("f8"), 0),
                "joint_angles": (np.dtype(("f8", 20)), 8),
                "emg": (np.dtype(("f4", 16)), 168),
            }
            for name in ("filename", "session", "stage", "user", "side"):
                assert type(attributes[name]) is str
                text = attributes.get_id(name).dtype
                assert h5py.check_string_dtype(text).length is None
            for name in ("sample_rate", "start", "end"):
                assert type(attributes[name]) is np.float64
            assert type(attributes["num_channels"]) is np.int64
            assert (attributes["sample_rate"], attributes["num_channels"]) == (2000, 16)
            for name in ("filename", "user", "side"):
                assert attributes[name] == row[name]
            for name in ("start", "end"):
                assert attributes[name] == float(row[name])
            # Who trusts these instead of the table finds other names.
            assert attributes["stage"] == row["stage"] + "_both"
            assert attributes["session"] + "_" + row["side"] == row["filename"]


def test_time_runs_at_2_khz_from_start_to_end(corpus, rows):
    for row in rows[::9]:
        time = read(corpus, row["filename"])["time"]
        start, end = float(row["start"]), float(row["end"])
        assert time[0] == start
        np.testing.assert_allclose(np.diff(time), 1 / 2000, atol=1e-6)
        assert end - 8 / 2000 - 1e-6 < time[-1] <= end + 1e-6
        assert 0.8 - 1e-6 <= end - start <= 1.0 + 1 / 60
        for moment in (start, end):
            assert abs(moment * 60 - round(moment * 60)) < 1e-4


def test_angles_are_lines_between_camera_frames(corpus, rows):
    for row in rows[::9]:
        angles = read(corpus, row["filename"])["joint_angles"]
        inner = (angles[:-2] != 0).any(1) & (angles[2:] != 0).any(1)
        bend = np.abs(np.diff(angles, 2, axis=0)).max(axis=1)
        middle = np.arange(1, len(angles) - 1) * 60 % 2000
        at_frame = (middle < 60) | (middle > 2000 - 60)
        assert bend[inner & ~at_frame].max() < 1e-12
        assert bend[inner & at_frame].max() > 1e-6


def test_failures_are_zeros_from_frame_to_frame(corpus, rows):
    shares = []
    for row in rows:
        angles = read(corpus, row["filename"])["joint_angles"]
        failed = (angles == 0).all(axis=1)
        assert not (angles[~failed] == 0).all(axis=1).any()
        edges = np.flatnonzero(np.diff(failed)) + 1
        assert (edges * 60 % 2000 < 60).all()
        shares.append(failed.mean())
    assert 0.2 < np.mean(shares) < 0.4
    assert 0 in shares


def test_share_and_length_of_failures():
    rng = np.random.default_rng(0)
    failed = simulation.draw_failures(200_000, 0.06, rng)
    n_stretches = np.count_nonzero(np.diff(failed.astype(int)) > 0)
    assert failed.mean() == pytest.approx(0.06, abs=0.01)
    assert failed.sum() / n_stretches == pytest.approx(30, rel=0.15)
    assert not simulation.draw_failures(1000, 0, rng).any()


def test_both_hands_do_nearly_the_same(tmp_path):
    root = write_emg2pose_corpus(tmp_path, 3, **SMALL, ik_failures=0)
    lengths = set()
    for path in root.glob("*_left.hdf5"):
        left, right = (
            read(root, path.stem[:-4] + side)["joint_angles"]
            for side in ("left", "right")
        )
        lengths.add(len(left) - len(right))
        n = min(len(left), len(right))
        assert not np.array_equal(left[:n], right[:n])
        assert np.abs(left[:n] - right[:n]).mean() < np.deg2rad(8)
        assert np.corrcoef(left[:n].ravel(), right[:n].ravel())[0, 1] > 0.9
    assert max(map(abs, lengths)) <= 8
    assert len(lengths) > 2


def test_emg_is_high_passed_at_40_hz(corpus, rows):
    emg = np.hstack([read(corpus, row["filename"])["emg"].T for row in rows[:30]])
    frequencies, power = welch(emg, 2000, nperseg=1000)
    power = power.mean(axis=0)
    assert power[frequencies < 20].sum() < 0.01 * power.sum()
    assert power[(frequencies > 40) & (frequencies < 450)].sum() > 0.9 * power.sum()


def test_noise_floor_has_an_sd_of_1():
    times = np.arange(8000) / 2000
    rng = np.random.default_rng(4)
    noise = recording_noise(32, times, 2000.0, 1.0, 60.0, rng)
    floor = simulation.released_emg(noise)
    assert floor.dtype == np.float32
    assert floor.std() == pytest.approx(1, abs=0.05)
    frequencies, power = welch(noise.astype(float), 2000, nperseg=8000)
    above = power[:, frequencies > 42].sum() * frequencies[1]
    expected = np.sqrt(above / 32)  # white noise and hum by hand, in uV
    assert (noise - noise.mean()).std() > 1.5 * expected  # the drift is gone
    assert floor.std() == pytest.approx(expected / 5, rel=0.1)


def test_high_pass_against_its_frequency_response():
    n = np.arange(4000)
    gains = []
    for frequency in (10, 40, 200):
        wave = np.sin(2 * np.pi * frequency * n / 2000)[None]
        gains.append(simulation.released_emg(wave)[0, 2000:].std())
    ratio = np.array(gains) / gains[-1]
    # Butterworth of order 4, warped by the bilinear transform.
    analogue = np.tan(np.pi * np.array([10, 40, 200]) / 2000)
    gain = 1 / np.sqrt(1 + (analogue[1] / analogue) ** 8)
    np.testing.assert_allclose(ratio, gain / gain[-1], rtol=1e-3)
    assert np.abs(simulation.released_emg(np.full((2, 100), 50.0))).max() < 1e-6


def test_interpolation_against_numpy():
    frames = np.random.default_rng(0).normal(size=(7, 3))
    n_times = simulation.count_samples(7)
    assert n_times == 201  # 6 frames of 1/60 s are 0.1 s
    got = simulation.interpolate_angles(frames, n_times)
    for joint in range(3):
        expected = np.interp(np.arange(201) / 2000, np.arange(7) / 60, frames[:, joint])
        np.testing.assert_allclose(got[:, joint], expected, atol=1e-9)


def contents(root):
    files = {path.name: path for path in sorted(root.iterdir())}
    table = files.pop("metadata.csv").read_text()
    return table, {name: read(root, path.stem) for name, path in files.items()}


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    for name, samples in one[1].items():
        np.testing.assert_array_equal(samples, other[1][name])


def test_seed_decides_whatever_the_processes_and_compression(tmp_path):
    small = SMALL | dict(stages=HELD_OUT, seconds=0.5)
    one = contents(write_emg2pose_corpus(tmp_path / "a", 3, **small))
    with parallel_config("threading"):  # quicker to start than processes
        two = write_emg2pose_corpus(
            tmp_path / "b", 3, **small, n_jobs=2, compression="gzip"
        )
    assert_same(one, contents(two))
    with h5py.File(next(two.glob("*.hdf5"))) as file:
        assert file["emg2pose/timeseries"].compression == "gzip"
    other = write_emg2pose_corpus(tmp_path / "c", 3, **small | dict(random_state=1))
    assert contents(other)[0] != one[0]


def test_more_people_leave_the_earlier_as_they_were(tmp_path):
    small = SMALL | dict(stages=HELD_OUT, seconds=0.5)
    few = contents(write_emg2pose_corpus(tmp_path / "few", 3, **small))[1]
    many = contents(write_emg2pose_corpus(tmp_path / "many", 5, **small))[1]
    assert len(many) == 40
    for name, samples in few.items():
        np.testing.assert_array_equal(samples, many[name])


def test_global_generator_is_left_alone(tmp_path):
    before = np.random.get_state()[1].copy()
    write_emg2pose_corpus(tmp_path, 3, **SMALL | dict(stages=HELD_OUT[:1], seconds=0.5))
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_nothing_is_written_beside_other_things(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"not empty: .* \(mine.txt\)"):
        write_emg2pose_corpus(tmp_path, 3, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(FileExistsError, match="is a file"):
        write_emg2pose_corpus(tmp_path / "mine.txt", 3, **SMALL)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_table_comes_last(tmp_path, monkeypatch):
    n_written = []

    def write_until_the_disk_is_full(*args):
        if len(n_written) == 5:
            raise OSError("disk full")
        n_written.append(writer_of_one(*args))

    writer_of_one = writer.write_recording
    monkeypatch.setattr(writer, "write_recording", write_until_the_disk_is_full)
    with pytest.raises(OSError, match="disk full"):
        write_emg2pose_corpus(tmp_path / "new", 3, **SMALL)
    names = [path.name for path in (tmp_path / "new").iterdir()]
    assert len(names) == 5
    assert not any("metadata" in name for name in names)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(n_users=2), "leaves nobody to train"),
        (dict(n_val_users=2, n_test_users=1), "leaves nobody to train"),
        (dict(stages=["ShakaVulcanPeace_both"]), "unknown stages .*CoffeePanicPete"),
        (dict(stages="unconstrained"), r"\['unconstrained'\]"),
        (dict(stages=[]), "no stages"),
        (dict(stages=HELD_OUT[:1] * 2), "twice"),
        (dict(seconds=0.1), "seconds"),
        (dict(ik_failures=1), "ik_failures"),
        (dict(compression="zip"), "compression"),
        (dict(n_sessions=0), "n_sessions"),
    ],
)
def test_wrong_parameters_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_emg2pose_corpus(tmp_path / "new", **{"n_users": 3, **changes})
    assert not (tmp_path / "new").exists()


def test_people_are_divided_as_in_the_real_corpus():
    assert writer._count_held_out(193, None, None) == (15, 20)
    assert writer._count_held_out(40, None, None) == (3, 4)
    assert writer._count_held_out(3, None, None) == (1, 1)
    assert writer._count_held_out(3, 0, None) == (0, 1)


def test_every_stage_has_postures_of_its_own():
    assert tuple(STAGE_GESTURES) == STAGES
    for names in STAGE_GESTURES.values():
        assert 3 <= len(names) == len(set(names)) <= 5
        assert set(names) <= set(STAGE_POSTURES)
    mixes = list(map(frozenset, STAGE_GESTURES.values()))
    assert len(set(mixes)) == 29
    # Stages share gestures, as real ones do, but never most of them.
    shared = [len(a & b) / min(len(a), len(b)) for a in mixes for b in mixes if a != b]
    assert max(shared) <= 3 / 4
    used = frozenset().union(*mixes)
    assert used >= set(list(STAGE_POSTURES)[18:])
    apart = np.abs(STAGE_ANGLES[:, None] - STAGE_ANGLES).max(axis=-1)
    assert apart[~np.eye(len(apart), dtype=bool)].min() > np.deg2rad(10)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Features of 2-s windows of four stages, their stages and people."""
    stages = list(GESTURE_STAGES.values())[:4]
    root = write_emg2pose_corpus(
        tmp_path_factory.mktemp("people"),
        10,
        stages=[stage for stage, _ in stages],
        n_sessions=1,
        seconds=4.0,
        ik_failures=0,
        random_state=1,
    )
    with open(root / "metadata.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    emg, pose, labels, users = [], [], [], []
    for row in rows:
        samples = read(root, row["filename"])[:7980].reshape(2, 10, 399)
        emg.append(np.log(samples["emg"].std(axis=2)).mean(axis=1))
        angles = samples["joint_angles"].reshape(2, -1, 20)
        pose.append(np.hstack([angles.mean(axis=1), angles.std(axis=1)]))
        labels += 2 * [row["stage"]]
        users += 2 * [row["user"]]
    return np.vstack(emg), np.vstack(pose), np.array(labels), np.array(users)


def test_emg_tells_stages_across_people_and_pose_does_better(windows):
    emg, pose, labels, users = windows
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    by_emg, by_pose = (
        balanced_accuracy_score(
            labels, cross_val_predict(lda, Z, labels, groups=users, cv=GroupKFold(10))
        )
        for Z in (emg, pose)
    )
    assert by_emg > 0.45  # chance is 0.25
    assert by_pose > 0.8


def reference_windows(samples, size, stride):
    """Windows of the published loader, restated: inclusive runs, shortened blocks."""
    failed = np.isclose(samples["joint_angles"], 0).all(axis=1)
    starts, first = [], None
    for i in range(len(failed) + 1):
        valid = i < len(failed) and not failed[i]
        if valid and first is None:
            first = i
        if not valid and first is not None:
            last = i - 1
            if last - first >= size:
                block = first, last - 1
                n_windows = floor((block[1] - block[0] - size) / stride) + 1
                starts += [first + k * stride for k in range(n_windows)]
            first = None
    return starts


def natural_windows(samples, size, stride):
    """Every start on each run's own grid whose window holds no failure."""
    failed = (samples["joint_angles"] == 0).all(axis=1)
    starts, run = [], None
    for i, bad in enumerate(failed):
        run = None if bad else i if run is None else run
        fits = i + size <= len(failed) and not failed[i : i + size].any()
        if not bad and (i - run) % stride == 0 and fits:
            starts.append(i)
    return starts


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("size, stride", [(300, 300), (101, 37)])
def test_loader_finds_the_windows_of_the_reference(corpus, reference, size, stride):
    data = load_emg2pose(corpus, size=size, stride=stride, reference_windows=reference)
    count = reference_windows if reference else natural_windows
    found, expected = {}, {}
    for row, start, stop in data.windows.tolist():
        assert stop - start == size
        found.setdefault(data.metadata["filename"][row], []).append(start)
    with open(corpus / "metadata.csv", newline="") as file:
        for row in csv.DictReader(file):
            starts = count(read(corpus, row["filename"]), size, stride)
            expected |= {row["filename"]: starts} if starts else {}
    assert found == expected
    assert 0 < len(found) < 140 or size == 101
    for i in np.random.default_rng(0).integers(len(data.windows), size=20):
        row, start, stop = data.windows[i]
        with h5py.File(corpus / f"{data.metadata['filename'][row]}.hdf5") as file:
            part = file["emg2pose/timeseries"][start:stop]
        np.testing.assert_array_equal(np.asarray(data.emg[i]), part["emg"].T)
        angles = part["joint_angles"].T.astype(np.float32)
        np.testing.assert_array_equal(np.asarray(data.pose[i]), angles)


def test_a_run_loses_up_to_two_samples():
    samples = np.zeros(1000, [("joint_angles", "f8", 20)])
    for size, n_reference, n_natural in [(100, 0, 1), (99, 0, 1), (98, 1, 1)]:
        samples["joint_angles"][10:110] = 0.5
        assert len(reference_windows(samples, size, size)) == n_reference
        assert len(natural_windows(samples, size, size)) == n_natural


def test_table_as_the_package_reads_it(corpus, rows):
    metadata = read_emg2pose_metadata(corpus)
    assert metadata.dtype.names == tuple(COLUMNS.split(","))
    assert metadata["filename"].tolist() == [row["filename"] for row in rows]
    for name in ("held_out_user", "held_out_stage"):
        assert metadata[name].tolist() == [row[name] == "True" for row in rows]
    assert metadata["start"].tolist() == [float(row["start"]) for row in rows]

"""The main job: what each stage sees, what is reported, what is left behind."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sk_cpep
from sk_cpep import ZeroShotClassifier
from sk_cpep._cli import main
from sk_cpep.datasets import load_ninapro_db1, make_gesture_recordings
from sk_cpep.demo import _cli
from sk_cpep.demo._config import NINAPRO, SIMULATED
from sk_cpep.demo._report import (
    format_report,
    format_table,
    save_pictures,
    save_records,
    set_aside,
)
from sk_cpep.demo._run import (
    EVERY,
    REST,
    choose_test_users,
    cut_demo_windows,
    make_demo_data,
    run_demo,
    split_demo_windows,
)
from sk_cpep.evaluation import fold_users
from sk_cpep.evaluation._gesture_windows import label_share, prepare_signals

NETWORK = {"d_model": 8, "n_layers": 1, "n_decoder_layers": 1, "n_heads": 2}
ONE_EPOCH = {"max_epochs": 1, "batch_size": 64}
TINY = replace(
    SIMULATED,
    simulation={
        "n_users": 5,
        "gestures": ["fist", "open", "point", "peace", "shaka"],
        "n_repetitions": 2,
        "sfreq": 100.0,
        "pose_sfreq": 50.0,
    },
    window=0.8,
    stride=0.2,
    probe_stride=0.2,
    purity=0.6,
    movement=0.5,
    unseen=("peace", "shaka"),
    n_test_users=2,
    filter={"low": 10.0, "high": 45.0, "notch": None},
    envelope=5.0,
    emg_encoder={"patch_length": 10, **NETWORK, **ONE_EPOCH},
    pose_encoder={"patch_length": 10, **NETWORK, **ONE_EPOCH},
    alignment={"pooling": "mean", "center_pose": True, **ONE_EPOCH},
    supervised=ONE_EPOCH,
    n_people=(1, 2, "all"),
    n_draws=2,
    n_neighbors=3,
)
TINY_NINAPRO = replace(
    NINAPRO,
    window=0.4,
    stride=0.2,
    probe_stride=0.1,
    n_test_users=1,
    emg_encoder=TINY.emg_encoder,
    pose_encoder=TINY.pose_encoder,
    alignment=TINY.alignment,
    supervised=TINY.supervised,
    n_people=(1, "all"),
    n_draws=1,
    n_neighbors=3,
    rest_control=False,  # rests are shorter than windows
)
PICTURES = {
    f"{name}.png"
    for name in (
        "training",
        "reconstruction",
        "embeddings",
        "confusion",
        "retrieval",
        "results",
        "label_efficiency",
    )
}
GESTURE_SETS = ("in_distribution", "unseen")
POSE_MAE, BINS = "Pose-MAE (upper bound)", "Amplitude in ten bins"


@pytest.fixture(scope="module")
def recordings():
    return make_gesture_recordings(random_state=0, **TINY.simulation)


@pytest.fixture(scope="module")
def data(recordings):
    return make_demo_data(recordings, TINY)


@pytest.fixture(scope="module")
def result(data):
    return run_demo(data, TINY, random_state=0, verbose=0, device="cpu")


@pytest.fixture(scope="module")
def ninapro(tmp_path_factory):
    """A folder of three people in Ninapro's layout, two repetitions a gesture."""
    folder = tmp_path_factory.mktemp("ninapro")
    for user in (2, 5, 11):
        rng = np.random.default_rng(user)
        order = np.concatenate([rng.permutation(12) + 1 for _ in range(2)])
        labels = np.ravel([np.repeat([0, code], [30, 90]) for code in order])
        turn = np.where(labels > 0, np.repeat([1, 2], len(labels) // 2), 0)
        column = {"restimulus": labels, "rerepetition": turn}
        column |= {"stimulus": labels, "repetition": turn}
        centres = np.random.default_rng(0).normal(size=(13, 32))[labels]
        savemat(
            folder / f"S{user}_A1_E1.mat",
            {
                "subject": np.uint8([[user]]),
                "exercise": np.uint8([[1]]),
                "emg": np.abs(centres[:, :10] + rng.normal(size=(len(labels), 10))),
                "glove": 100 + centres[:, 10:] + rng.normal(size=(len(labels), 22)),
                **{k: v[:, None].astype(np.uint8) for k, v in column.items()},
            },
            do_compression=True,
        )
    return folder


@pytest.fixture
def tiny_command(monkeypatch):
    """``python -m sk_cpep`` in this process, on few and small things."""
    monkeypatch.setattr(_cli, "SIMULATED", TINY)
    monkeypatch.setattr(_cli, "NINAPRO", TINY_NINAPRO)
    return lambda *args: main(["demo", "--device", "cpu", *map(str, args)])


def samples(windows, labels):
    """The label of every sample of each window, one array a window."""
    return [
        labels[recording][start:stop]
        for recording, start, stop in windows.windows[["recording", "start", "stop"]]
    ]


# What each stage sees


@pytest.mark.parametrize("of", ["simulator", "ninapro"])
def test_pretraining_sees_neither_unseen_gestures_nor_people_held_out(
    recordings, ninapro, of
):
    config = TINY
    if of == "ninapro":
        recordings, config = load_ninapro_db1(ninapro), TINY_NINAPRO
    data = make_demo_data(recordings, config)
    names = np.array(recordings.gesture_names)
    seen = set()
    for window in samples(data.pretrain, recordings.labels):
        assert not set(names[window]) & set(config.unseen)
        assert np.mean(window > 0) >= config.movement
        seen |= set(names[window])
    assert seen - {"rest"} == set(names[1:]) - set(config.unseen)
    assert not set(data.pretrain.users) & set(data.held_out)
    assert_array_equal(
        data.pretrain.users, recordings.users[data.pretrain.windows["recording"]]
    )


def test_pretraining_windows_are_all_that_may_be_used(data, recordings):
    names = recordings.gesture_names
    unseen = [names.index(name) for name in TINY.unseen]
    expected = [
        (recording, start)
        for recording, labels in enumerate(recordings.labels)
        if recordings.users[recording] not in data.held_out
        for start in range(0, len(labels) - 80 + 1, 20)
        if not np.isin(labels[start : start + 80], unseen).any()
        and np.mean(labels[start : start + 80] > 0) >= TINY.movement
    ]
    found = data.pretrain.windows[["recording", "start"]].tolist()
    assert found == expected


@pytest.mark.parametrize("gestures", GESTURE_SETS)
def test_people_are_disjoint_and_windows_pure(data, recordings, gestures):
    train, test = data.train[gestures], data.test[gestures]
    assert data.held_out == [3, 4]
    assert set(train.users) == {0, 1, 2}
    assert set(test.users) == {3, 4}
    names = np.array(recordings.gesture_names)
    wanted = {"peace", "shaka"} if gestures == "unseen" else {"fist", "open", "point"}
    for part in (train, test):
        assert set(part.y) == wanted
        for name, window in zip(part.y, samples(part, recordings.labels)):
            assert np.mean(names[window] == name) >= TINY.purity


def test_emg_and_pose_are_of_the_same_moment(data, recordings):
    signals = prepare_signals(recordings, TINY.filter, TINY.envelope)
    emg, pose = signals.emg, signals.pose
    part = data.test["unseen"]
    assert part.X.dtype == part.P.dtype == np.float32
    assert part.X.shape[1:] == (16, 80)
    assert part.P.shape[1:] == (20, 40)
    for i, (recording, start, *_) in enumerate(part.windows):
        assert_array_equal(part.X[i], emg[recording][:, start : start + 80])
        first = start // 2
        assert_array_equal(part.P[i], pose[recording][:, first : first + 40])


def test_prepare_standardises_each_recording(recordings):
    signals = prepare_signals(recordings, TINY.filter, TINY.envelope)
    for part in (signals.emg, signals.root, signals.pose):
        for signal in part:
            assert_allclose(signal.mean(axis=1), 0, atol=1e-4)
            assert_allclose(signal.std(axis=1), 1, rtol=1e-3)


def test_label_share_by_brute_force():
    rng = np.random.default_rng(0)
    labels = [rng.integers(4, size=n) for n in (30, 50)]
    rows = [(0, 0, 10), (1, 40, 50), (1, 3, 13), (0, 20, 30), (1, 7, 8)]
    fields = [("recording", int), ("start", int), ("stop", int)]
    for codes in ([1], [0, 3], []):
        expected = [np.mean([v in codes for v in labels[r][a:b]]) for r, a, b in rows]
        share = label_share(labels, np.array(rows, dtype=fields), codes)
        assert_allclose(share, expected, rtol=1e-15)


def test_people_held_out():
    users = np.array([7, 2, 2, 9, 4])
    assert choose_test_users(users, TINY, None).tolist() == [7, 9]
    assert choose_test_users(users, TINY, [4, 2, 4]).tolist() == [2, 4]
    assert choose_test_users(users * 1.0, TINY, [4, 2.0, True + 3]).tolist() == [2, 4]
    with pytest.raises(
        ValueError, match="people recorded holds numbers.*test_users text"
    ):
        choose_test_users(users, TINY, ["4"])
    few = choose_test_users(users, replace(TINY, n_test_users=20), None)
    assert few.tolist() == [7, 9]
    assert choose_test_users(users[1:4], TINY, None).tolist() == [9]


@pytest.mark.parametrize("chosen", [[3], [2, 3], [2, 4, 7, 9], []])
def test_people_that_cannot_be_held_out(chosen):
    users = np.array([7, 2, 2, 9, 4])
    with pytest.raises(ValueError, match=r"some, not all.*\[2, 4, 7, 9\]"):
        choose_test_users(users, TINY, chosen)


@pytest.mark.parametrize("chosen", [None, [1]])
def test_one_person_is_too_few(chosen):
    with pytest.raises(ValueError, match=r"two people are needed.*of \[1\]"):
        choose_test_users(np.array([1, 1]), TINY, chosen)


# What is reported


def find(records, method, protocol, gestures, n_people=None, windows=None):
    return next(
        r
        for r in records
        if (r["method"], r["protocol"], r["gestures"]) == (method, protocol, gestures)
        and (n_people is None or r["n_people"] == n_people)
        and r.get("windows") == windows
    )


PROBED = (
    "Amplitude",
    BINS,
    "EMG-MAE",
    "EMG-MAE and bins",
    "CPEP",
    "CPEP and bins",
    POSE_MAE,
)
NAMED = ("CPEP", POSE_MAE)


def test_a_record_for_every_row(result):
    keys = [
        (r["method"], r["protocol"], r["gestures"], r["n_people"], r.get("windows"))
        for r in result.records
        if r["protocol"] != "generalised_zero_shot"
    ]
    expected = {
        (m, "linear_probe", g, n, None)
        for m in PROBED
        for g in GESTURE_SETS
        for n in (1, 2, "all")
    }
    expected |= {(m, "zero_shot", g, 0, None) for m in NAMED for g in GESTURE_SETS}
    expected |= {
        ("EMG encoder, supervised", "supervised", g, "all", None) for g in GESTURE_SETS
    }
    expected |= {
        (m, "own_repetition", g, 0, None) for m in PROBED for g in GESTURE_SETS
    }
    session = "in_distribution"
    expected |= {(m, "linear_probe", session, "all", EVERY) for m in PROBED}
    expected |= {(m, "zero_shot", session, 0, EVERY) for m in NAMED}
    assert set(keys) == expected
    assert len(keys) == len(expected)
    for record in result.records:
        assert list(record["per_user"]) == ["3", "4"]
        n = {"generalised_zero_shot": 5, "own_repetition": 5}.get(record["protocol"])
        if record.get("windows") == EVERY:
            n = 6
        if n is None:
            n = 2 if record["gestures"] == "unseen" else 3
        assert record["chance"] == pytest.approx(1 / n)
        if record["gestures"] != "harmonic_mean":
            mean = np.mean(list(record["per_user"].values()))
            assert record["macro_accuracy"] == pytest.approx(mean)


def test_all_gestures_in_one_gallery(data, result):
    plain = [
        find(result.records, "CPEP", "generalised_zero_shot", g) for g in GESTURE_SETS
    ]
    poses, names = (
        np.concatenate([getattr(data.train[g], part) for g in GESTURE_SETS])
        for part in ("P", "y")
    )
    zero = ZeroShotClassifier(result.cpep, 3).fit(poses, names)
    for record, gestures in zip(plain, GESTURE_SETS, strict=True):
        test = data.test[gestures]
        check_numbers(record, zero.predict(test.X), test)
    penalties = {
        r["settings"]["seen_penalty"]
        for r in result.records
        if r["protocol"] == "generalised_zero_shot"
    }
    assert penalties == {0.0, TINY.seen_penalty}


def check_numbers(record, y_pred, test):
    assert_array_equal(record["predictions"], y_pred)
    for user, accuracy in record["per_user"].items():
        mine = test.users == int(user)
        y, names = test.y[mine], np.unique(test.y[mine])
        expected = recall_score(y, y_pred[mine], labels=names, average="macro")
        assert accuracy == pytest.approx(expected)


def test_windows_of_onsets(recordings):
    plain = make_demo_data(recordings, TINY)
    onsets = make_demo_data(recordings, replace(TINY, onset=True, purity=0.5))
    starts = onsets.train["unseen"].windows
    assert 0 < len(starts) < len(plain.train["unseen"])
    for window in starts:
        samples = recordings.labels[window["recording"]]
        assert samples[window["start"]] == 0
        gesture = samples[window["start"] : window["stop"]]
        assert (gesture > 0).mean() >= 0.5


def probe(name, Z, y, Z_test):
    """What the classifier of a record's name makes of embeddings."""
    kind, value = name.split("=")
    if kind.startswith("softmax"):
        C = float(value)
        model = LogisticRegression(C=C, max_iter=2000, class_weight="balanced")
    else:
        return discriminant(float(value), Z, y, Z_test)
    return make_pipeline(StandardScaler(), model).fit(Z, y).predict(Z_test)


def discriminant(shrinkage, Z, y, Z_test):
    """Nearest mean in the pooled, shrunk covariance, worked out in numpy."""
    mean, sd = Z.mean(axis=0), Z.std(axis=0)
    Z, Z_test = (Z - mean) / sd, (Z_test - mean) / sd
    names, d = np.unique(y), Z.shape[1]
    means = np.array([Z[y == name].mean(axis=0) for name in names])
    pooled = np.zeros((d, d))
    for name in names:
        mine = Z[y == name]
        covariance = np.cov(mine.T, bias=True)
        sphere = np.trace(covariance) / d * np.eye(d)
        shrunk = (1 - shrinkage) * covariance + shrinkage * sphere
        pooled += len(mine) / len(y) * shrunk
    inverse = np.linalg.inv(pooled)
    off = Z_test[:, np.newaxis] - means
    distance = np.einsum("nkd,de,nke->nk", off, inverse, off)
    return names[distance.argmin(axis=1)]


@pytest.mark.parametrize("gestures", GESTURE_SETS)
def test_numbers_of_the_probes(data, result, gestures):
    train, test = data.train[gestures], data.test[gestures]
    cpep = result.cpep.set_params(embedding="encoder")
    before = [cpep.transform(w.X) for w in (train, test)]
    cpep.set_params(embedding="projection")
    bins = [w.features for w in (train, test)]
    embeddings = {
        BINS: bins,
        "Amplitude": [f.reshape(len(f), 16, 10).mean(axis=2) for f in bins],
        "EMG-MAE": [result.emg_mae.transform(w.X) for w in (train, test)],
        "CPEP": [cpep.transform(w.X) for w in (train, test)],
        "CPEP and bins": [np.hstack(pair) for pair in zip(before, bins, strict=True)],
        POSE_MAE: [result.pose_mae.transform(w.P) for w in (train, test)],
    }
    for method, (Z, Z_test) in embeddings.items():
        record = find(result.records, method, "linear_probe", gestures, "all")
        name = record["settings"]["classifier"]
        predicted = probe(name, Z.astype(float), train.y, Z_test.astype(float))
        check_numbers(record, predicted, test)


@pytest.mark.parametrize("gestures", GESTURE_SETS)
def test_numbers_of_zero_shot(data, result, gestures):
    train, test = data.train[gestures], data.test[gestures]
    record = find(result.records, "CPEP", "zero_shot", gestures)
    assert record["settings"]["n_neighbors"] == 3
    check_numbers(record, result.zero_shot[gestures].predict(test.X), test)
    nearest = KNeighborsClassifier(3, metric="cosine", algorithm="brute")
    nearest.fit(result.cpep.transform_pose(train.P).astype(float), train.y)
    queries = result.cpep.transform(test.X).astype(float)
    index = nearest.kneighbors(queries, return_distance=False)
    assert_array_equal(result.zero_shot[gestures].kneighbors(test.X)[1], index)


def test_pretrained_as_configured_and_not_changed(data, result):
    assert result.cpep.get_params()["pooling"] == "mean"
    assert len(result.emg_mae.history_) == len(result.pose_mae.history_) == 1
    assert len(result.cpep.history_["alignment"]) == 1
    assert result.cpep.history_["emg_encoder"] == []  # the frozen MAE, as it is
    assert result.cpep.embedding == "projection"


def record_of(method, protocol, gestures, mean, sd, chance):
    return {
        "method": method,
        "protocol": protocol,
        "gestures": gestures,
        "macro_accuracy": mean,
        "mean": mean,
        "sd": sd,
        "chance": chance,
    }


def test_table_by_hand():
    seen, new = GESTURE_SETS
    records = [
        record_of("EMG-MAE", "linear_probe", seen, 0.347, 0.058, 0.125),
        record_of("EMG-MAE", "linear_probe", seen, 0.2, 0.01, 0.125) | {"n_people": 1},
        record_of("CPEP", "linear_probe", seen, 0.782, 0.1, 0.125),
        record_of("CPEP", "linear_probe", new, 0.5361, None, 0.25),
        record_of("CPEP", "zero_shot", new, 0.481, 0.02, 0.25),
        record_of("Network", "supervised", new, 0.6, 0.03, 0.25),
        record_of("CPEP", "zero_shot", new, 0.1, 0.02, 0.25) | {"windows": EVERY},
    ]
    lines = format_table(records).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == [
        "macro accuracy",
        *(
            f"{labels} labels, {gestures}"
            for labels in ("no", "one person's", "all")
            for gestures in ("in distribution", "unseen")
        ),
    ]
    assert rows[2:] == [
        ["EMG-MAE", "–", "–", "0.20 ± 0.01", "–", "0.35 ± 0.06", "–"],
        ["CPEP", "–", "0.48 ± 0.02", "–", "–", "0.78 ± 0.10", "0.54"],
        ["Network", "–", "–", "–", "–", "–", "0.60 ± 0.03"],
        ["Chance", "–", "0.25", "0.12", "–", "0.12", "0.25"],
    ]


def test_report_of_a_run(result):
    report = format_report(result.records)
    rows = [line.split("|")[1].strip() for line in report.splitlines() if "|" in line]
    assert rows.count("CPEP") == 4  # labels, one gallery, own repetition, sessions
    assert rows.count("EMG encoder, supervised") == 2  # labels, and CPEP less it
    assert "CPEP less …" in rows
    for text in (
        "All gestures in one gallery",
        "one labelled repetition of the person's own",
        "Every window of the sessions",
    ):
        assert text in report
    assert "rest before" not in report  # rests are shorter than windows


def test_rest_is_evaluated_where_sessions_have_blocks(recordings):
    config = replace(TINY, rest_control=True, window=0.4, emg_encoder={})
    windows = cut_demo_windows(recordings, config)
    fold = split_demo_windows(windows, [3, 4], TINY.unseen)
    assert list(fold.controls) == [REST, EVERY]
    rest, every = fold.controls.values()
    assert set(rest.test) == set(GESTURE_SETS)
    assert set(every.test) == {"in_distribution"}
    assert set(every.test["in_distribution"].y) == set(recordings.gesture_names)
    for part in (rest, every):
        assert set(part.train["in_distribution"].users) == {0, 1, 2}
        assert set(part.test["in_distribution"].users) == {3, 4}


# What is left behind


def test_records_come_back(result, tmp_path):
    paths = save_records(result.records, tmp_path, {"seed": 0, "unseen": ["ok"]})
    assert paths == [tmp_path / "results.json", tmp_path / "settings.json"]
    records, settings = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    assert records == result.records
    assert settings == {"seed": 0, "unseen": ["ok"]}


def test_earlier_results_are_set_aside(tmp_path):
    assert set_aside(tmp_path) is None
    (tmp_path / "mine.txt").write_text("not ours")
    for run in ("first", "second"):
        (tmp_path / "results.json").write_text(run)
        moved_to = set_aside(tmp_path)
        assert (moved_to / "results.json").read_text() == run
    kept = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*"))
    assert kept == ["mine.txt", "previous-1/results.json", "previous-2/results.json"]


def check_pictures(folder):
    plt = pytest.importorskip("matplotlib.pyplot")
    assert {path.name for path in folder.glob("*.png")} == PICTURES
    for name in PICTURES:
        image = plt.imread(folder / name)
        assert min(image.shape[:2]) > 200
        assert image[..., :3].std() > 0.01, f"{name} is blank"


def test_pictures(data, result, recordings, tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    before = plt.get_fignums()
    paths = save_pictures(data, result, recordings, tmp_path)
    assert {path.name for path in paths} == PICTURES
    assert plt.get_fignums() == before
    check_pictures(tmp_path)


def test_pictures_where_a_gesture_was_not_made(data, result, recordings, tmp_path):
    pytest.importorskip("matplotlib")
    records = [
        r | {"confusion": [[0, 0], [1, 3]]} if r["gestures"] == "unseen" else r
        for r in result.records
    ]
    save_pictures(data, replace(result, records=records), recordings, tmp_path)
    check_pictures(tmp_path)


# The command


def test_command_on_the_simulator(tiny_command, tmp_path, capsys):
    assert tiny_command("--out", tmp_path / "a") == 0
    shown = capsys.readouterr()
    for line in ("Simulating", "held out: 3, 4", "| CPEP ", "results.json"):
        assert line in shown.out
    assert "MAE" in shown.err  # the bars
    check_pictures(tmp_path / "a")

    assert tiny_command("--out", tmp_path / "b", "--quiet") == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert quiet.out.startswith("| macro accuracy")
    assert quiet.out.strip() in shown.out
    same = [(tmp_path / run / "results.json").read_bytes() for run in "ab"]
    assert same[0] == same[1]


def test_command_on_a_folder(tiny_command, ninapro, tmp_path, capsys):
    out = tmp_path / "new" / "results"
    args = ("--data", ninapro, "--test-subjects", 5, "--out", out, "--quiet")
    assert tiny_command(*args, "--seed", 3) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith("| macro accuracy")
    check_pictures(out)
    records = json.loads((out / "results.json").read_text(encoding="utf-8"))
    settings = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    assert settings["test_subjects"] == [[5]]
    assert settings["seed"] == 3
    assert settings["version"] == sk_cpep.__version__
    assert settings["window"] == TINY_NINAPRO.window
    for record in records:
        assert list(record["per_user"]) == ["5"]
        assert 0 <= record["macro_accuracy"] <= 1
        if record["n_classes"] > 8:
            continue  # all of them are told apart
        n_gestures = 4 if record["gestures"] == "unseen" else 8
        assert record["chance"] == 1 / n_gestures
        assert len(record["classes"]) == n_gestures
        if record["gestures"] == "unseen":
            assert set(record["classes"]) == set(NINAPRO.unseen)


def test_results_are_kept_without_matplotlib(
    tiny_command, ninapro, tmp_path, capsys, monkeypatch
):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    assert tiny_command("--data", ninapro, "--out", tmp_path, "--quiet") == 0
    shown = capsys.readouterr()
    assert "| CPEP " in shown.out
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.err.startswith("sk_cpep: no pictures: matplotlib")
    assert 'pip install "sk_cpep[plot]"' in shown.err
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["results.json", "settings.json"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"--data": "nowhere"}, "nowhere does not exist"),
        ({"--data": "."}, "no S<n>_A1_E1.mat"),
        ({"--test-subjects": 4}, "Test subjects [4] must be some, not all, of the"),
        ({"--out": "kept/results.json"}, "results.json is, or is inside, a file"),
        ({"--out": "kept/results.json/deeper"}, "is, or is inside, a file"),
        ({"--device": "toaster"}, "device='toaster' cannot be used here"),
    ],
)
def test_errors_are_one_line_and_overwrite_nothing(
    tiny_command, ninapro, tmp_path, capsys, monkeypatch, change, message
):
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "kept" / "results.json"
    kept.parent.mkdir()
    kept.write_text("an earlier run")
    args = {"--data": ninapro, "--out": kept.parent} | change
    assert tiny_command("--quiet", *(x for pair in args.items() for x in pair)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("sk_cpep: ")
    assert len(shown.err.strip().splitlines()) == 1
    assert message in shown.err
    assert kept.read_text() == "an earlier run"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_control_c(tiny_command, monkeypatch, tmp_path, capsys):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cli, "run_demo", interrupt)
    assert tiny_command("--out", tmp_path, "--quiet") == 130
    assert capsys.readouterr().err == "sk_cpep: interrupted\n"


@pytest.mark.parametrize("args", [[], ["dance"], ["demo", "--seed", "x"]])
def test_wrong_usage(args, capsys):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert "usage: sk-cpep" in capsys.readouterr().err


def test_module_says_its_version():
    command = [sys.executable, "-m", "sk_cpep", "--version"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == sk_cpep.__version__
    assert run.stderr == ""


def test_folds_hold_everyone_out_once(tiny_command, ninapro, tmp_path, capsys):
    assert tiny_command("--data", ninapro, "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    settings = json.loads((tmp_path / "settings.json").read_text(encoding="utf-8"))
    folds = settings["test_subjects"]
    people = sorted(sum(folds, []))
    assert len(people) == len(set(people)) > 1
    assert f"Fold {len(folds)} of {len(folds)}" in shown
    records = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    for record in records:
        assert sorted(map(int, record["per_user"])) == people
        values = list(record["per_user"].values())
        assert record["sd"] == pytest.approx(np.std(values, ddof=1))
        if record["gestures"] == "harmonic_mean":
            continue
        assert record["macro_accuracy"] == pytest.approx(np.mean(values))
        if record["n_people"] == 1:
            continue  # sums over draws
        assert np.sum(record["confusion"]) == record["n_test"]
        assert len(record["predictions"]) == record["n_test"]


@pytest.mark.parametrize(
    "n_folds, folds", [(2, [[1, 4], [3, 7]]), (9, [[1], [3], [4], [7]])]
)
def test_folds_of_people(n_folds, folds):
    assert fold_users([1, 1, 3, 4, 7, 7], n_folds) == folds

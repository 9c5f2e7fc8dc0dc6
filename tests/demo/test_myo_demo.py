"""The demo on raw EMG without poses."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import butter, filtfilt, iirnotch, sosfiltfilt
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils import Bunch

from sk_cpep import MAE
from sk_cpep._cli import main
from sk_cpep.demo import _cli, _myo
from sk_cpep.demo._myo import (
    MYO,
    cut_myo_windows,
    format_myo_report,
    run_myo_demo,
    wearings,
)
from sk_cpep.encoders import EncoderClassifier
from sk_cpep.evaluation import evaluate_methods, linear_classifiers

SMALL = {"d_model": 8, "n_layers": 1, "n_decoder_layers": 1, "n_heads": 2}
TINY = replace(
    MYO,
    mae=MYO.mae | SMALL | {"max_epochs": 1, "n_heads": 2},
    supervised=MYO.supervised | {"max_epochs": 1},
    n_folds=2,
    n_people=(1, "all"),
    n_draws=1,
)
GESTURES = ["rest", "flexion", "extension"]


def reading(user, session, gesture, seconds=20, times=4.0):
    """Signed bytes (8, n) whose channels are stronger while a gesture is made."""
    rng = np.random.default_rng([user, session, gesture])
    labels = np.repeat(np.arange(seconds // 5) % 2, 5 * 200) * gesture
    strength = 4.0 * session * np.ones((8, len(labels)))
    for code in (1, 2):
        strength[2 * code : 2 * code + 3, labels == code] *= times
    emg = np.clip(np.round(rng.normal(size=strength.shape) * strength), -128, 127)
    return emg, labels


def make_recordings(times=4.0):
    rows = [(u, s, g) for u in (1, 2, 3) for s in (1, 2) for g in (0, 1, 2)]
    emg, labels = zip(*(reading(*row, times=times) for row in rows), strict=True)
    users, sessions, files = map(np.array, zip(*rows, strict=True))
    return Bunch(
        emg=[x.astype(np.float32) for x in emg],
        labels=list(labels),
        users=users,
        sessions=sessions,
        files=files,
        sfreq=200.0,
        gesture_names=GESTURES,
    )


@pytest.fixture(scope="module")
def recordings():
    return make_recordings()


def test_windows_are_pure_and_sessions_at_one_level(recordings):
    windows = cut_myo_windows(recordings, TINY)
    assert windows.X.shape[1:] == (8, 200)
    assert set(windows.y) == set(GESTURES)
    for worn in np.unique(wearings(windows)):
        mine = wearings(windows) == worn
        assert len(set(zip(windows.users[mine], windows.repetitions[mine]))) == 1
        values = windows.X[mine].astype(float)
        assert_allclose(values.mean(axis=(0, 2)), 0, atol=1e-5)
        assert_allclose(values.std(axis=(0, 2)), 1, rtol=1e-4)
    assert len(np.unique(wearings(windows))) == 6


def test_every_row_of_the_table(recordings, capsys):
    lines = []
    records = run_myo_demo(recordings, TINY, verbose=0, device="cpu", say=lines.append)
    assert sum("variance explained" in line for line in lines) == 2 * 3
    for record in records:
        assert sorted(record["per_user"]) == ["1", "2", "3"]
        assert record["chance"] == pytest.approx(1 / 3)
    found = {(r["method"], r["protocol"], r["n_people"]) for r in records}
    probed = {method for method, protocol, _ in found if protocol == "linear_probe"}
    assert found == {
        *((m, "linear_probe", n) for m in probed for n in (1, "all")),
        *((m, "own_session", 0) for m in probed),
        ("Encoder, supervised", "supervised", "all"),
    }
    assert {"MAE, raw", "MAE, normalized", "MAE, log power"} < probed
    rows = format_myo_report(records).split("\n\n")[0].splitlines()
    assert len(rows) == 2 + len(probed) + 2
    # What is easily told by amplitude is.
    log = next(
        r
        for r in records
        if (r["method"], r["protocol"]) == ("Log amplitude", "own_session")
    )
    assert log["mean"] > 0.9


def test_nobody_held_out_is_fitted_to(recordings, monkeypatch):
    """Neither an autoencoder nor a supervised network, in any fold."""
    windows = cut_myo_windows(recordings, TINY)
    owner = {x.tobytes(): user for x, user in zip(windows.X, windows.users)}
    assert len(owner) == len(windows)
    fits = []

    def watch(kind):
        plain = kind.fit

        def fit(self, X, *args, **options):
            fits.append((kind, {owner[np.asarray(x).tobytes()] for x in X}, len(X)))
            return plain(self, X, *args, **options)

        monkeypatch.setattr(kind, "fit", fit)

    watch(MAE)
    watch(EncoderClassifier)
    config = replace(TINY, targets={"MAE, log power": MYO.targets["MAE, log power"]})
    said = []
    run_myo_demo(recordings, config, verbose=0, device="cpu", say=said.append)
    assert [line for line in said if "held out:" in line] == [
        "\nFold 1 of 2, held out: [1, 3]",
        "\nFold 2 of 2, held out: [2]",
    ]
    expected = [({2}, 2), ({1, 3}, 1)]  # learned from; how many are left out
    for kind in (MAE, EncoderClassifier):
        seen = [(people, n) for which, people, n in fits if which is kind]
        assert [people for people, _ in seen] == [people for people, _ in expected]
        for people, n in seen:
            assert n == np.isin(windows.users, list(people)).sum()


def test_who_is_drawn_follows_the_seed(recordings, monkeypatch):
    seeds = []

    def watched(fold, fitted, methods, *, random_state, **options):
        seeds.append(random_state)
        return evaluate_methods(
            fold, fitted, methods, random_state=random_state, **options
        )

    monkeypatch.setattr(_myo, "evaluate_methods", watched)
    config = replace(TINY, targets={"MAE, log power": MYO.targets["MAE, log power"]})
    run_myo_demo(recordings, config, random_state=5, verbose=0, device="cpu")
    assert seeds == [5, 5]


def test_amplitudes_by_hand():
    """Numbers of the simplest row, from the bytes of the band."""
    recordings = make_recordings(times=1.08)  # hard to tell
    records = run_myo_demo(
        recordings,
        replace(TINY, targets={"MAE, log power": MYO.targets["MAE, log power"]}),
        verbose=0,
        device="cpu",
    )
    (record,) = [
        r
        for r in records
        if (r["method"], r["protocol"], r["n_people"])
        == ("Log amplitude", "linear_probe", "all")
    ]
    band = butter(4, [20, 90], "bandpass", fs=200, output="sos")
    rows = []
    for emg, labels, user, session in zip(
        recordings.emg,
        recordings.labels,
        recordings.users,
        recordings.sessions,
        strict=True,
    ):
        quiet = sosfiltfilt(band, emg.astype(float), axis=1)
        quiet = filtfilt(*iirnotch(50, 30, fs=200), quiet, axis=1)
        for start in range(0, len(labels), 200):
            assert len(set(labels[start : start + 200])) == 1
            rows.append((user, session, labels[start], quiet[:, start : start + 200]))
    users, sessions, codes, X = map(np.array, zip(*rows, strict=True))
    assert record["n_test"] == len(rows)
    Z = np.zeros((len(rows), 8))
    for worn in set(zip(users, sessions, strict=True)):
        mine = (users == worn[0]) & (sessions == worn[1])
        mean = X[mine].mean(axis=(0, 2), keepdims=True)
        level = (X[mine] - mean) / X[mine].std(axis=(0, 2), keepdims=True)
        power = np.log((level**2).mean(axis=2)) / 2
        Z[mine] = (power - power.mean(axis=0)) / power.std(axis=0)
    names = np.array(GESTURES)[codes]
    chosen = record["settings"]["classifier"]
    chosen = [chosen] * 2 if isinstance(chosen, str) else chosen
    for fold, held_out in enumerate(([1, 3], [2])):
        test = np.isin(users, held_out)
        classifier = linear_classifiers()[chosen[fold]]
        y_pred = classifier.fit(Z[~test], names[~test]).predict(Z[test])
        for user in held_out:
            mine = users[test] == user
            expected = balanced_accuracy_score(names[test][mine], y_pred[mine])
            assert expected < 0.95
            # Filters begin and end otherwise: the outer windows may be named so too.
            assert record["per_user"][str(user)] == pytest.approx(expected, abs=0.04)


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for user in (1, 2, 3):
        with zipfile.ZipFile(data / f"{user}.zip", "w") as archive:
            for session in (1, 2):
                for gesture in (0, 1, 2):
                    emg, labels = reading(user, session, gesture)
                    table = np.vstack([emg, labels]).T.astype(int)
                    text = "\r\n".join(",".join(map(str, row)) for row in table)
                    archive.writestr(f"{user}-{session}/{gesture}.txt", text)
    return data


def test_command(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_cli, "MYO", TINY)
    out = tmp_path / "out"
    args = [
        "demo",
        "--data",
        str(folder),
        "--out",
        str(out),
        "--device",
        "cpu",
        "--quiet",
    ]
    assert main(args) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("| macro accuracy")
    assert shown.err == ""
    records = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert {r["n_people"] for r in records} == {0, 1, "all"}
    assert (out / "label_efficiency.png").stat().st_size > 5000
    assert main([*args, "--baseline", "3"]) == 2
    assert "are for recordings with poses" in capsys.readouterr().err


def test_one_person_is_too_few(recordings):
    mine = [i for i, user in enumerate(recordings.users) if user == 2]
    alone = Bunch(**recordings)
    for name in ("emg", "labels"):
        alone[name] = [recordings[name][i] for i in mine]
    for name in ("users", "sessions", "files"):
        alone[name] = recordings[name][mine]
    with pytest.raises(ValueError, match=r"two people are needed.*\[2\]"):
        run_myo_demo(alone, TINY, verbose=0, device="cpu")

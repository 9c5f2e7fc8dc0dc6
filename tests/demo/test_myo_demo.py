"""The demo on raw EMG without poses."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.utils import Bunch

from sk_cpep._cli import main
from sk_cpep.demo import _cli
from sk_cpep.demo._myo import (
    MYO,
    cut_myo_windows,
    format_myo_report,
    run_myo_demo,
    wearings,
)

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


def reading(user, session, gesture, seconds=20):
    """Signed bytes (8, n) whose channels are stronger while a gesture is made."""
    rng = np.random.default_rng([user, session, gesture])
    labels = np.repeat(np.arange(seconds // 5) % 2, 5 * 200) * gesture
    strength = 4.0 * session * np.ones((8, len(labels)))
    for code in (1, 2):
        strength[2 * code : 2 * code + 3, labels == code] *= 4
    emg = np.clip(np.round(rng.normal(size=strength.shape) * strength), -128, 127)
    return emg, labels


@pytest.fixture(scope="module")
def recordings():
    rows = [(u, s, g) for u in (1, 2, 3) for s in (1, 2) for g in (0, 1, 2)]
    emg, labels = zip(*(reading(*row) for row in rows), strict=True)
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

"""Every example runs, and what it shows is true."""

import runpy
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

EXAMPLES = Path(__file__).parents[1] / "examples"


def filter_and_window(ns):
    assert ns["hum_left"] < 0.05
    assert ns["edge_error"] > 1.5 * ns["middle_error"]
    assert ns["X"].shape[1:] == (16, 2000)
    assert ns["P"].shape[1:] == (20, 60)
    assert len(ns["X"]) == len(ns["P"]) == len(ns["y"]) == len(ns["users"])
    assert set(ns["y"]) == {0, 1, 2, 3}
    assert ns["windows"]["purity"].min() >= 0.8


def few_labels(ns):
    assert not set(ns["UNSEEN"]) & set(ns["seen"])
    people = [set(ns["fold"].held_out), set(ns["tuning"])]
    assert not people[0] & people[1]
    assert not people[0] & set(ns["inner_fold"].pretrain.users)
    methods = {r["method"] for r in ns["records"]}
    assert methods == {"CPEP", "EMG-MAE", "Amplitude in ten bins"}
    assert ns["few"]["CPEP"]["mean"] > ns["few"]["Amplitude in ten bins"]["mean"]
    assert len(ns["harmonic"]) == 2


def fingers(ns):
    assert ns["X"].shape[1:] == (14, 125)
    assert set(ns["accuracy"]) == set(ns["data"].joint_names)
    # Nobody's chance, though not on all fingers equally well.
    assert np.mean(list(ns["accuracy"].values())) > 0.7
    assert ns["early"][-1] * 6 + 125 <= ns["late"][0] * 6


def pretrain_and_reconstruct(ns):
    assert ns["explained"]["EMG"] > 0.5
    assert ns["explained"]["pose"] > 0.6
    seen = np.repeat(~ns["lost"], 5)
    P = ns["P"][ns["held_out"]]
    np.testing.assert_array_equal(ns["bridged"][..., seen], P[..., seen])


def align_and_search(ns):
    similarity, same = ns["similarity"], ns["same"]
    assert similarity[same].mean() > similarity[~same].mean() + 0.05
    assert len(ns["results"]["params"]) == 4
    assert ns["search"].best_score_ > 1.5 * ns["chance"]


def zero_shot_new_gesture(ns):
    assert ns["accuracy"] > 2 / 6
    assert ns["NEW"] not in ns["names"]
    assert ns["new_recall"] > 2 / 7
    assert ns["accuracy_with_new"] > 2 / 7


def own_encoder(ns):
    assert ns["accuracy"].keys() == ns["tries"].keys()
    assert min(ns["accuracy"].values()) > 1.5 / 4


def save_and_load(ns):
    assert ns["bit_equal"]
    assert ns["pickle_equal"]
    assert ns["overhead"] < 1.2


def emg2pose_corpus(ns):
    assert ns["batch"].shape == (8, 16, 4000)
    assert len(ns["some"]) == len(ns["fold"]) < len(ns["corpus"].emg)
    everyone = ns["packed"]
    pretraining = set(everyone.users[ns["sets"].pretrain])
    assert not pretraining & set(everyone.users[ns["sets"].eval.unseen])
    assert min(ns["sizes"].values()) > 0


CLAIMS = {
    f"plot_{claim.__name__}": claim
    for claim in (
        align_and_search,
        few_labels,
        fingers,
        emg2pose_corpus,
        filter_and_window,
        own_encoder,
        pretrain_and_reconstruct,
        save_and_load,
        zero_shot_new_gesture,
    )
}


def test_every_example_is_here():
    assert sorted(CLAIMS) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", CLAIMS)
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        CLAIMS[name](runpy.run_path(str(EXAMPLES / f"{name}.py")))
        assert plt.get_fignums(), "the example shows nothing"
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    finally:
        plt.close("all")
    assert not list(tmp_path.iterdir()), "an example leaves no files behind"

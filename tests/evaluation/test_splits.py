"""The paper's sets against hand-made tables and one of the published size."""

from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.datasets.emg2pose._format import HELD_OUT_STAGES, STAGES
from sk_cpep.evaluation import GESTURE_STAGES, check_splits, paper_splits

SEEN = [stage for stage, part in GESTURE_STAGES.values() if part == "in_distribution"]
UNSEEN = [stage for stage, part in GESTURE_STAGES.values() if part == "unseen"]
ORDINARY = [stage for stage in STAGES if stage not in HELD_OUT_STAGES]
# split, generalization: files, people
PUBLISHED = {
    ("train", "none"): (17_136, 158),
    ("val", "user"): (1_618, 15),
    ("val", "user_stage"): (332, 15),
    ("test", "user"): (2_172, 20),
    ("test", "stage"): (3_539, 158),
    ("test", "user_stage"): (456, 20),
}


def make_table(counts):
    """Columns users, stages, splits and generalizations, shuffled."""
    rows = []
    for (split, generalization), (n_files, n_users) in counts.items():
        group = "train" if generalization in ("none", "stage") else split
        stages = ORDINARY if generalization in ("none", "user") else HELD_OUT_STAGES
        for i in range(n_files):
            stage = stages[i // n_users % len(stages)]
            rows.append((f"{group}{i % n_users:03}", stage, split, generalization))
    order = np.random.default_rng(0).permutation(len(rows))
    return np.array(rows, object)[order].T


@pytest.fixture(scope="module")
def table():
    return make_table(PUBLISHED)


@pytest.fixture(scope="module")
def small():
    people = {key: (n * 23, n) for key, n in zip(PUBLISHED, (4, 4, 4, 2, 4, 2))}
    return make_table(people)


def flatten(sets):
    return {
        "pretrain": sets.pretrain,
        **{
            (name, gestures): sets[name][gestures]
            for name in ("probe_train", "tune", "eval")
            for gestures in ("in_distribution", "unseen")
        },
    }


def test_gestures_of_the_paper_are_stages_of_the_corpus():
    assert len(GESTURE_STAGES) == 8
    assert len(SEEN) == len(set(SEEN)) == 4
    assert len(UNSEEN) == len(set(UNSEEN)) == 4
    assert set(SEEN) <= set(ORDINARY)
    assert set(HELD_OUT_STAGES) - set(UNSEEN) == {
        "FingerFreeform",
        "HandOverHandCountingUpDownFingerWigglingSpreading",
    }


def test_sets_of_the_published_size(table):
    users, stages = table[:2]
    assert len(users) == 25_253
    sets = flatten(paper_splits(*table))
    assert len(sets["pretrain"]) == 17_136
    assert len(set(stages[sets["pretrain"]])) == 23
    assert {name: len(set(users[rows])) for name, rows in sets.items()} == {
        "pretrain": 158,
        ("probe_train", "in_distribution"): 158,
        ("probe_train", "unseen"): 12,
        ("tune", "in_distribution"): 3,
        ("tune", "unseen"): 3,
        ("eval", "in_distribution"): 20,
        ("eval", "unseen"): 20,
    }
    for name, rows in list(sets.items())[1:]:
        assert set(stages[rows]) == set(UNSEEN if name[1] == "unseen" else SEEN)


def test_rows_of_each_set_one_by_one(table):
    sets = paper_splits(*table)
    tuning = set(sets.tuning_users)
    assert len(tuning) == 3
    expected = {name: [] for name in flatten(sets)}
    for i, (user, stage, split, generalization) in enumerate(table.T):
        kind = "unseen" if stage in UNSEEN else "in_distribution"
        key = split, generalization
        if key == ("train", "none"):
            expected["pretrain"].append(i)
        if stage not in SEEN + UNSEEN or key == ("test", "stage"):
            continue
        if split == "train":
            expected["probe_train", kind].append(i)
        if split == "test":
            expected["eval", kind].append(i)
        if split == "val" and user in tuning:
            expected["tune", kind].append(i)
        if split == "val" and user not in tuning and kind == "unseen":
            expected["probe_train", kind].append(i)
    for name, rows in flatten(sets).items():
        assert_array_equal(rows, expected[name])


def test_who_tunes_is_drawn_from_the_names_alone(table):
    drawn = paper_splits(*table).tuning_users
    some = np.random.default_rng(1).random(table.shape[1]) < 0.9
    assert_array_equal(paper_splits(*table[:, some]).tuning_users, drawn)
    assert_array_equal(paper_splits(*table[:, ::-1]).tuning_users, drawn)
    seeds = [tuple(paper_splits(*table, random_state=s).tuning_users) for s in range(9)]
    assert len(set(seeds)) > 5
    counts = Counter(user for chosen in seeds for user in chosen)
    assert max(counts.values()) < 9
    two = paper_splits(*table, n_tuning_users=2).tuning_users
    assert set(two) < set(drawn)
    before = np.random.get_state()[1].copy()
    paper_splits(*table)
    assert_array_equal(before, np.random.get_state()[1])


def test_who_tunes_may_be_named(small):
    sets = paper_splits(*small, tuning_users=["val002", "val000"])
    assert sets.tuning_users.tolist() == ["val000", "val002"]
    assert set(small[0][sets.tune.unseen]) == {"val000", "val002"}
    assert set(small[0][sets.probe_train.unseen]) == {"val001", "val003"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(tuning_users=["test000"]), "test000, who are not in the validation"),
        (dict(tuning_users=[]), "0 of the 4 people"),
        (dict(n_tuning_users=4), "4 of the 4 people .* nobody to probe"),
        (dict(n_tuning_users=0), "n_tuning_users=0"),
        (dict(n_tuning_users=1.5), "n_tuning_users=1.5"),
    ],
)
def test_wrong_choice_of_who_tunes(small, arguments, message):
    with pytest.raises(ValueError, match=message):
        paper_splits(*small, **arguments)


@pytest.mark.parametrize(
    "drop, message",
    [
        (lambda u, t, s, g: s == "train", "set pretrain is empty.*split='train'"),
        (
            lambda u, t, s, g: (s == "test") & (t == UNSEEN[1]) & (g == "user_stage"),
            r"eval.unseen lacks the stages ShakaVulcanPeace: .*'user_stage'",
        ),
        (
            lambda u, t, s, g: (u == "val001") & (g == "user_stage"),
            "tune.unseen is empty.*by people who tune",
        ),
        (
            lambda u, t, s, g: (s == "train") & (t == SEEN[0]),
            "probe_train.in_distribution lacks the stages ThumbsSwipesWholeHand",
        ),
    ],
)
def test_sets_without_a_gesture_are_named(small, drop, message):
    left = small[:, ~drop(*small).astype(bool)]
    with pytest.raises(ValueError, match=message):
        paper_splits(*left, tuning_users=["val001"])


def test_other_gestures(small):
    mine = {"wiggling": (ORDINARY[0], "in_distribution"), "free": (UNSEEN[0], "unseen")}
    sets = paper_splits(*small, gesture_stages=mine, n_tuning_users=1)
    assert set(small[1][sets.eval.in_distribution]) == {ORDINARY[0]}
    assert set(small[1][sets.tune.unseen]) == {UNSEEN[0]}


def test_people_do_not_cross(small):
    wrong = small.copy()
    users, _, splits, generalizations = wrong
    row = np.flatnonzero((splits == "test") & (generalizations == "user"))
    users[row] = "train001"
    with pytest.raises(ValueError, match=r"pre-training .* and evaluation: .*train001"):
        paper_splits(*wrong)
    users[row] = "val001"
    with pytest.raises(ValueError, match=r"and evaluation: .* 1 user\(s\): val001"):
        paper_splits(*wrong)


def test_sessions_do_not_cross(small):
    users, _, splits, _ = small
    sessions = np.array([f"{user}-session" for user in users], object)
    paper_splits(*small, sessions=sessions)
    sessions[np.flatnonzero(splits == "test")[-1]] = "train002-session"
    with pytest.raises(
        ValueError, match=r"Session train002-session belongs to t.* and"
    ):
        paper_splits(*small, sessions=sessions)


def test_check_splits_names_the_sets():
    users = ["anna", "anna", "ben", "carl", "ben"]
    check_splits({"a": [0, 1], "b": [2, 4], "c": np.array([3])}, users)
    check_splits({"a": [0], "b": []}, users, sessions=[1, 2, 3, 4, 3])
    with pytest.raises(ValueError, match=r"b and c: .*1 user\(s\): ben"):
        check_splits({"a": [0, 1], "b": [2, 3], "c": [4]}, users)
    with pytest.raises(ValueError, match="Session 3 belongs to ben and to carl"):
        check_splits({"a": [0]}, users, sessions=[1, 2, 3, 3, 3])
    with pytest.raises(ValueError, match="inconsistent"):
        check_splits({"a": [0]}, users, sessions=[1, 2])


def test_columns_must_be_equally_long(small):
    with pytest.raises(ValueError, match="inconsistent"):
        paper_splits(small[0][:-1], *small[1:])

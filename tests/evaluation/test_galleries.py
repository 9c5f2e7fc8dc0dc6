"""Zero-shot galleries against searches made one query at a time."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.datasets import load_emg2pose, write_emg2pose_corpus
from sk_cpep.evaluation import (
    GESTURE_STAGES,
    paper_splits,
    recording_moments,
    zero_shot,
    zero_shot_gallery,
)

SEEN, UNSEEN = (
    [stage for stage, part in GESTURE_STAGES.values() if part == wanted]
    for wanted in ("in_distribution", "unseen")
)
OTHER = "PlayBlocksChess"
PEOPLE = {"train": ["t1", "t2", "t3"], "val": ["v1", "v2", "v3"], "test": ["e1", "e2"]}
GENERALIZATION = {
    ("train", False): ("train", "none"),
    ("train", True): ("test", "stage"),
    ("val", False): ("val", "user"),
    ("val", True): ("val", "user_stage"),
    ("test", False): ("test", "user"),
    ("test", True): ("test", "user_stage"),
}


@pytest.fixture(scope="module")
def windows():
    """Columns and moments: two windows of either hand of each recording."""
    rows, moments = [], []
    for group, users in PEOPLE.items():
        for user in users:
            for stage in [*SEEN, OTHER, *UNSEEN]:
                split = GENERALIZATION[group, stage in UNSEEN]
                for _ in range(2):
                    moment = len(rows) // 4
                    rows += 4 * [(user, stage, *split)]
                    moments += 4 * [moment]
    order = np.random.default_rng(0).permutation(len(rows))
    return np.array(rows, object)[order].T, np.array(moments)[order]


@pytest.fixture(scope="module")
def sets(windows):
    return paper_splits(*windows[0], tuning_users=["v2"])


def embed(windows, seed=0):
    """Embeddings of EMG and of pose that know the stage and, more, the moment."""
    (_, stages, _, _), moments = windows
    rng = np.random.default_rng(seed)
    of_stage = {stage: rng.normal(size=6) for stage in np.unique(stages)}
    of_moment = 2 * rng.normal(size=(moments.max() + 1, 6))
    centre = np.stack([of_stage[stage] for stage in stages]) + of_moment[moments]
    return [centre + 0.1 * rng.normal(size=centre.shape) for _ in range(2)]


def pick(Z, columns, rows):
    return Z[rows], columns[1][rows], columns[0][rows]


def vote(query, poses, labels, k):
    """Majority of the k most cosine-similar poses; ties to the more similar."""
    cosine = poses @ query / np.linalg.norm(poses, axis=1) / np.linalg.norm(query)
    best = np.argsort(-cosine, kind="stable")[:k]
    names = sorted(set(labels))
    votes = [np.sum(labels[best] == name) for name in names]
    total = [cosine[best][labels[best] == name].sum() for name in names]
    return max(zip(votes, total, names), key=lambda row: row[:2])[2]


EXPECTED = {
    ("training", "in_distribution"): (PEOPLE["train"], SEEN),
    ("training", "unseen"): (PEOPLE["train"], UNSEEN),
    ("validation", "in_distribution"): (["v1", "v3"], SEEN),
    ("validation", "unseen"): (["v1", "v3"], UNSEEN),
    ("corpus", "in_distribution"): (sum(PEOPLE.values(), []), SEEN),
    ("corpus", "unseen"): (sum(PEOPLE.values(), []), UNSEEN),
}


@pytest.mark.parametrize("gallery, gestures", EXPECTED)
@pytest.mark.parametrize("part", ["eval", "tune"])
def test_who_and_what_is_in_a_gallery(windows, sets, gallery, gestures, part):
    columns, moments = windows
    queries = sets[part][gestures]
    chosen = zero_shot_gallery(
        *columns,
        moments,
        queries=queries,
        gestures=gestures,
        gallery=gallery,
        tuning_users=sets.tuning_users,
    )
    users, stages = EXPECTED[gallery, gestures]
    expected = [
        i
        for i, (user, stage) in enumerate(columns[:2].T)
        if user in users and stage in stages
    ]
    assert_array_equal(chosen.gallery, expected)
    assert_array_equal(chosen.queries, queries)
    assert chosen.settings["allow_shared_users"] == (gallery == "corpus")
    assert_array_equal(chosen.settings["exclude"][0], moments[chosen.gallery])
    assert_array_equal(chosen.settings["exclude"][1], moments[queries])


@pytest.mark.parametrize("vote_of", ["candidates", "all"])
@pytest.mark.parametrize("gallery", ["training", "validation", "corpus"])
@pytest.mark.parametrize("n_neighbors", [1, 10])
def test_no_query_meets_its_own_recording(windows, sets, gallery, vote_of, n_neighbors):
    columns, moments = windows
    emg, pose = embed(windows)
    chosen = zero_shot_gallery(
        *columns,
        moments,
        queries=sets.eval.unseen,
        gallery=gallery,
        vote=vote_of,
        tuning_users=sets.tuning_users,
    )
    record = zero_shot(
        None,
        pick(pose, columns, chosen.gallery),
        pick(emg, columns, chosen.queries),
        n_neighbors=n_neighbors,
        **chosen.settings,
    )
    expected = []
    for i in chosen.queries:
        others = chosen.gallery[moments[chosen.gallery] != moments[i]]
        assert len(chosen.gallery) - len(others) == (4 if gallery == "corpus" else 0)
        expected.append(vote(emg[i], pose[others], columns[1][others], n_neighbors))
    assert record["predictions"] == expected
    assert record["n_train"] == len(chosen.gallery)
    assert record["settings"] == {"n_neighbors": n_neighbors, "exclude": True}
    everything = gallery == "corpus" and vote_of == "all"
    assert record["chance"] == 1 / (9 if everything else 4)


def test_a_leak_would_show(windows, sets):
    columns, moments = windows
    emg, pose = embed(windows)
    chosen = zero_shot_gallery(
        *columns, moments, queries=sets.eval.unseen, gallery="corpus", vote="all"
    )
    parts = pick(pose, columns, chosen.gallery), pick(emg, columns, chosen.queries)
    leaking = zero_shot(None, *parts, n_neighbors=1, allow_shared_users=True)
    clean = zero_shot(None, *parts, n_neighbors=1, **chosen.settings)
    assert leaking["macro_accuracy"] == 1
    assert clean["macro_accuracy"] < 0.7


def test_the_guard_still_stands(windows, sets):
    columns, moments = windows
    emg, pose = embed(windows)
    chosen = zero_shot_gallery(
        *columns, moments, queries=sets.eval.unseen, gallery="corpus"
    )
    parts = pick(pose, columns, chosen.gallery), pick(emg, columns, chosen.queries)
    exclude = chosen.settings["exclude"]
    with pytest.raises(ValueError, match=r"share 2 user\(s\): e1, e2"):
        zero_shot(None, *parts, exclude=exclude)
    with pytest.raises(ValueError, match="`exclude` has 3 groups for the 64 windows"):
        wrong = exclude[0], exclude[1][:3]
        zero_shot(None, *parts, exclude=wrong, allow_shared_users=True)


def test_a_recording_is_in_one_group(windows, sets):
    columns, moments = windows
    emg, pose = embed(windows)
    chosen = zero_shot_gallery(
        *columns, moments, queries=sets.eval.unseen, gallery="corpus"
    )
    parts = pick(pose, columns, chosen.gallery), pick(emg, columns, chosen.queries)
    where = [
        {"recording": moments[rows], "start": 0 * rows, "stop": 0 * rows + 9}
        for rows in (chosen.gallery, chosen.queries)
    ]
    arguments = dict(gallery_windows=where[0], test_windows=where[1])
    plain = zero_shot(None, *parts, **chosen.settings)
    assert zero_shot(None, *parts, **chosen.settings, **arguments) == plain
    other = chosen.settings["exclude"][0].copy()
    other[np.flatnonzero(np.isin(other, moments[chosen.queries]))[0]] = -1
    settings = chosen.settings | {"exclude": (other, chosen.settings["exclude"][1])}
    with pytest.raises(ValueError, match="Recording .* in the groups .* and .*"):
        zero_shot(None, *parts, **settings, **arguments)


def test_galleries_smaller_than_the_neighbours_wanted():
    Z, y = np.eye(4), np.array(["fist", "fist", "ok", "ok"])
    users, groups = np.array(["a", "a", "b", "b"]), np.array([0, 1, 2, 2])
    part = (Z + 0.1, y, users)
    arguments = dict(allow_shared_users=True, n_neighbors=50)
    record = zero_shot(None, part, part, exclude=(groups, groups), **arguments)
    # Each fist is left one fist and two oks; each ok two fists.
    assert record["predictions"] == ["ok", "ok", "fist", "fist"]
    alone = np.zeros(4, int)
    with pytest.raises(ValueError, match="no pose outside the group 0"):
        zero_shot(None, part, part, exclude=(alone, alone), **arguments)


def test_moments_of_file_names():
    stem = "2022-12-06-1670313600-e3096-cv-emg-pose-train@2-recording-"
    names = [f"{stem}9_left", f"{stem}1_left", f"{stem}9_right", f"{stem}10_left"]
    assert recording_moments(names).tolist() == [0, 1, 0, 2]
    for wrong in (f"{stem}9", f"{stem}_left", "left", f"{stem}9_left.hdf5"):
        with pytest.raises(ValueError, match="no file name of emg2pose"):
            recording_moments([wrong])


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(gallery="test"), "gallery must be one of .*corpus.* got 'test'"),
        (dict(gestures="both"), "gestures must be one of"),
        (dict(vote="most"), "vote must be one of"),
        (dict(gestures="in_distribution"), "not among the candidates ThumbsSwipes"),
    ],
)
def test_wrong_choices_are_named(windows, sets, changes, message):
    columns, moments = windows
    with pytest.raises(ValueError, match=message):
        zero_shot_gallery(*columns, moments, **{"queries": sets.eval.unseen, **changes})


def test_wrong_galleries_are_named(windows, sets):
    columns, moments = windows
    keep = ~((columns[2] == "test") & (columns[3] == "stage"))
    queries = np.flatnonzero(np.isin(np.flatnonzero(keep), sets.eval.unseen))
    with pytest.raises(
        ValueError, match="'training' holds no Counting.*queries are of"
    ):
        zero_shot_gallery(*columns[:, keep], moments[keep], queries=queries)
    with pytest.raises(ValueError, match=r"1 user\(s\): v2\. .* tuning_users"):
        zero_shot_gallery(
            *columns, moments, queries=sets.tune.unseen, gallery="validation"
        )
    with pytest.raises(ValueError, match="inconsistent"):
        zero_shot_gallery(*columns, moments[:-1], queries=sets.eval.unseen)


def test_from_files_to_zero_shot(tmp_path):
    root = write_emg2pose_corpus(
        tmp_path,
        8,
        stages=SEEN + UNSEEN,
        n_sessions=1,
        seconds=1.2,
        n_val_users=2,
        n_test_users=2,
        ik_failures=0.02,
        random_state=0,
    )
    data = load_emg2pose(root, size=1000)
    columns = data.users, data.stages, data.splits, data.generalizations
    sets = paper_splits(*columns, sessions=data.sessions, n_tuning_users=1)
    moments = recording_moments(data.metadata["filename"])[data.windows["recording"]]
    pose = np.asarray(data.pose).mean(axis=2)
    pose -= pose.mean(axis=0)
    accuracy = {}
    for gallery in ("training", "validation", "corpus"):
        chosen = zero_shot_gallery(
            *columns,
            moments,
            queries=sets.eval.in_distribution,
            gestures="in_distribution",
            gallery=gallery,
            tuning_users=sets.tuning_users,
        )
        names = np.asarray(data.stages), np.asarray(data.users)
        parts = (
            (pose[rows], names[0][rows], names[1][rows])
            for rows in (chosen.gallery, chosen.queries)
        )
        record = zero_shot(None, *parts, **chosen.settings)
        assert record["n_users"] == 2
        accuracy[gallery] = record["macro_accuracy"]
    assert min(accuracy.values()) > 0.35  # poses as queries; chance is 0.25

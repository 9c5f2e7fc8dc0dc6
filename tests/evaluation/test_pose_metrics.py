import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sk_cpep.datasets import make_gesture_recordings
from sk_cpep.evaluation import (
    angular_error,
    landmark_distance,
    mean_pose,
    merge_records,
    pose_regression,
)

NAMES = ["THUMB_CMC_FE", "THUMB_CMC_AA", "THUMB_MCP_FE", "THUMB_IP_FE"]
for finger in ("INDEX", "MIDDLE", "RING", "PINKY"):
    NAMES += [f"{finger}_{joint}" for joint in ("MCP_AA", "MCP_FE", "PIP_FE", "DIP_FE")]
USERS = np.repeat(["anna", "ben", "carl"], [5, 9, 7])
N_TIMES = 12


def poses(seed=0, n_joints=20):
    rng = np.random.default_rng(seed)
    P = rng.normal(size=(len(USERS), n_joints, N_TIMES))
    return P, P + rng.normal(0.2, 0.3, size=P.shape)


def make_mask(seed=3):
    return np.random.default_rng(seed).random((len(USERS), N_TIMES)) < 0.7


class Lazy:
    """A window array that refuses to be read whole."""

    def __init__(self, array, most=4):
        self.array, self.most = array, most
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        part = self.array[rows]
        assert len(part) <= self.most, "read more than a batch"
        return part

    def __array__(self, *args, **options):
        raise RuntimeError("loaded whole")


class Hand:
    """Landmarks that move with the angles, ten mm a radian; 8, 11, 14, 17 far off."""

    def landmarks(self, angles):
        places = np.zeros((len(angles), 21, 3))
        places[:, :20, 0] = 10 * angles
        places[:, [8, 11, 14, 17]] *= 1e6
        return places


class Regressor:
    """Predicts `P_pred`: the windows are their own row numbers."""

    def __init__(self, predicted, first=0):
        self.predicted, self.first = predicted, first

    def predict(self, X):
        return self.predicted[np.asarray(X)[:, 0, 0].astype(int), :, self.first :]


def windows():
    return np.arange(len(USERS), dtype=float)[:, None, None] * np.ones((1, 2, 3))


# Angles


def brute_force(P, Q, mask):
    """Degrees by person and joint, sample by sample."""
    errors = {}
    for u in ("anna", "ben", "carl"):
        rows = []
        for i in np.flatnonzero(u == USERS):
            for sample in range(P.shape[2]):
                if mask[i, sample]:
                    rows.append(np.abs(P[i, :, sample] - Q[i, :, sample]))
        errors[u] = np.mean(rows, axis=0) * 180 / np.pi
    return errors


@pytest.mark.parametrize("masked", [False, True])
def test_angular_error_sample_by_sample(masked):
    P, Q = poses()
    mask = make_mask() if masked else np.ones((len(USERS), N_TIMES), bool)
    record = angular_error(P, Q, USERS, mask=mask if masked else None, batch_size=4)
    errors = brute_force(P, Q, mask)
    each = {u: e.mean() for u, e in errors.items()}
    values = np.array(list(each.values()))
    assert record["per_user"] == pytest.approx(each)
    assert record["angular_error"] == record["mean"] == pytest.approx(values.mean())
    assert record["sd"] == pytest.approx(values.std(ddof=1))
    assert record["worst"] == pytest.approx(values.max())
    assert record["worst_user"] == list(each)[values.argmax()]
    low, high = record["interval"]
    assert low < high
    assert [low, high] == pytest.approx([values.min(), values.max()])  # three people
    joints = dict(zip(NAMES, np.mean([*errors.values()], axis=0), strict=True))
    assert record["per_joint"] == pytest.approx(joints)
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        own = [e for name, e in joints.items() if name.startswith(finger.upper())]
        assert record["per_finger"][finger] == pytest.approx(np.mean(own))
    mid = np.mean(
        [e for name, e in joints.items() if "PIP" in name or name == NAMES[2]]
    )
    distal = [joints[NAMES[3]]] + [e for n, e in joints.items() if "DIP" in n]
    rest = [joints[NAMES[0]], joints[NAMES[1]]]
    rest += [e for n, e in joints.items() if "MCP" in n and n != NAMES[2]]
    groups = {"proximal": np.mean(rest), "mid": mid, "distal": np.mean(distal)}
    assert record["per_group"] == pytest.approx(groups)
    assert (record["n_windows"], record["n_samples"]) == (len(USERS), mask.sum())
    assert record["unit"] == "deg"
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_people_count_the_same_however_much_they_recorded():
    P = np.zeros((10, 1, 4))
    users = np.repeat(["much", "little"], [9, 1])
    Q = np.where(users == "little", np.pi, 0)[:, None, None] + P
    assert angular_error(P, Q, users)["angular_error"] == pytest.approx(90)


def test_one_degree_is_one_degree():
    P, _ = poses()
    record = angular_error(P, P + np.deg2rad(1), USERS)
    assert record["mean"] == pytest.approx(1)
    assert record["sd"] == pytest.approx(0, abs=1e-9)


def test_other_units_are_left_as_they_are():
    P, Q = poses(n_joints=3)
    record = angular_error(P, Q, USERS, unit="SD", joint_names=["a", "b", "c"])
    in_degrees = angular_error(P, Q, USERS)
    assert record["mean"] == pytest.approx(np.deg2rad(in_degrees["mean"]))
    assert (record["unit"], list(record["per_joint"])) == ("SD", ["a", "b", "c"])
    assert record["per_finger"] == record["per_group"] == {}
    assert list(in_degrees["per_joint"]) == ["0", "1", "2"]


def test_groups_of_ones_own():
    P, Q = poses(n_joints=3)
    options = {"joint_names": ["a", "b", "c"], "groups": {"ends": ["a", "c"]}}
    record = angular_error(P, Q, USERS, **options)
    ends = (record["per_joint"]["a"] + record["per_joint"]["c"]) / 2
    assert record["per_group"] == pytest.approx({"ends": ends})
    with pytest.raises(
        ValueError, match="joints that are not there: d. There are a, b"
    ):
        angular_error(P, Q, USERS, joint_names=list("abc"), fingers={"one": ["d"]})


def test_masked_samples_may_hold_anything():
    P, Q = poses()
    mask = make_mask()
    expected = angular_error(P, Q, USERS, mask=mask)
    P, Q = P.copy(), Q.copy()
    P.swapaxes(1, 2)[~mask] = np.nan
    Q.swapaxes(1, 2)[~mask] = 1e9
    assert angular_error(P, Q, USERS, mask=mask) == expected
    with pytest.raises(ValueError, match="21 windows hold NaN or infinity"):
        angular_error(P, Q, USERS)


def test_lazy_poses_are_read_by_batches():
    P, Q = poses()
    lazy = angular_error(Lazy(P), Lazy(Q), USERS, batch_size=4)
    whole = angular_error(P, Q, USERS)
    assert lazy["per_user"] == pytest.approx(whole["per_user"])
    assert lazy["per_joint"] == pytest.approx(whole["per_joint"])
    assert_allclose(mean_pose(Lazy(P), batch_size=4), P.mean(axis=(0, 2)))
    test = Lazy(windows()), Lazy(P), USERS
    record = pose_regression(Regressor(Q), test, batch_size=4)
    assert record["mean"] == pytest.approx(lazy["mean"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"P_pred": np.zeros((21, 20, 11))}, r"one shape, got \(21, 20, 12\) and"),
        ({"P_pred": np.zeros((21, 20))}, r"must be of shape \(n_windows, n_joints"),
        ({"users": USERS[1:]}, "21 windows to evaluate and 20 users"),
        ({"users": []}, "21 windows to evaluate and 0 users"),
        ({"mask": np.ones((21, 12))}, "mask must be boolean"),
        ({"mask": np.ones((21, 20), bool)}, r"shape \(21, 12\) \(n_windows, n_pose_t"),
        ({"mask": np.repeat(USERS != "ben", 12).reshape(21, 12)}, "evaluate of: ben"),
        ({"joint_names": NAMES[:19]}, "20 different names"),
        ({"joint_names": ["x"] * 20}, "20 different names"),
    ],
)
def test_angular_error_refuses(change, message):
    P, Q = poses()
    with pytest.raises(ValueError, match=message):
        angular_error(**({"P_true": P, "P_pred": Q, "users": USERS} | change))


# Landmarks


@pytest.mark.parametrize("every", [1, 5])
def test_landmark_distance_sample_by_sample(every):
    P, Q = poses()
    mask = make_mask()
    found = landmark_distance(P, Q, USERS, Hand(), every=every, mask=mask, batch_size=4)
    moving = [j for j in range(20) if j not in (8, 11, 14, 17)]  # and the palm, still
    all_17, tips = {}, {}
    for u in ("anna", "ben", "carl"):
        errors = [
            10 * np.abs(P[i, :, k] - Q[i, :, k])
            for i in np.flatnonzero(u == USERS)
            for k in range(0, N_TIMES, every)
            if mask[i, k]
        ]
        all_17[u] = np.mean([e[moving].sum() / 17 for e in errors])
        tips[u] = np.mean([e[:5].mean() for e in errors])
    assert found["landmark_distance"]["per_user"] == pytest.approx(all_17)
    assert found["fingertip_distance"]["per_user"] == pytest.approx(tips)
    assert found["fingertip_distance"]["mean"] == pytest.approx(
        np.mean([*tips.values()])
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_distance_is_euclidean():
    class Moved(Hand):
        def landmarks(self, angles):
            return np.broadcast_to(
                angles[:, :1, None] * [3.0, 0.0, 4.0], (len(angles), 21, 3)
            )

    P = np.zeros((1, 20, 1))
    found = landmark_distance(P, P + 1, ["a"], Moved())
    assert found["landmark_distance"]["mean"] == 5


def test_a_hand_with_other_landmarks():
    class Wrong:
        def landmarks(self, angles):
            return np.zeros((len(angles), 20, 3))

    with pytest.raises(ValueError, match="expected .*21, 3"):
        landmark_distance(*poses(), USERS, Wrong())


# Protocol


def test_pose_regression_is_its_parts():
    P, Q = poses()
    mask = make_mask()
    record = pose_regression(
        Regressor(Q),
        (windows(), P, USERS),
        mask=mask,
        hand_model=Hand(),
        every=5,
        batch_size=4,
        generalization="user_stage",
        train_users=["dora"],
    )
    angles = angular_error(P, Q, USERS, mask=mask)
    places = landmark_distance(P, Q, USERS, Hand(), every=5, mask=mask)
    header = {
        "method": "Regressor",
        "protocol": "pose_regression",
        "generalization": "user_stage",
        "settings": {"first": 0, "every": 5},
    }
    assert set(record) == set(header | angles | places)
    assert {k: record[k] for k in header} == header
    for key in ("per_user", "per_joint", "per_group"):
        assert record[key] == pytest.approx(angles[key])
    for key, value in places.items():
        assert record[key]["per_user"] == pytest.approx(value["per_user"])
    assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize("shorter", [False, True])
def test_the_first_samples_are_not_compared(shorter):
    P, Q = poses()
    Q[..., :5] = 1e6
    estimator = Regressor(Q, first=5 if shorter else 0)
    record = pose_regression(estimator, (windows(), P, USERS), first=5)
    expected = angular_error(P[..., 5:], Q[..., 5:], USERS)
    assert record["per_user"] == pytest.approx(expected["per_user"])


def test_an_estimator_says_where_it_begins_and_what_it_was_trained_for():
    P, Q = poses()
    estimator = Regressor(Q)
    estimator.pose_start_, estimator.loss_terms_ = 5, ("angle",)
    record = pose_regression(estimator, (windows(), P, USERS))
    expected = angular_error(P[..., 5:], Q[..., 5:], USERS)
    assert record["per_user"] == pytest.approx(expected["per_user"])
    assert record["settings"] == {"first": 5, "every": 40, "loss_terms": ["angle"]}
    whole = pose_regression(estimator, (windows(), P, USERS), first=0)
    assert whole["n_samples"] == P[:, 0].size


def test_functions_and_static_poses():
    P, Q = poses()
    test = windows(), P, USERS
    assert pose_regression(Regressor(Q).predict, test)["method"] == "predict"
    assert pose_regression(Regressor(Q), test, method="mine")["method"] == "mine"
    record = pose_regression(mean_pose(Q), test)
    still = np.broadcast_to(Q.mean(axis=(0, 2))[:, None], P.shape)
    assert record["per_user"] == pytest.approx(
        angular_error(P, still, USERS)["per_user"]
    )
    assert record["method"] == "Static"
    assert record["landmark_distance"] is record["fingertip_distance"] is None


def test_tracking_begins_with_the_true_pose():
    P, Q = poses()
    test, start = (windows(), P, USERS), P[..., 0]

    class Tracker(Regressor):
        def predict(self, X, initial_pose):
            return initial_pose[..., None] + super().predict(X)

    record = pose_regression(Tracker(Q), test, initial_pose=start, batch_size=4)
    expected = angular_error(P, start[..., None] + Q, USERS)
    assert record["per_user"] == pytest.approx(expected["per_user"])
    assert record["protocol"] == "pose_tracking"
    held = pose_regression(None, test, initial_pose=start, batch_size=4)
    still = np.broadcast_to(start[..., None], P.shape)
    assert held["per_user"] == pytest.approx(angular_error(P, still, USERS)["per_user"])
    assert held["method"] == "Static"


def test_mean_pose_leaves_out_what_is_not_valid():
    P, _ = poses()
    mask = make_mask()
    P.swapaxes(1, 2)[~mask] = np.nan
    assert_allclose(mean_pose(P, mask=mask), np.nanmean(P, axis=(0, 2)))
    with pytest.raises(ValueError, match="no valid sample"):
        mean_pose(P, mask=np.zeros_like(mask))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"generalization": "none"}, "generalization must be one of"),
        ({"train_users": ["ben", "x"]}, "share 1 user"),
        ({"first": 12}, "first must leave some of the 12"),
        (
            {"initial_pose": np.zeros((21, 3))},
            r"initial_pose must be of shape \(21, 20",
        ),
        ({"estimator": None}, "give initial_pose"),
        ({"estimator": np.zeros(3)}, "one angle for each of the 20 joints"),
        (
            {"estimator": lambda X: np.zeros((len(X), 20, 7))},
            r"predicted poses of shape",
        ),
    ],
)
def test_pose_regression_refuses(options, message):
    P, Q = poses()
    arguments = {"estimator": Regressor(Q), "test": (windows(), P, USERS)} | options
    with pytest.raises(ValueError, match=message):
        pose_regression(**arguments)


def test_new_stages_of_the_same_people():
    P, Q = poses()
    test = windows(), P, USERS
    where = {
        "recording": np.zeros(21),
        "start": np.arange(21),
        "stop": np.arange(21) + 1,
    }
    options = dict(generalization="stage", train_users=USERS)
    assert pose_regression(Regressor(Q), test, **options)["n_users"] == 3
    with pytest.raises(ValueError, match="share samples"):
        pose_regression(
            Regressor(Q), test, train_windows=where, test_windows=where, **options
        )


def test_merged_is_as_if_all_people_had_been_one_set():
    P, Q = poses()
    whole = pose_regression(Regressor(Q), (windows(), P, USERS), hand_model=Hand())
    parts = []
    for people in (["ben"], ["anna", "carl"]):
        rows = np.isin(USERS, people)
        test = windows()[rows], P[rows], USERS[rows]
        parts.append([pose_regression(Regressor(Q), test, hand_model=Hand())])
    (merged,) = merge_records(parts)
    assert set(merged) == set(whole)
    for key in ("per_user", "per_joint", "per_finger", "per_group"):
        assert merged[key] == pytest.approx(whole[key])
    for key in ("angular_error", "sd", "n_windows", "n_samples", "n_users"):
        assert merged[key] == pytest.approx(whole[key])
    for key in ("landmark_distance", "fingertip_distance"):
        assert merged[key]["per_user"] == pytest.approx(whole[key]["per_user"])
        assert merged[key]["mean"] == pytest.approx(whole[key]["mean"])


def test_joints_are_named_as_the_data_sets_are():
    recordings = make_gesture_recordings(
        1, ["fist"], n_repetitions=1, random_state=0, sfreq=100.0, pose_sfreq=50.0
    )
    assert list(recordings.joint_names) == NAMES

import json

import pytest

from sk_cpep.evaluation import published

COLUMNS = [
    ("linear_probe", "in_distribution"),
    ("zero_shot", "in_distribution"),
    ("linear_probe", "unseen"),
    ("zero_shot", "unseen"),
]


def numbers(method, **options):
    found = (published(method, *column, **options) for column in COLUMNS)
    return [records[0]["macro_accuracy"] if records else None for records in found]


@pytest.mark.parametrize(
    "method, expected",
    [
        ("CPEP", [0.782, 0.757, 0.536, 0.481]),
        ("EMG encoder frozen", [0.372, 0.344, 0.326, 0.298]),
        ("EMG encoder randomly initialised", [0.748, 0.701, 0.479, 0.454]),
        ("Average pooling", [0.761, 0.711, 0.518, 0.454]),
        ("Pose-MAE (upper bound)", [0.851, None, 0.649, None]),
        ("emg2pose", [0.734, None, 0.405, None]),
        ("EMG-MAE", [0.347, None, 0.334, None]),
        ("EMBridge", [0.785, 0.777, 0.505, 0.528]),
        ("EMGBlend", [0.818, 0.797, 0.617, 0.560]),
        ("Amplitude features", [None] * 4),
    ],
)
def test_numbers_of_the_papers(method, expected):
    assert numbers(method) == expected


def test_ninapro():
    assert numbers("CPEP", dataset="ninapro") == [None, 0.604, None, 0.413]
    assert numbers("EMBridge", dataset="ninapro") == [None, 0.692, None, 0.447]
    with pytest.raises(ValueError, match="got 'ninapro_db1'"):
        published("CPEP", dataset="ninapro_db1")


@pytest.mark.parametrize(
    "name, same",
    [
        ("Ours", "CPEP"),
        ("cpep", "CPEP"),
        ("Pose-MAE", "Pose-MAE (upper bound)"),
        ("emg2pose", "EMG2Pose"),
    ],
)
def test_names_of_one_method(name, same):
    found, expected = published(name), published(same)
    assert expected and [r | {"method": same} for r in found] == expected
    assert {r["method"] for r in found} == {name}


def test_an_ablation_is_not_taken_for_the_method():
    for name in ("CPEP, EMG encoder frozen", "CPEP (average pooling)", "CPEP "):
        assert published(name) == []


def test_the_gains_that_the_abstract_tells():
    weakest = numbers("Weakest emg2pose model")
    assert 0.782 / weakest[0] - 1 == pytest.approx(0.21, abs=0.005)
    assert 0.536 / weakest[2] - 1 == pytest.approx(0.72, abs=0.005)


def test_what_did_not_converge():
    for method in ("Both randomly initialised", "Both encoders trained"):
        records = published(method)
        assert [(r["protocol"], r["gestures"]) for r in records] == COLUMNS
        for record in records:
            assert record["converged"] is False
            assert record["macro_accuracy"] is record["mean"] is None


def test_every_record_has_a_source_and_a_level_of_trust():
    records = published() + published(dataset="ninapro")
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    places = set()
    for record in records:
        assert record["source"] and record["trust"] in ("stated", "secondary", "low")
        if record["converged"] and "gestures" in record:
            assert 0.25 < record["macro_accuracy"] == record["mean"] < 1
        what = record.get("gestures") or record["generalization"]
        places.add((record["dataset"], record["method"], record["protocol"], what))
    assert len(places) == len(records)
    assert {r["method"] for r in records if r["trust"] == "low"} == {
        "PoseT",
        "Weakest emg2pose model",
    }


def test_poses():
    (record,) = published("vemg2pose", "pose_regression", "user_stage")
    assert (record["angular_error"], record["sd"], record["unit"]) == (
        15.63,
        1.37,
        "deg",
    )
    assert record["landmark_distance"] == {"mean": 21.30, "sd": 1.87}
    (record,) = published("Static", "pose_tracking", "user")
    assert (record["mean"], record["sd"]) == (10.48, None)
    regression = published(protocol="pose_regression")
    assert len(regression) == 3 * len({r["method"] for r in regression}) == 30
    for record in regression:  # the static pose is the worst everywhere
        (static,) = published("Static", "pose_regression", record["generalization"])
        assert record["mean"] <= static["mean"]
    assert len(published(protocol="pose_tracking")) == 18


def test_a_change_to_a_record_changes_no_other():
    published("CPEP")[0]["mean"] = 1.0
    assert published("CPEP")[0]["mean"] == 0.782
    assert "EMG2Pose" in {r["method"] for r in published()}

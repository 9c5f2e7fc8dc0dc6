import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sk_cpep.encoders import load_hand_model


def content():
    """A hand that nobody has, with two wrist joints, and ragged bones."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(22, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return {
        "joint_rotation_axes": axes.tolist(),
        "joint_rest_positions": rng.normal(size=(22, 3)).tolist(),
        "landmark_rest_positions": rng.normal(size=(21, 3)).tolist(),
        "landmark_rest_bone_indices": [[i % 17] for i in range(20)] + [[1, 5, 8]],
        "landmark_rest_bone_weights": [[1.0]] * 20 + [[0.5, 0.2, 0.3]],
    }


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "hand.json"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("wrist", [False, True])
@pytest.mark.parametrize("filled", [False, True])
def test_values(write, below, wrist, filled):
    hand = content()
    axes, centres, rest = (np.array(a) for a in list(hand.values())[:3])
    if filled:  # with bones of no share
        for key, fill in (("indices", -1), ("weights", 0.0)):
            rows = hand[f"landmark_rest_bone_{key}"]
            hand[f"landmark_rest_bone_{key}"] = [
                row + [fill] * (3 - len(row)) for row in rows
            ]
    if not wrist:
        for key in ("joint_rotation_axes", "joint_rest_positions"):
            hand[key] = hand[key][:20]
    model = load_hand_model(write({"name": "x", "hand": hand} if below else hand))
    assert_allclose(model.axes, axes[:20], atol=1e-6)
    assert_allclose(model.centres, centres[:20], atol=1e-6)
    assert_allclose(model.rest, rest, atol=1e-6)
    weights = np.zeros((21, 17))
    weights[range(20), [i % 17 for i in range(20)]] = 1
    weights[20, [1, 5, 8]] = 0.5, 0.2, 0.3
    assert_allclose(model.weights, weights, atol=1e-6)
    assert_allclose(model.landmarks(np.zeros((2, 20)))[1], rest, atol=1e-5)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"joint_rest_positions": None, "landmark_rest_positions": None},
            r"lacks joint_rest_positions, landmark_rest_positions\.",
        ),
        (
            {"joint_rotation_axes": [[1, 0, 0]] * 19},
            "joint_rotation_axes has 19 rows, expected 20 or 22",
        ),
        (
            {"landmark_rest_positions": [[1, 0, 0]] * 20},
            "landmark_rest_positions has 20 rows, expected 21",
        ),
        (
            {"joint_rotation_axes": [[1, 1, 0]] * 20},
            "joint_rotation_axes must be of length 1",
        ),
        (
            {"joint_rest_positions": [[1, 0]] * 20},
            "joint_rest_positions must be rows of three numbers",
        ),
        (
            {"joint_rest_positions": [["a", 0, 0]] * 20},
            "joint_rest_positions must be rows of three numbers",
        ),
        (
            {"joint_rest_positions": [[float("nan"), 0, 0]] * 20},
            "joint_rest_positions has values that are not finite",
        ),
        ({"landmark_rest_bone_indices": [[17]] * 21}, "bones from 0 to 16"),
        ({"landmark_rest_bone_indices": [[1]] * 20}, "for each of 21 landmarks"),
        ({"landmark_rest_bone_indices": [[1, 2]] * 21}, "as many shares"),
        (
            {
                "landmark_rest_bone_indices": [1] * 21,
                "landmark_rest_bone_weights": [0.5] * 21,
            },
            "landmark_rest_bone_weights must sum to 1",
        ),
    ],
)
def test_what_makes_no_hand(write, changes, message):
    hand = {k: v for k, v in (content() | changes).items() if v is not None}
    with pytest.raises(ValueError, match=f"hand.json.*{message}"):
        load_hand_model(write(hand))


@pytest.mark.parametrize("value", [[], {}, 3, "hand", {"a": 1}])
def test_no_hand_at_all(write, value):
    with pytest.raises(ValueError, match="lacks joint_rotation_axes, joint_rest"):
        load_hand_model(write(value))


def test_no_json(tmp_path):
    path = tmp_path / "hand.json"
    for data in (b"", b"{", b"\xff\xfe\x00"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="is not JSON"):
            load_hand_model(path)
    with pytest.raises(FileNotFoundError):
        load_hand_model(tmp_path / "other.json")

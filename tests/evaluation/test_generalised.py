import numpy as np
import pytest
from numpy.testing import assert_allclose

from sk_cpep.evaluation import (
    format_markdown,
    generalised_zero_shot,
    load_records,
    merge_records,
    paired_difference,
    save_records,
    tune_seen_penalty,
    zero_shot,
)

SEEN, NEW = ["fist", "ok"], ["point", "wave"]
NAMES = np.array(SEEN + NEW)


def make_set(users, seed, n=40, shift=0.0):
    """Unit embeddings; new gestures lie beside seen ones, and are drawn to these."""
    rng = np.random.default_rng(seed)
    users = np.repeat(users, n)
    codes = rng.integers(4, size=len(users))
    centres = np.random.default_rng(9).normal(size=(4, 8))
    centres[2:] = centres[:2] + 0.5 * centres[2:]
    Z = centres[codes] + rng.normal(size=(len(users), 8)) * 0.4
    Z -= shift * (codes >= 2)[:, None] * (centres[codes] - centres[codes % 2])
    return Z, NAMES[codes], users


GALLERY = make_set(["anna", "ben"], 0)
TEST = make_set(["carl", "dora", "emil"], 1, shift=0.85)


def recall_of(record, names):
    """By hand, of each person, from the confusions of one person at a time."""
    return {u: np.mean([r[n] for n in names]) for u, r in record.items()}


def test_three_records_by_hand():
    seen, new, both = generalised_zero_shot(
        None, GALLERY, TEST, seen=SEEN, n_neighbors=5, method="mine"
    )
    everything = zero_shot(None, GALLERY, TEST, n_neighbors=5)
    recalls = everything["per_user_recall"]
    assert seen["per_user"] == pytest.approx(recall_of(recalls, SEEN))
    assert new["per_user"] == pytest.approx(recall_of(recalls, NEW))
    a, b = seen["mean"], new["mean"]
    assert both["mean"] == both["macro_accuracy"] == pytest.approx(2 * a * b / (a + b))
    for user, value in both["per_user"].items():
        mine = seen["per_user"][user], new["per_user"][user]
        assert value == pytest.approx(2 * np.prod(mine) / np.sum(mine))
    assert [r["gestures"] for r in (seen, new, both)] == [
        "in_distribution",
        "unseen",
        "harmonic_mean",
    ]
    for record in (seen, new, both):
        assert record["protocol"] == "generalised_zero_shot"
        assert (record["chance"], record["n_classes"], record["n_people"]) == (
            0.25,
            4,
            0,
        )
        assert record["settings"]["seen"] == SEEN


def test_interval_of_the_harmonic_mean_against_every_resample():
    *_, both = generalised_zero_shot(None, GALLERY, TEST, seen=SEEN)
    a, b = (np.array(list(part.values())) for part in both["parts"].values())
    draws = np.stack(np.meshgrid(*[range(3)] * 3), axis=-1).reshape(-1, 3)
    means = a[draws].mean(axis=1), b[draws].mean(axis=1)
    every = 2 * means[0] * means[1] / (means[0] + means[1])
    low, high = both["interval"]
    assert every.min() - 1e-12 <= low <= both["mean"] <= high <= every.max() + 1e-12
    # Widened for three people, the percentiles are the extremes.
    assert_allclose([low, high], [every.min(), every.max()], atol=1e-9)


def test_a_penalty_trades_seen_for_new():
    found = [
        [
            r["mean"]
            for r in generalised_zero_shot(
                None, GALLERY, TEST, seen=SEEN, seen_penalty=penalty
            )
        ]
        for penalty in (0.0, 0.05, 9.0)
    ]
    assert found[0][0] > found[1][0] > found[2][0] == 0
    assert found[0][1] < found[1][1] <= found[2][1]
    assert found[1][2] > found[0][2]


def test_tuned_is_the_best_of_all_on_these_people():
    penalties = [0.0, 0.02, 0.05, 0.1, 0.6]
    best, curve = tune_seen_penalty(
        GALLERY, TEST, seen=SEEN, penalties=penalties, n_neighbors=7
    )
    for point in curve:
        records = generalised_zero_shot(
            None,
            GALLERY,
            TEST,
            seen=SEEN,
            n_neighbors=7,
            seen_penalty=point["seen_penalty"],
        )
        expected = [r["mean"] for r in records]
        assert_allclose([point[k] for k in ("seen", "new", "harmonic_mean")], expected)
    highest = max(point["harmonic_mean"] for point in curve)
    assert best == next(
        p["seen_penalty"] for p in curve if p["harmonic_mean"] == highest
    )
    assert best > 0


def test_merged_over_folds_is_all_people_at_once(tmp_path):
    def part(user):
        rows = TEST[2] == user
        return tuple(column[rows] for column in TEST)

    users = ("carl", "dora", "emil")
    runs = [
        generalised_zero_shot(None, GALLERY, part(u), seen=SEEN, seen_penalty=0.1)
        for u in users
    ]
    merged = merge_records(runs)
    whole = generalised_zero_shot(None, GALLERY, TEST, seen=SEEN, seen_penalty=0.1)
    for a, b in zip(merged, whole, strict=True):
        for key in ("mean", "interval", "sd", "n_test", "settings", "n_people"):
            assert a[key] == pytest.approx(b[key]) if key != "settings" else True
        assert a["per_user"] == pytest.approx(b["per_user"])
    path = save_records(tmp_path / "r.json", merged)
    assert load_records(path) == merged


def test_in_tables():
    plain = generalised_zero_shot(None, GALLERY, TEST, seen=SEEN, method="A")
    less = generalised_zero_shot(
        None, GALLERY, TEST, seen=SEEN, method="A", seen_penalty=0.1
    )
    table = format_markdown(plain + less, digits=2)
    for title in (
        "generalised zero-shot, in distribution",
        "generalised zero-shot, unseen, penalty 0.1",
        "generalised zero-shot, harmonic mean, penalty 0.1",
    ):
        assert f"| {title} " in table
    found = paired_difference(less[1], plain[1])
    assert found["mean"] == pytest.approx(less[1]["mean"] - plain[1]["mean"])


@pytest.mark.parametrize("seen", [NAMES, ["shaka"]])
def test_both_kinds_are_needed(seen):
    with pytest.raises(ValueError, match="Generalised zero-shot needs both"):
        generalised_zero_shot(None, GALLERY, TEST, seen=seen)
    with pytest.raises(ValueError, match="Generalised zero-shot needs both"):
        tune_seen_penalty(GALLERY, TEST, seen=seen)


def test_nothing_leaks():
    with pytest.raises(ValueError, match="anna"):
        generalised_zero_shot(None, GALLERY, GALLERY, seen=SEEN)

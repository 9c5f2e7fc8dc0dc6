import collections
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sk_cpep.preprocessing import Windower, make_windows


def noise(n_rows, lengths, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n_rows, n)).astype(dtype) for n in lengths]


def runs(lengths, labels, seed=0):
    """Labels that stay for 1 to 12 samples at a time."""
    rng = np.random.default_rng(seed)
    return [
        np.repeat(rng.choice(labels, n), rng.integers(1, 13, n))[:n] for n in lengths
    ]


def brute_force(lengths, size, stride):
    return [
        (i, start)
        for i, n in enumerate(lengths)
        for start in range(0, n - size + 1, stride)
    ]


def vote(window):
    """Majority label, ties to the first in sort order, and its share."""
    counts = collections.Counter(window.tolist())
    label = min(counts, key=lambda c: (-counts[c], c))
    return label, counts[label] / len(window)


LENGTHS = (200, 131, 90)


def test_four_arrays_stay_paired():
    X, P, y = noise(3, LENGTHS), noise(2, LENGTHS, seed=1), runs(LENGTHS, [0, 4, 7])
    users = ["anna", "ben", "anna"]
    Xw, Pw, yw, groups, where = make_windows(
        X, P, y, users, size=20, stride=7, purity=0.6, return_provenance=True
    )
    kept = [
        (i, s, *vote(y[i][s : s + 20]))
        for i, s in brute_force(LENGTHS, 20, 7)
        if vote(y[i][s : s + 20])[1] >= 0.6
    ]
    assert 0 < len(kept) < len(brute_force(LENGTHS, 20, 7))
    assert_array_equal(Xw, [X[i][:, s : s + 20] for i, s, *_ in kept])
    assert_array_equal(Pw, [P[i][:, s : s + 20] for i, s, *_ in kept])
    assert_array_equal(yw, [label for *_, label, _ in kept])
    assert_array_equal(groups, [users[i] for i, *_ in kept])
    assert where.dtype.names == ("recording", "start", "stop", "purity")
    assert [tuple(w) for w in where] == [(i, s, s + 20, p) for i, s, _, p in kept]
    assert Xw.dtype == Pw.dtype == np.float32 and Xw.flags.c_contiguous


def test_agrees_with_windower():
    X = noise(3, LENGTHS)
    (Xw,) = make_windows(X, size=25, stride=10)
    assert_array_equal(Xw, Windower(25, 10).fit_transform(X))
    (touching,) = make_windows(X, size=25)
    assert_array_equal(touching, Windower(25).fit_transform(X))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [2.0, 5.0], ["a", "bb", "ccc"]])
@pytest.mark.parametrize("size, stride", [(1, 1), (2, 1), (16, 5), (40, 3)])
def test_majority_is_that_of_a_plain_count(labels, size, stride):
    y = runs(LENGTHS, labels, seed=size)
    _, yw, where = make_windows(
        noise(1, LENGTHS), y, size=size, stride=stride, purity=0, return_provenance=True
    )
    expected = [vote(y[i][s : s + size]) for i, s in brute_force(LENGTHS, size, stride)]
    assert yw.tolist() == [label for label, _ in expected]
    assert where["purity"].tolist() == [share for _, share in expected]


def test_purity_by_hand():
    X = [np.zeros((1, 16))]
    y = [np.array([5, 5, 5, 5, 5, 5, 5, 1, 3, 3, 1, 1, 4, 2, 1, 0])]
    options = dict(size=4, return_provenance=True)
    _, yw, where = make_windows(X, y, purity=0, **options)
    assert yw.tolist() == [5, 5, 1, 0]  # ties: 1 before 3, and 0 before 1, 2 and 4
    assert where["purity"].tolist() == [1, 0.75, 0.5, 0.25]
    assert make_windows(X, y, purity=0.75, **options)[1].tolist() == [5, 5]
    assert make_windows(X, y, **options)[1].tolist() == [5, 5, 1]
    assert make_windows(X, y, purity=0.76, **options)[2]["start"].tolist() == [0]


def test_impure_windows_can_be_marked():
    X = [np.zeros((1, 8))]
    numbers = [np.array([5, 5, 5, 5, 5, 5, 1, 1], dtype=np.uint8)]
    words = [np.array(list("aaaabbcc"))]
    options = dict(size=4, purity=0.6, impure="mark")
    assert make_windows(X, numbers, **options)[1].tolist() == [5, -1]
    assert make_windows(X, words, **options)[1].tolist() == ["a", "impure"]
    half = {**options, "purity": 0.5}
    assert make_windows(X, numbers, **half)[1].tolist() == [5, 1]
    _, yw = make_windows(X, numbers, impure_label=300, **options)
    assert yw.tolist() == [5, 300]
    Xw, yw = make_windows(X, words, impure_label="between gestures", **options)
    assert yw.tolist() == ["a", "between gestures"] and len(Xw) == 2
    for labels, mark in ((numbers, "none"), (words, 0)):
        with pytest.raises(ValueError, match=f"impure_label={mark!r} does not go with"):
            make_windows(X, labels, impure_label=mark, **options)


def test_a_window_has_to_be_pure_in_every_labelling():
    X = [np.zeros((1, 12))]
    y, z = [np.repeat([1, 2, 3, 4], 3)], [np.repeat([7, 8], 6)]
    _, yw, zw, where = make_windows(
        X, y, z, size=4, stride=2, purity=0.7, return_provenance=True
    )
    # At start 4 y is 2 2 3 3, half and half, and so is z.
    assert where["start"].tolist() == [0, 2, 6, 8]
    assert yw.tolist() == [1, 2, 3, 4] and zw.tolist() == [7, 7, 8, 8]
    assert where["purity"].tolist() == [0.75] * 4
    late = [np.repeat([7, 8], [8, 4])]
    # At start 6 late is 7 7 8 8, though y is pure enough.
    assert make_windows(X, y, late, size=4, stride=2, purity=0.7)[1].tolist() == [
        1,
        2,
        4,
    ]


def test_a_label_per_sample_in_a_2d_array():
    X, y = np.zeros((3, 2, 20)), np.repeat([[1], [2], [3]], 20, axis=1)
    assert make_windows(X, y, size=10)[1].tolist() == [1, 1, 2, 2, 3, 3]


def test_object_labels_and_facts_of_any_kind():
    X = noise(1, (20, 20))
    y = [np.array(["fist"] * 20, dtype=object), ["rest"] * 20]
    Xw, yw, ages, sides = make_windows(X, y, np.array([31.5, 40]), ("l", "r"), size=10)
    assert yw.tolist() == ["fist", "fist", "rest", "rest"]
    assert ages.tolist() == [31.5, 31.5, 40, 40]
    assert sides.tolist() == ["l", "l", "r", "r"]


@pytest.mark.parametrize("rates", [[2000, 60], None])
def test_pose_at_a_rate_of_its_own(rates):
    lengths = (4000, 6000, 5000)
    X = [np.arange(n)[np.newaxis] for n in lengths]
    P = [np.arange(n * 60 // 2000)[np.newaxis] for n in lengths]
    Xw, Pw = make_windows(X, P, size=1000, stride=250, rates=rates)
    assert Pw.shape == (len(Xw), 1, 30)
    assert_array_equal(Pw[:, 0, 0], np.rint(Xw[:, 0, 0] * 60 / 2000))
    assert_array_equal(np.diff(Pw[:, 0]), 1)


def test_faster_companion_and_labels_at_its_rate():
    lengths = (60, 75)
    P = [np.arange(n)[np.newaxis] for n in lengths]
    X = [np.arange(n * 10)[np.newaxis] for n in lengths]
    y = [np.arange(n * 10) // 100 for n in lengths]
    Pw, Xw, yw = make_windows(P, X, y, size=10, stride=5, rates=[60, 600, 600])
    assert_array_equal(Xw[:, 0], Pw[:, 0, :1] * 10 + np.arange(100))
    starts = [s for n in lengths for s in range(0, n - 9, 5)]
    assert yw.tolist() == [s * 10 // 100 for s in starts]


@pytest.mark.parametrize("size, stride", [(64, 1), (17, 33), (990, 1)])
def test_rounding_shifts_a_start_by_one_sample_at_most(size, stride):
    X = [np.arange(1015)[np.newaxis]]
    P = [np.arange(30)[np.newaxis]]
    Xw, Pw = make_windows(X, P, size=size, stride=stride, rates=[2000, 60])
    assert_array_equal(Xw, Windower(size, stride).fit_transform(X))
    exact = np.rint(Xw[:, 0, 0] * 60 / 2000)
    shifted = Pw[:, 0, 0] != exact
    assert_array_equal(Pw[shifted, 0, 0], exact[shifted] - 1)
    assert_array_equal(Pw[shifted, 0, -1], 29)
    assert shifted.sum() in range(1, len(shifted))
    assert Pw.shape[2] == round(size * 0.03)


def test_lengths_a_sample_or_two_apart_are_cut_to_the_shortest():
    lengths = (30, 30, 32)
    X, y = noise(2, lengths), runs((32, 29, 30), [1, 2])
    P = noise(1, (31, 30, 30), seed=1)
    Xw, Pw, yw, where = make_windows(
        X, P, y, size=10, stride=1, purity=0, return_provenance=True
    )
    assert np.bincount(where["recording"]).tolist() == [21, 20, 21]
    assert_array_equal(
        Pw, [P[w["recording"]][:, w["start"] : w["stop"]] for w in where]
    )
    assert yw.tolist() == [
        vote(y[w["recording"]][w["start"] : w["stop"]])[0] for w in where
    ]


@pytest.mark.parametrize(
    "others, rates, message",
    [
        (
            noise(1, (200, 134, 90)),
            None,
            r"arrays\[1\] has 134 samples in recording 1, where arrays\[0\] has 131; "
            "at 1 times .* expected 131 within 2",
        ),
        (noise(1, (200, 120, 90)), None, "120 samples in recording 1, .* has 131"),
        (runs((200, 131, 93), [1]), None, "93 samples in recording 2, .* has 90"),
        (noise(1, (20, 13, 40)), None, "40 samples in recording 2, .* has 90; at 0.1 "),
        (
            noise(1, (200, 131, 90)),
            [2000, 60],
            "200 samples in recording 0.* 0.03 times",
        ),
    ],
)
def test_lengths_that_do_not_belong_together(others, rates, message):
    with pytest.raises(ValueError, match=message):
        make_windows(noise(2, LENGTHS), others, size=20, rates=rates)


def test_a_pose_too_short_for_its_window_gives_none():
    X, P = noise(1, (100, 100)), noise(1, (30, 29), seed=1)
    with pytest.warns(UserWarning, match="1 of 2 recordings are too short"):
        Xw, Pw = make_windows(X, P, size=100, rates=[2000, 600])
    assert_array_equal(Xw, X[:1])
    assert_array_equal(Pw, P[:1])


def test_two_samples_of_the_slower_array_are_tolerated():
    X = noise(1, (1000,))
    make_windows(X, noise(1, (28,)), size=100, rates=[2000, 60])
    with pytest.raises(ValueError, match="27 samples .* expected 30 within 2"):
        make_windows(X, noise(1, (27,)), size=100, rates=[2000, 60])
    P = noise(1, (30,))
    make_windows(P, noise(1, (934,)), size=3, rates=[60, 2000])
    with pytest.raises(ValueError, match="933 samples .* expected 1000 within 2"):
        make_windows(P, noise(1, (933,)), size=3, rates=[60, 2000])


def test_labels_of_skipped_recordings_play_no_part():
    X, y = noise(1, (20, 2)), [np.full(20, 3, dtype=np.int8), []]
    with pytest.warns(UserWarning, match="1 of 2 recordings"):
        _, yw = make_windows(X, y, size=10)
    assert yw.tolist() == [3, 3] and yw.dtype == np.int8


def test_of_two_recordings_the_one_that_does_not_match_is_named():
    X, P = noise(1, (1000, 1000)), noise(1, (1000, 900))
    with pytest.raises(ValueError, match="900 samples in recording 1"):
        make_windows(X, P, size=100)


def test_short_recordings_are_counted():
    X, y = noise(1, LENGTHS), runs(LENGTHS, [1, 2])
    with pytest.warns(UserWarning, match="2 of 3 recordings are too short"):
        Xw, yw, groups = make_windows(X, y, ["a", "b", "c"], size=140, purity=0)
    assert Xw.shape == (1, 1, 140) and groups.tolist() == ["a"]
    with pytest.raises(ValueError, match="all 3 recordings are too short"):
        make_windows(X, y, size=201)


def test_nan_is_refused_or_dropped_in_any_signal():
    X, P, y = noise(2, LENGTHS), noise(1, LENGTHS, seed=1), runs(LENGTHS, [1, 2])
    X[0][1, 39] = np.nan
    P[2][0, 80:82] = np.inf
    with pytest.raises(ValueError, match=r"arrays\[0\] contains 1 NaN .* recording 0"):
        make_windows(X, P, size=10)
    with pytest.raises(ValueError, match=r"arrays\[1\] .* 2 infinity .* recording 2"):
        make_windows(noise(1, LENGTHS), P, size=10)
    with pytest.warns(UserWarning, match="4 of 81 windows hold NaN"):
        Xw, Pw, yw, where = make_windows(
            X, P, y, size=10, stride=5, purity=0, nan="drop", return_provenance=True
        )
    expected = [
        (i, s)
        for i, s in brute_force(LENGTHS, 10, 5)
        if not (i == 0 and s <= 39 < s + 10) and not (i == 2 and s + 10 > 80 and s < 82)
    ]
    assert list(zip(where["recording"].tolist(), where["start"].tolist())) == expected
    assert np.isfinite(Xw).all() and np.isfinite(Pw).all() and len(yw) == len(expected)


def test_nan_is_dropped_at_the_poses_own_rate():
    X, P = [np.zeros((1, 1000))], [np.zeros((1, 100))]
    P[0][0, 55] = np.nan
    with pytest.warns(UserWarning, match="1 of 10 windows"):
        *_, where = make_windows(X, P, size=100, nan="drop", return_provenance=True)
    assert where["start"].tolist() == [0, 100, 200, 300, 400, 600, 700, 800, 900]


def test_clean_data_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_windows(noise(2, LENGTHS), runs(LENGTHS, [1]), size=10, nan="drop")


def test_purity_is_nan_without_labels():
    _, where = make_windows(noise(1, LENGTHS), size=90, return_provenance=True)
    assert where["stop"].tolist() == [90, 180, 90, 90]
    assert np.isnan(where["purity"]).all()


def test_precision_is_kept_and_inputs_are_left_alone():
    X = noise(2, LENGTHS, dtype=np.float64)
    before = [x.copy() for x in X]
    counts = [np.arange(2 * n, dtype=np.int16).reshape(2, n) for n in LENGTHS]
    Xw, Cw = make_windows(X, counts, size=30)
    Xw[:] = 0
    assert Xw.dtype == Cw.dtype == np.float64
    for x, copy in zip(X, before):
        assert_array_equal(x, copy)


@pytest.mark.parametrize(
    "arrays, options, message",
    [
        ((), {}, "at least one array"),
        (([1, 2],), {}, r"arrays\[1\] has 2 entries, but there are 3 recordings"),
        (("abc",), {}, "one entry per recording, got 'abc'"),
        ((7,), {}, "one entry per recording, got 7"),
        (([0, [1], 2],), {}, r"have \[0, 1\] dimensions"),
        ((np.zeros((3, 2, 2, 2)),), {}, r"have \[3\] dimensions"),
        ((np.full((3, 90), 0.5),), {}, r"no labels.* shape \(1, n_times\)"),
        (([[1] * 90, ["a"] * 90, [1] * 90],), {}, "mixes labels"),
        ((list("abc"),), dict(rates=[60]), "1 entries for 2 arrays"),
        ((list("abc"),), dict(rates=[0, None]), "positive numbers"),
        ((np.zeros((3, 1, 90)),), dict(rates=[None, 60]), r"the rate of arrays\[0\]"),
        ((np.zeros((3, 1, 1)),), {}, "holds no sample of arrays.1."),
        ((list("abc"),), dict(size=0), "'size' parameter"),
        ((list("abc"),), dict(purity=1.5), "'purity' parameter"),
        ((list("abc"),), dict(impure="keep"), "'impure' parameter"),
        ((list("abc"),), dict(nan="ignore"), "'nan' parameter"),
    ],
)
def test_refusals(arrays, options, message):
    first = (np.zeros((3, 2, 90)),) if arrays else ()
    with pytest.raises(ValueError, match=message):
        make_windows(*first, *arrays, **{"size": 10, **options})


def test_nothing_left_is_an_error():
    X = [np.zeros((1, 40))]
    with pytest.raises(
        ValueError, match="None of the 4 windows .*purity=0.9.*holds 0.5"
    ):
        make_windows(X, [np.arange(40) // 5], size=10, purity=0.9)
    X[0][0, ::10] = np.nan
    with pytest.raises(ValueError, match="All 4 windows hold NaN"):
        make_windows(X, size=10, nan="drop")

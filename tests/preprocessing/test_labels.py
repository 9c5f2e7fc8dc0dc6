"""Labels and facts that make_windows is given: their types, shapes and moments."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from sk_cpep.preprocessing import _labels, make_windows
from sk_cpep.preprocessing._labels import majority
from sk_cpep.preprocessing._tracks import Track, exact_ratio

EMG = [np.zeros((2, 200)), np.zeros((2, 150))]
FLAT = [np.repeat([0, 3], 100), np.repeat(5, 150)]
EXPECTED = [0, 0, 3, 3, 5, 5, 5]
MARK = dict(stride=25, purity=0.9, impure="mark")


def cut(labels, **options):
    return make_windows(EMG, labels, **{"size": 50, **options})[1]


# Facts


@pytest.mark.parametrize(
    "people",
    [
        ["1", 1],
        [1.5, "1.5"],
        [True, "True"],
        np.array(["1", 1], dtype=object),
        [b"1", 1],
    ],
)
def test_facts_of_several_kinds_are_refused(people):
    with pytest.raises(
        ValueError, match=r"arrays\[1\] mixes facts .* text .* numbers|num"
    ):
        cut(people)


@pytest.mark.parametrize(
    "people, dtype",
    [
        ([1, 2], "i8"),
        ([1.5, 2], "f8"),
        ([31.5, np.nan], "f8"),
        ([True, False], "?"),
        (["anna", "ben"], "U4"),
        ([b"anna", b"ben"], "S4"),
        ([b"anna", "anna"], "U4"),
        (["anna", None], "O"),
        (["anna", np.nan], "O"),
        (["a\0", "a"], "O"),
        ([2**53 + 1, 0.5], "O"),
        ([np.uint64(1), np.int64(-1)], "i8"),
        (np.array([7, 8], dtype=np.uint64), "u8"),
        (pd.Series([1, 2], dtype="Int64"), "i8"),
        (np.array([["anna"], ["ben"]]), "U4"),
    ],
)
def test_facts_keep_their_values_and_type(people, dtype):
    found = cut(people)
    assert found.dtype == dtype
    expected = np.repeat([0, 1], [4, 3])
    for value, i in zip(found.tolist(), expected):
        one = np.ravel(people)[i] if isinstance(people, np.ndarray) else list(people)[i]
        one = one.decode() if dtype[0] == "U" and isinstance(one, bytes) else one
        assert value == one or (value != value and one != one)


# Types of labels


@pytest.mark.parametrize("dtype", ["u1", "i1", "u8", "i8", "f4", "f8", "U3", "S3"])
def test_labels_keep_their_type(dtype):
    labels = [x.astype(dtype) for x in FLAT]
    found = cut(labels)
    assert found.dtype == dtype
    assert found.tolist() == np.array(EXPECTED).astype(dtype).tolist()
    marked = cut(labels, **MARK)
    mark = {"U": "impure", "S": b"impure"}.get(dtype[0], -1)
    kind = {"u": "i"}.get(dtype[0], dtype[0])
    assert marked.dtype.kind == kind
    assert marked.tolist()[3] == mark and marked.tolist().count(mark) == 1


def test_bools_become_numbers_beside_a_mark():
    labels = [x > 0 for x in FLAT]
    assert cut(labels).tolist() == [bool(x) for x in EXPECTED]
    assert cut(labels, **MARK).tolist() == [0, 0, 0, -1, *[1] * 8]


@pytest.mark.parametrize(
    "labels, mark, expected",
    [
        (np.array([1, 2], "u8"), None, [1, -1, 2]),
        (np.array([1, 2**64 - 1], "u8"), 9, [1, 9, 2**64 - 1]),
        (np.array([1, 2], "i1"), 300, [1, 300, 2]),
        (np.array([True, False]), None, [1, -1, 0]),
        (np.array(["a", "b"]), "in between", ["a", "in between", "b"]),
        (np.array(["a", "b"]), b"none", ["a", "none", "b"]),
        (np.array([b"a", b"\xc3\xb6"]), "ö", [b"a", "ö".encode(), "ö".encode()]),
        (np.array(["a", "a\0"], dtype=object), "m", ["a", "m", "a\0"]),
        (np.array([2**70, 1], dtype=object), None, [2**70, -1, 1]),
    ],
)
def test_marks_fit_whatever_the_labels_are(labels, mark, expected):
    X, y = [np.zeros((1, 12))], [np.repeat(labels, [6, 6])]
    options = dict(size=4, purity=0.9, impure="mark", impure_label=mark)
    assert make_windows(X, y, **options)[1].tolist() == expected


def test_a_mark_that_no_type_holds_beside_the_labels():
    X, y = [np.zeros((1, 4))], [np.array([1, 1, 2**64 - 1, 2**64 - 1], dtype="u8")]
    with pytest.raises(
        ValueError, match="-1 to 18446744073709551615.* impure_label from 0"
    ):
        make_windows(X, y, size=2, purity=0.9, impure="mark")


@pytest.mark.parametrize(
    "labels, expected",
    [
        ([np.ones(200, "u8"), np.full(150, -1)], np.array([1, -1])),
        ([np.full(200, 2**53 + 1), np.ones(150)], np.array([2**53 + 1, 1])),
        ([np.ones(200, int), np.full(150, 2.0)], np.array([1.0, 2.0])),
        ([np.ones(200, bool), np.full(150, 3)], np.array([1, 3])),
        ([np.full(200, "ö".encode()), np.full(150, "öl")], np.array(["ö", "öl"])),
        ([np.full(200, "a"), np.full(150, "longer")], np.array(["a", "longer"])),
    ],
)
def test_labels_of_recordings_are_joined_as_they_are(labels, expected):
    found = cut(labels)
    assert found.dtype == expected.dtype
    assert found.tolist() == np.repeat(expected, [4, 3]).tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.tolist(),
        lambda x: x.astype(object),
        pd.Series,
        pd.Categorical,
        lambda x: pd.Series(x, dtype="Int64"),
        lambda x: np.ma.array(x),
    ],
)
def test_labels_in_whatever_holds_them(make):
    assert cut([make(x) for x in FLAT]).tolist() == EXPECTED
    texts = [f"g{x}" for x in EXPECTED]
    if make is not pd.Categorical:
        make = pd.Series if isinstance(make(FLAT[0]), pd.Series) else make
    words = [np.char.add("g", x.astype(str)) for x in FLAT]
    assert cut([make(x) for x in words]).tolist() == texts


@pytest.mark.parametrize(
    "first, message",
    [
        (["1", 1] * 100, r"recording 0 mixes labels .* text \('1' at 0\) with numbers"),
        (np.array([1, "1"] * 100, dtype=object), "recording 0 mixes labels"),
        ([1.0, np.nan] * 100, "recording 0 has 100 missing value.* first at 1"),
        (np.r_[np.nan, np.ones(199)], "recording 0 has 1 missing value.* first at 0"),
        (np.array(["a", None] * 100, dtype=object), "100 missing"),
        (pd.Series([1, None] * 100, dtype="Int64"), "100 missing"),
        (np.ma.array(np.ones(200, int), mask=np.arange(200) < 3), "3 missing"),
        (np.full(200, np.inf), "are no labels"),
        (np.full(200, 0.5), "are no labels"),
        (np.array([2**53 + 1, 0.5] * 100, dtype=object), "are no labels"),
        (np.full(200, "2024", dtype="M8[D]"), "are no labels"),
        (np.full(200, "1"), "mixes labels that are strings with numbers"),
    ],
)
def test_labels_that_are_none(first, message):
    with pytest.raises(ValueError, match=message):
        cut([first, FLAT[1]])


@pytest.mark.parametrize("empty", [[], np.zeros((0, 1), int), np.zeros(0, "U1")])
def test_an_empty_recording_has_no_labels(empty):
    emg = [np.zeros((2, 200)), np.zeros((2, 2))]
    with pytest.warns(UserWarning, match="1 of 2 recordings are too short"):
        y = make_windows(emg, [FLAT[0].astype(str), empty], size=50)[1]
    assert y.tolist() == ["0", "0", "3", "3"]


# Shapes of labels


@pytest.mark.parametrize("dtype", [int, np.int8, float, bool, str, "S1", object])
def test_columns_are_labels(dtype):
    found = cut([x[:, np.newaxis].astype(dtype) for x in FLAT])
    assert found.tolist() == cut([x.astype(dtype) for x in FLAT]).tolist()
    assert found.shape == (7,)


def test_columns_at_a_rate_of_their_own():
    labels = [x[::2, np.newaxis] for x in FLAT]
    assert cut(labels, rates=[100, 50]).tolist() == EXPECTED


@pytest.mark.parametrize("dtype", [str, "S1"])
def test_rows_of_text_are_labels(dtype):
    found = cut([x[np.newaxis].astype(dtype) for x in FLAT])
    assert found.tolist() == cut([x.astype(dtype) for x in FLAT]).tolist()


@pytest.mark.parametrize("dtype", [int, bool, object])
def test_rows_of_integers_may_be_labels_or_a_signal(dtype):
    with pytest.raises(ValueError, match="may be labels, or a signal .*ravel.*float"):
        cut([x[np.newaxis].astype(dtype) for x in FLAT])


def test_signals_stay_signals():
    for n_joints, dtype in ((1, float), (2, int), (22, np.int16)):
        signal = [
            np.repeat(x[np.newaxis], n_joints, axis=0).astype(dtype) for x in FLAT
        ]
        assert cut(signal).shape == (7, n_joints, 50)
    assert cut([x[np.newaxis, ::2] for x in FLAT]).shape == (7, 1, 25)


def test_rows_beside_flat_labels_are_labels():
    assert cut([FLAT[0], FLAT[1][np.newaxis]]).tolist() == EXPECTED


# What is no list of recordings


@pytest.mark.parametrize("wrong", [{"a": 1, "b": 2}, {1, 2}, (x for x in "ab"), None])
def test_what_has_no_entry_per_recording(wrong):
    with pytest.raises(ValueError, match=r"arrays\[1\] has to be a list.*got 'a "):
        cut(wrong)
    with pytest.raises(ValueError, match=r"arrays\[0\] has to be a list"):
        make_windows(wrong, size=5)


def test_no_recordings():
    with pytest.raises(ValueError, match=r"arrays\[0\] is empty"):
        make_windows([], size=5)


# The vote


@pytest.mark.parametrize("n_labels", [1, 2, 7, 400])
@pytest.mark.parametrize("make", [lambda x: x, lambda x: x - 10**9, "t{}".format])
@pytest.mark.parametrize("size, stride", [(1, 1), (13, 4), (40, 60), (400, 1)])
def test_majority_of_many_labels(monkeypatch, n_labels, make, size, stride):
    monkeypatch.setattr(_labels, "_PAIRS", 50)
    rng = np.random.default_rng(n_labels)
    codes = np.repeat(rng.integers(n_labels, size=300), rng.integers(1, 4, 300))[:400]
    labels = np.array([make(code) for code in codes.tolist()])
    starts = np.arange(0, len(labels) - size + 1, stride)
    winners, shares = majority(labels, starts, size)
    for start, winner, share in zip(starts, winners, shares, strict=True):
        counts = Counter(labels[start : start + size].tolist())
        best = min(counts, key=lambda x: (-counts[x], x))
        assert (winner, share) == (best, counts[best] / size)


def test_extreme_labels():
    labels = np.array([-128, 127, 127, -128, 0], dtype=np.int8)
    assert majority(labels, np.array([0, 2]), 3)[0].tolist() == [127, -128]
    labels = np.array([2**64 - 1, 0, 2**64 - 1, 2**64 - 2], dtype=np.uint64)
    assert majority(labels, np.array([0, 1]), 3)[0].tolist() == [2**64 - 1, 0]


def test_work_does_not_grow_with_the_number_of_labels(monkeypatch):
    sorted_ = []
    sort = _labels._sum_of_equals
    monkeypatch.setattr(
        _labels, "_sum_of_equals", lambda k, *a: sorted_.append(len(k)) or sort(k, *a)
    )
    work = []
    for n_labels in (10, 5000):
        sorted_.clear()
        labels = np.arange(20_000) // 4 % n_labels
        majority(labels, np.arange(0, 19_000, 500), 1000)
        work.append(sum(sorted_))
    assert work[0] == work[1]


# Moments


@pytest.mark.parametrize("rate", [60, 1000, 2000, 4000, 59.94])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_no_window_starts_early_unless_rounding_made_it_late(rate, missing):
    n, size, stride = 4000, 400, 100
    ratio = Fraction(str(rate)) / 2000
    n_pose = round(n * ratio) - missing
    options = dict(rates=[2000, rate], return_provenance=True)
    pose = [np.arange(float(n_pose))[np.newaxis]]
    _, P, where = make_windows(
        [np.zeros((1, n))], pose, size=size, stride=stride, **options
    )
    expected = {}
    for start in range(0, n - size + 1, stride):
        exact, last = start * ratio, n_pose - round(size * ratio)
        if round(exact) <= last:
            expected[start] = round(exact)
        elif exact < round(exact) == last + 1:
            expected[start] = last
    assert dict(zip(where["start"].tolist(), P[:, 0, 0].tolist())) == expected


def test_moments_of_inferred_rates_are_exact():
    lengths, poses = (4001, 3999, 4000), (121, 119, 120)
    X = [np.zeros((1, n)) for n in lengths]
    pose = [np.arange(float(n))[np.newaxis] for n in poses]
    _, P, where = make_windows(X, pose, size=500, stride=50, return_provenance=True)
    ratio = Fraction(sum(poses), sum(lengths))
    n_pose = round(500 * ratio)
    for window, (recording, start, *_) in zip(P, where.tolist()):
        exact, last = start * ratio, poses[recording] - n_pose
        assert window[0, 0] == (round(exact) if round(exact) <= last else int(exact))
        assert window[0, 0] >= int(exact)


def test_late_moments_are_exact():
    n = np.array([10**9 + k for k in range(0, 2000, 7)])
    for rate, first in (
        (60, 2000),
        (59.94, 2000.0),
        (148.148148, 2000),
        (100 / 3, 2000),
    ):
        ratio = exact_ratio(rate, first)
        assert abs(float(ratio) - rate / first) < 1e-15
        found = Track("pose", "signal", None, rate=ratio).scale(n)
        assert found.tolist() == [round(int(k) * ratio) for k in n]
    assert exact_ratio(59.94, 1998.0) == Fraction(3, 100)
    assert exact_ratio(1000 / 3, 1000) == Fraction(1, 3)

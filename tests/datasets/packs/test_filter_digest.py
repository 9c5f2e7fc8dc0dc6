"""A filter is known by what it does: its code, and all that this refers to."""

import functools
import json
import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from joblib import Memory
from scipy.signal import detrend
from scipy.special import erf
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_cpep import BandpassNotch
from sk_cpep.datasets import pack_emg2pose, write_emg2pose_corpus
from sk_cpep.datasets.packs._filter_digest import describe, describe_filter

try:
    import cloudpickle
except ImportError:  # older versions of joblib bring it along
    from joblib.externals import cloudpickle


def source(text):
    """The namespace that a piece of code makes."""
    names = {"np": np, "BaseEstimator": BaseEstimator, "__name__": "written_here"}
    exec(textwrap.dedent(text), names)
    return names


def identity(filter):
    """As it is compared: what went through JSON."""
    return json.loads(json.dumps(describe_filter(filter)))


def of(function, **parameters):
    return identity(FunctionTransformer(function, **parameters))


def scaled(gain):
    return lambda recordings: [gain * x for x in recordings]


def by_default(recordings, gain=2.0):
    return [gain * x for x in recordings]


def by_keyword(recordings, *, gain=2.0):
    return [gain * x for x in recordings]


class Gain(TransformerMixin, BaseEstimator):
    """An estimator of one's own."""

    def __init__(self, gain=1.0):
        self.gain = gain

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return [self.gain * x for x in X]


class Callable:
    def __init__(self, gain):
        self.gain = gain

    def __call__(self, recordings):
        return [self.gain * x for x in recordings]

    def method(self, recordings):
        return self(recordings)


def frozen(scale):
    fitted = StandardScaler().fit(scale * np.arange(6.0).reshape(3, 2))
    return Pipeline([("frozen", FrozenEstimator(fitted))])


def written(code):
    return lambda gain: source(code.replace("GAIN", str(gain)))["f"]


# Each makes a filter of a number, on which what it does depends.
MADE = {
    "a closure": scaled,
    "a constant": written("f = lambda x: [GAIN * r for r in x]"),
    "a constant inside": written("def f(x):\n  g = lambda r: GAIN * r\n  return g(x)"),
    "a default": written("def f(x, gain=GAIN): return [gain * r for r in x]"),
    "a keyword's default": written(
        "def f(x, *, gain=GAIN): return [gain * r for r in x]"
    ),
    "a global": written("k = GAIN\ndef f(x): return [k * r for r in x]"),
    "a global array": written("k = np.full(3, GAIN)\ndef f(x): return k @ x"),
    "a global that a helper reads": written(
        "k = GAIN\ndef g(r): return k * r\ndef f(x): return [g(r) for r in x]"
    ),
    "a helper in a cycle": written(
        "def g(x): return f(x[1:]) if x else GAIN\ndef f(x): return g(x)"
    ),
    "a set": written("def f(x): return [r for r in x if len(r) in {7, 'a', GAIN}]"),
    "an attribute of a class": written(
        "class K:\n  k = GAIN\n  def h(self, x): return self.k * x\ndef f(x): return K().h(x)"
    ),
    "a base class": written(
        "class A:\n  def h(self, x): return GAIN * x\nclass K(A):\n  def h(self, x): return "
        "super().h(x)\ndef f(x): return K().h(x)"
    ),
    "a partial": lambda k: functools.partial(by_default, gain=k),
    "a partial of numpy's": lambda k: functools.partial(np.multiply, k),
    "an object": Callable,
    "a method": lambda k: Callable(k).method,
    "a vectorised function": lambda k: np.vectorize(scaled(k)),
    "a wrapped function": lambda k: functools.wraps(by_default)(scaled(k)),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_functions_are_known_by_all_they_refer_to(make):
    assert of(make(2)) == of(make(2))
    assert of(make(2)) != of(make(3))
    assert of(make(2)) == identity(
        cloudpickle.loads(cloudpickle.dumps(FunctionTransformer(make(2))))
    )


def test_cached_functions():
    one, same, other = (functools.lru_cache(scaled(k)) for k in (2, 2, 3))
    assert of(one) == of(same) != of(other)


FILTERS = {
    "parameters": lambda k: FunctionTransformer(by_default, kw_args={"gain": k}),
    "an array of parameters": lambda k: Gain(np.array([[k, 1], [2, 3]])),
    "an array among keywords": lambda k: FunctionTransformer(
        by_default, kw_args={"gain": np.full((2, 2000), k)}
    ),
    "an estimator of one's own": Gain,
    "a step of a pipeline": lambda k: Pipeline(
        [("band", BandpassNotch(2, 250, 60)), ("gain", FunctionTransformer(scaled(k)))]
    ),
    "a step of one's own": lambda k: Pipeline([("gain", Gain(k))]),
    "a nested step": lambda k: Pipeline(
        [("a", Pipeline([("b", FunctionTransformer(scaled(k)))]))]
    ),
    "a fitted step": frozen,
}


@pytest.mark.parametrize("make", FILTERS.values(), ids=FILTERS)
def test_filters_are_known_by_their_parameters(make):
    assert identity(make(2)) == identity(make(2))
    assert identity(make(2)) != identity(make(3))


def test_the_name_does_not_count():
    one = source("def f(x): return [2 * r for r in x]")["f"]
    two = source("def g(x): return [2 * r for r in x]")["g"]
    assert of(one) == of(two)
    other = source("def f(x): return [3 * r for r in x]")["f"]
    other.__module__, other.__qualname__ = "numpy", "abs"
    assert of(one) != of(other) != of(np.abs)


def test_a_class_of_the_same_name_is_another():
    code = "class Gain(BaseEstimator):\n  def transform(self, X): return {} * X\n"
    one, same, other = (source(code.format(k))["Gain"]() for k in (2, 2, 3))
    assert identity(one) == identity(same) != identity(other)
    ours = source("class BandpassNotch(BaseEstimator): pass")["BandpassNotch"]
    assert identity(ours())["class"] != "BandpassNotch"


def test_what_comes_with_the_packages_is_known_by_name():
    found = [of(f)["parameters"]["func"] for f in (np.abs, np.mean, detrend, len)]
    assert found == [
        "ufunc absolute",
        "numpy.mean",
        "scipy.signal.detrend",
        "builtins.len",
    ]
    assert of(erf) != of(np.abs)


def test_packs_of_before_are_of_the_same_filter():
    plain = dict(low=2, high=250, notch=60, sfreq=2000, order=4)
    plain |= dict(notch_quality=30, phase="zero")
    band = BandpassNotch(2.0, np.float32(250), [60])
    assert identity(band) == {"class": "BandpassNotch", "parameters": plain}
    steps = [("a", BandpassNotch(2, 250, 60)), ("b", StandardScaler())]
    parameters = identity(Pipeline(steps))["parameters"]
    text = "BandpassNotch(high=250, low=2, notch=60)"
    assert parameters["a"] == text and parameters["a__low"] == 2
    assert parameters["steps"] == [["a", text], ["b", "StandardScaler()"]]
    cached = identity(Pipeline(steps, memory=Memory(None)))["parameters"]
    assert cached == parameters


@pytest.mark.parametrize(
    "value, expected",
    [
        (60.0, 60),
        ([60.0], 60),
        (np.array([1.5, 2]), [1.5, 2]),
        (np.array(3.0), 3),
        (np.float32(0.5), 0.5),
        (np.True_, True),
        (float("nan"), "nan"),
        (np.float64("inf"), "inf"),
        ({"b": (1, 2), "a": None}, {"a": None, "b": [1, 2]}),
        ("text", "text"),
    ],
)
def test_plain_values(value, expected):
    found = json.loads(json.dumps(describe(value)))
    assert found == expected and type(found) is type(expected)


def test_what_cannot_be_known_is_unlike_any_other():
    compiled = np.frompyfunc(lambda x: 2 * x, 1, 1)
    assert of(compiled) != of(compiled)
    assert "holds a ufunc, unlike any other" in of(compiled)["parameters"]["func"]
    lock = source(
        "import threading\nlock = threading.Lock()\ndef f(x):\n  lock\n  return x"
    )
    assert of(lock["f"]) != of(lock["f"])


def test_code_names_its_python():
    python = "Python {}.{}".format(*sys.version_info)
    found = of(scaled(2))["parameters"]["func"]
    assert re.fullmatch(rf"function of checksum \w{{16}}, {python}", found)


def test_the_same_in_another_process(tmp_path):
    script = tmp_path / "filters.py"
    script.write_text(
        "import json, re, sys\nimport numpy as np\n"
        "from sklearn.preprocessing import FunctionTransformer\n"
        "from sk_cpep.datasets.packs._filter_digest import describe_filter\n"
        "table = {'x', 'y', 'zz', 1.5}\n"
        "class K:\n  def __init__(self): self.names = {'a', 'b', 'c'}\n"
        "  def __call__(self, x): return [r for r in x if r in table]\n"
        "k = K()\n"
        "def f(x, r=re.compile('a+')): return k(x), {'u', 'v'}, np.abs\n"
        "print(json.dumps(describe_filter(FunctionTransformer(f))))\n"
    )
    said = {
        subprocess.run(
            [sys.executable, str(script)],
            env=os.environ
            | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


# Packs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    sizes = dict(n_val_users=1, n_test_users=1, n_sessions=1, seconds=2.0)
    write_emg2pose_corpus(root, 3, **sizes, random_state=0)
    return root


def test_a_pack_is_of_one_filter(corpus, tmp_path):
    once = pack_emg2pose(corpus, tmp_path, filter=FunctionTransformer(scaled(1.0)))
    again = pack_emg2pose(corpus, tmp_path, filter=FunctionTransformer(scaled(1.0)))
    assert again.n_resumed == once.n_packed
    with pytest.raises(FileExistsError, match="made otherwise: filter=.*checksum"):
        pack_emg2pose(corpus, tmp_path, filter=FunctionTransformer(scaled(8.0)))


def test_a_pack_is_not_gone_on_with_by_another_filter(corpus, tmp_path):
    left = iter(range(3))

    def broken(recordings):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return recordings

    with pytest.raises(KeyboardInterrupt):
        pack_emg2pose(corpus, tmp_path, filter=FunctionTransformer(broken))
    broken.__qualname__ = "<lambda>"
    with pytest.raises(FileExistsError, match="made otherwise"):
        pack_emg2pose(corpus, tmp_path, filter=FunctionTransformer(lambda x: x))

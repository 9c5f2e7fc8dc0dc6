"""Declared parameters: ordinary constructors, constraints and docstrings."""

import inspect
import pickle
import re
from copy import deepcopy
from dataclasses import field, is_dataclass
from numbers import Real
from typing import Annotated, ClassVar

import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import Interval
from small_estimators import NAMES, small

import sk_cpep
from sk_cpep import CPEP, MAE, EMG2Pose, PoseT, VEMG2Pose
from sk_cpep.encoders._parameters import DeclaredParameters, Size

EVERY = pytest.mark.parametrize(
    "estimator", [getattr(sk_cpep, name) for name in NAMES], ids=NAMES
)


def section(doc, title):
    return re.split(rf"^{title}\n-+\n", doc, flags=re.M)[1].split("\n\n\n")[0]


def heads(doc, title):
    """Lines "names : type" of a section of a numpydoc docstring, by name."""
    text = re.split(r"^\S.*\n-{3,}\n", section(doc, title), flags=re.M)[0]
    found = re.findall(r"^(\w[\w, ]*) : (.+)$", text, re.M)
    return [(name, kind) for names, kind in found for name in names.split(", ")]


@EVERY
def test_every_parameter_is_documented_once(estimator):
    parameters = inspect.signature(estimator).parameters
    documented = heads(estimator.__doc__, "Parameters")
    assert [name for name, _ in documented] == list(parameters)
    for name, kind in documented:
        text, shown = kind.split(", default=")
        assert text
        assert eval(shown) == parameters[name].default
    assert set(parameters) == set(estimator._parameter_constraints)
    titles = re.findall(r"^(\S.*)\n-{3,}$", estimator.__doc__, re.M)
    order = ["Parameters", "Attributes", "See Also", "Notes", "References", "Examples"]
    assert titles == [title for title in order if title != "Notes" or title in titles]


@pytest.mark.parametrize("name", NAMES)
def test_every_learned_attribute_is_documented(name, windows):
    X, P, labels, _ = windows
    fitted = small(name).fit(X, labels if name == "EncoderClassifier" else P)
    learned = {key for key in vars(fitted) if key[-1] == "_" and key[0] != "_"}
    documented = {name for name, _ in heads(type(fitted).__doc__, "Attributes")}
    assert learned - documented <= {"config_"}
    assert documented - learned <= {"feature_names_in_"}


@EVERY
@pytest.mark.parametrize("method", ["fit", "transform", "score"])
def test_methods_read_completely(estimator, method):
    function = getattr(estimator, method)
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    documented = [name for name, _ in heads(inspect.getdoc(function), "Parameters")]
    assert documented == names
    assert "\nReturns\n-------\n" in inspect.getdoc(function)
    if method == "fit":
        assert {"ValueError\n", "OSError\n"} <= set(
            re.findall(
                r"^\w+Error\n", section(inspect.getdoc(function), "Raises"), re.M
            )
        )


@EVERY
def test_an_ordinary_constructor(estimator):
    signature = inspect.signature(estimator.__init__)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert kinds <= {
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    }
    for parameters in ({"learning_rate": 1}, {"module_": None}):
        with pytest.raises(TypeError, match=rf"{estimator.__name__}.__init__\(\) got"):
            estimator(**parameters)
    with pytest.raises(TypeError, match="positional argument"):
        estimator(*range(9))
    values = {name: object() for name in signature.parameters if name != "self"}
    assert vars(estimator(**values)) == values
    assert not is_dataclass(estimator)
    assert not any(name.endswith("_") and name[0] != "_" for name in vars(estimator))


def test_positional_parameters():
    assert vars(MAE(20, 0.7)) == vars(MAE(patch_length=20, mask_ratio=0.7))
    emg, pose = MAE(), MAE(5)
    assert vars(CPEP(emg, pose)) == vars(CPEP(emg_encoder=emg, pose_encoder=pose))
    assert PoseT(3).patch_length == 3
    assert EMG2Pose("tracking").mode == VEMG2Pose("tracking").mode == "tracking"


def test_only_changes_are_shown():
    assert repr(MAE(20, lr=1e-3)) == "MAE(lr=0.001, patch_length=20)"
    assert repr(EMG2Pose(lr=1e-3)) == "EMG2Pose()"


class Narrow(MAE):
    """A subclass as scikit-learn wants it."""

    def __init__(self, width=8, *, max_epochs=1):
        super().__init__(
            5, d_model=width, n_layers=1, n_decoder_layers=1, n_heads=2, device="cpu"
        )
        self.width = width
        self.max_epochs = max_epochs


class Narrower(Narrow):
    pass


class Declaring(MAE):
    """A subclass that declares.

    Parameters
    ----------
    width : int
        Read by nothing.
    """

    shared: ClassVar[list] = []
    width: Size = 3
    lr: float = 1e-2
    tol: Annotated[float, Interval(Real, 0, 1, closed="both")] = 0.5
    learned_: int = field(init=False)


class Silent(MAE):
    pass


@pytest.mark.parametrize("kind", [Narrow, Narrower])
def test_subclasses_with_their_own_constructor(kind, windows):
    assert set(kind().get_params()) == {"width", "max_epochs"}
    fitted = clone(kind(4, max_epochs=2)).fit(windows[0])
    assert fitted.n_iter_ == 2
    assert fitted.transform(windows[0]).shape == (20, 4)
    for copied in (pickle.loads(pickle.dumps(fitted)), deepcopy(fitted)):
        assert (copied.transform(windows[0]) == fitted.transform(windows[0])).all()
    assert Narrow.__doc__ == "A subclass as scikit-learn wants it."


def test_subclasses_that_declare(windows):
    assert set(Declaring().get_params()) == {"width", *MAE().get_params()}
    assert clone(Declaring(width=4)).set_params(n_heads=2).width == 4
    assert (MAE().lr, Declaring().lr, Declaring(lr=2).lr) == (1e-4, 1e-2, 2)
    entries = dict(heads(Declaring.__doc__, "Parameters"))
    assert entries["width"] == "int, default=3"
    assert entries["lr"] == "float, default=0.01"
    assert list(entries)[:4] == [
        "patch_length",
        "mask_ratio",
        "width",
        "n_decoder_layers",
    ]
    assert not hasattr(Declaring(), "learned_")
    for wrong in ({"width": 0}, {"lr": 0}, {"tol": 1.5}, {"patch_length": "a"}):
        with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter"):
            Declaring(**wrong).fit(windows[0])
    assert inspect.signature(Silent) == inspect.signature(MAE)
    assert inspect.getdoc(Silent) == inspect.getdoc(MAE)


def test_unions():
    class Thing(DeclaredParameters):
        many: Size | Annotated[str, str] | None = None
        free: str | None = None
        bare: int = 3

    assert [str(c) for c in Thing._parameter_constraints["many"]] == [
        "an int in the range [1, inf)",
        "<class 'str'>",
        "None",
    ]
    assert set(Thing._parameter_constraints) == {"many"}
    annotations = inspect.signature(Thing).parameters
    assert annotations["many"].annotation == int | str | None
    assert annotations["free"].annotation == str | None
    assert Thing.__doc__ is None  # as all are with python -OO

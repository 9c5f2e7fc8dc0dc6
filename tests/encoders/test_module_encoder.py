"""A network of one's own as an estimator."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from own_networks import Convolutions, Recurrent, Reversed
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from sk_cpep import InstanceNorm, ModuleEncoder
from sk_cpep.nn import Augmentation

TRAINING = dict(
    max_epochs=3,
    batch_size=8,
    lr=1e-2,
    device="cpu",
    precision="float32",
    random_state=0,
)


def encoder_of(module=Convolutions, **parameters):
    return ModuleEncoder(module, **TRAINING | parameters)


def test_not_pretrained(windows, weights_of):
    encoder = encoder_of(module__width=5).fit(windows[0])
    assert isinstance(encoder.module_, Convolutions)
    assert (encoder.history_, encoder.n_iter_, encoder.d_model_) == ([], 0, 5)
    x = torch.from_numpy(windows[0].copy())
    with torch.no_grad():
        expected = encoder.module_.eval()(x)
    assert_allclose(encoder.transform(windows[0]), expected, atol=1e-6)
    again = encoder_of(module__width=5).fit(windows[0])
    other = encoder_of(module__width=5, random_state=1).fit(windows[0])
    for name, weight in weights_of(encoder.module_).items():
        assert_array_equal(weights_of(again.module_)[name], weight)
    name = "layers.0.weight"
    assert (weights_of(other.module_)[name] != weights_of(encoder.module_)[name]).all()


def test_pretrained_by_an_objective(windows, weights_of):
    X = windows[0]
    parameters = dict(objective=Reversed, objective__hidden=4)
    encoder = encoder_of(**parameters, max_epochs=30).fit(X)
    losses = [epoch["train_loss"] for epoch in encoder.history_]
    assert losses[-1] < 0.8 * losses[0]
    again = encoder_of(**parameters, max_epochs=30).fit(X)
    assert_array_equal(again.transform(X), encoder.transform(X))
    assert set(weights_of(encoder.module_)) == {
        f"layers.{name}"
        for name in (
            *("0.weight", "0.bias", "1.weight", "1.bias"),
            *("1.running_mean", "1.running_var", "1.num_batches_tracked"),
        )
    }


def test_windows_are_augmented_for_the_objective(windows):
    plain, noisy = (
        encoder_of(objective=Reversed).fit(windows[0], augment=augment)
        for augment in (None, Augmentation(noise=3.0))
    )
    assert plain.fit_identity_ != noisy.fit_identity_
    assert plain.history_[-1]["train_loss"] != noisy.history_[-1]["train_loss"]


def test_parameters_are_those_of_skorch(windows):
    encoder = encoder_of(module__width=5, objective=Reversed, objective__hidden=2)
    parameters = encoder.get_params()
    assert (parameters["module__width"], parameters["objective__hidden"]) == (5, 2)
    copy = clone(encoder).set_params(module__width=7, lr=0.5)
    assert (copy.module__width, copy.lr, encoder.module__width) == (7, 0.5, 5)
    assert "module__width=7" in repr(copy)
    assert copy.fit(windows[0]).transform(windows[0]).shape == (20, 7)
    pipe = make_pipeline(InstanceNorm(), encoder)
    pipe.set_params(moduleencoder__module__width=3)
    assert pipe.fit_transform(windows[0]).shape == (20, 3)
    assert encoder.fit_identity_ != copy.fit_identity_


def test_other_parameters_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'width'"):
        ModuleEncoder(Convolutions, width=3)
    with pytest.raises(ValueError, match="Invalid parameter 'width'"):
        ModuleEncoder(Convolutions).set_params(width=3)


def test_parameters_that_the_network_does_not_have(windows):
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        encoder_of(module__widht=3).fit(windows[0])


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling(windows, pooling):
    encoder = encoder_of(Recurrent, pooling=pooling).fit(windows[0])
    with torch.no_grad():
        expected = encoder.module_(torch.from_numpy(windows[0].copy()), pooling)
    assert_allclose(encoder.transform(windows[0]), expected, atol=1e-6)


@pytest.mark.parametrize("module", [Convolutions, Recurrent])
def test_a_window_is_embedded_alike_whatever_is_beside_it(windows, module):
    encoder = encoder_of(module).fit(windows[0])
    whole = encoder.transform(windows[0])
    for rows in (slice(0, 1), slice(3, 5), slice(0, 11)):
        assert_array_equal(encoder.transform(windows[0][rows]), whole[rows])


def test_pickle_holds_weights(windows):
    encoder = encoder_of(Recurrent, module__width=3).fit(windows[0])
    state = encoder.__getstate__()
    assert all(isinstance(value, np.ndarray) for value in state["module_"].values())
    encoder.set_params(module__width=9)
    again = pickle.loads(pickle.dumps(encoder))
    assert_array_equal(again.transform(windows[0]), encoder.transform(windows[0]))


def test_a_class_that_cannot_be_imported_is_refused(windows):
    class Local(Convolutions):
        pass

    for encoder, name in (
        (encoder_of(Local), "module"),
        (encoder_of(objective=lambda network: Reversed(network)), "objective"),
        (encoder_of(module__width=lambda: 3), "A parameter module__*"),
    ):
        with pytest.raises(TypeError, match=f"^{name.replace('*', '.')} .*imported"):
            encoder.fit(windows[0])
        assert not hasattr(encoder, "module_")


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        (dict(module=None), ValueError, "'module' parameter of ModuleEncoder"),
        (dict(module=torch.nn.Flatten), TypeError, "n_channels"),
        (dict(objective=np.shape), TypeError, "objective must make .*got tuple"),
    ],
)
def test_what_is_no_network_is_refused(windows, parameters, error, message):
    with pytest.raises(error, match=message):
        encoder_of(**parameters).fit(windows[0])

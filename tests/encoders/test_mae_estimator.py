import numpy as np
import pytest
import torch
from lazy_windows import Lazy
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, EarlyStopping

from sk_cpep import MAE
from sk_cpep.nn import Augmentation


class Raises(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_end(self, net, **kwargs):
        raise self.error


def by_pieces(X, mask, S):
    """Each patch of each window with whether it is hidden, one by one."""
    for i, row in enumerate(mask):
        for k, hidden in enumerate(row):
            yield i, slice(k * S, (k + 1) * S), hidden


def test_transform(windows, small_mae):
    X = windows[0]
    mae = small_mae().fit(X)
    Z = mae.transform(X)
    assert Z.shape == (20, 8)
    assert Z.dtype == np.float32
    assert mae.n_tokens_ == 4
    assert mae.n_iter_ == len(mae.history_) == 2
    assert (mae.n_channels_in_, mae.n_times_in_, mae.n_features_in_) == (4, 22, 4)
    assert mae.get_feature_names_out().tolist() == [f"mae{i}" for i in range(8)]
    with torch.no_grad():
        tokens = mae.module_.encoder.forward_tokens(
            torch.from_numpy(
                np.stack(
                    [X[:, :, 5 * k : 5 * k + 5].reshape(20, 20) for k in range(4)], 1
                )
            )
        ).numpy()
    assert_allclose(Z, tokens[:, 0], atol=1e-5)
    mae.set_params(pooling="mean")
    assert_allclose(mae.transform(X), tokens[:, 1:].mean(axis=1), atol=1e-5)


def test_two_dimensions_are_one_channel(windows, small_mae):
    X = windows[0][:, 0]
    flat, deep = small_mae().fit(X), small_mae().fit(X[:, np.newaxis])
    assert_array_equal(flat.transform(X), deep.transform(X[:, np.newaxis]))
    assert (flat.n_channels_in_, flat.n_times_in_, flat.n_features_in_) == (1, 22, 22)


def test_training_lowers_the_loss(windows, small_mae):
    X = windows[0]
    mae = small_mae(max_epochs=60).fit(X)
    losses = [record["train_loss"] for record in mae.history_]
    assert losses[-1] < 0.5 * losses[0]
    assert mae.score(X) > 0.7 * small_mae(max_epochs=1).fit(X).score(X)


def test_reconstruct_at_random(windows, small_mae):
    X = windows[0]
    mae = small_mae().fit(X)
    rebuilt, mask = mae.reconstruct(X)
    assert rebuilt.shape == X.shape
    assert rebuilt.dtype == np.float32
    assert mask.dtype == bool
    assert_array_equal(mask.sum(axis=1), np.full(20, 2))
    assert len(np.unique(mask, axis=0)) > 3
    for i, times, hidden in by_pieces(X, mask, 5):
        same = np.array_equal(rebuilt[i, :, times], X[i, :, times])
        assert same != hidden
    assert_array_equal(rebuilt[:, :, 20:], X[:, :, 20:])
    again, same_mask = mae.reconstruct(X)
    assert_array_equal(again, rebuilt)
    assert_array_equal(same_mask, mask)


@pytest.mark.parametrize("hidden", [[0], [1, 3], [0, 1, 2], [0, 1, 2, 3], []])
def test_reconstruct_with_a_mask(windows, small_mae, hidden):
    X = windows[0]
    mae = small_mae().fit(X)
    one = np.isin(np.arange(4), hidden)
    rebuilt, mask = mae.reconstruct(X, one)
    assert_array_equal(mask, np.tile(one, (20, 1)))
    for i, times, h in by_pieces(X, mask, 5):
        assert np.array_equal(rebuilt[i, :, times], X[i, :, times]) != h
    every, _ = mae.reconstruct(X, np.tile(one, (20, 1)))
    assert_array_equal(every, rebuilt)


def test_reconstruct_does_not_look_at_what_is_hidden(windows, small_mae):
    X = windows[0]
    mae = small_mae().fit(X)
    changed = X.copy()
    changed[:, :, 5:10] = 77
    mask = np.array([False, True, False, False])
    rebuilt = [mae.reconstruct(x, mask)[0][:, :, 5:10] for x in (X, changed)]
    assert_array_equal(*rebuilt)


@pytest.mark.parametrize("shape", [(5,), (19, 4), (20, 5), (20, 4, 1), ()])
def test_mask_of_a_wrong_shape(windows, small_mae, shape):
    mae = small_mae().fit(windows[0])
    with pytest.raises(
        ValueError, match=r"mask has shape .* expected \(20, 4\) or \(4,\)"
    ):
        mae.reconstruct(windows[0], np.ones(shape))


def test_mask_must_hide_as_many_everywhere(windows, small_mae):
    mae = small_mae().fit(windows[0])
    mask = np.arange(80).reshape(20, 4) % 3 == 0
    with pytest.raises(ValueError, match="must hide as many patches in each window"):
        mae.reconstruct(windows[0], mask)


def test_score_is_the_error_of_the_reconstruction(windows, small_mae):
    X = windows[0]
    mae = small_mae().fit(X)
    rebuilt, mask = mae.reconstruct(X)
    errors = [
        np.mean((rebuilt[i, :, t].astype(float) - X[i, :, t]) ** 2)
        for i, t, hidden in by_pieces(X, mask, 5)
        if hidden
    ]
    assert_allclose(mae.score(X), -np.mean(errors), rtol=1e-5)
    assert mae.score(X) == mae.score(X)


def test_score_does_not_depend_on_the_batch_size(windows, small_mae):
    mae = small_mae().fit(windows[0])
    score = mae.score(windows[0])
    mae.set_params(batch_size=3)
    assert_allclose(mae.score(windows[0]), score, rtol=1e-6)


def test_grid_search_without_labels(windows, small_mae):
    grid = {"patch_length": [2, 5], "mask_ratio": [0.25, 0.5]}
    search = GridSearchCV(small_mae(), grid, cv=2).fit(windows[0])
    assert search.best_params_.keys() == grid.keys()
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(set(search.cv_results_["mean_test_score"])) == 4


def test_bit_for_bit_under_random_state(windows, small_mae, weights_of):
    X = windows[0]
    runs = [
        weights_of(small_mae(random_state=s, dropout=0.1).fit(X).module_)
        for s in (1, 1, 2)
    ]
    for name in runs[0]:
        assert_array_equal(runs[0][name], runs[1][name])
    assert any((runs[0][name] != runs[2][name]).any() for name in runs[0])


def test_global_generators_are_left_alone(windows, small_mae):
    torch_state = torch.get_rng_state()
    numpy_state = check_random_state(None).get_state()
    mae = small_mae(dropout=0.1, early_stopping=True).fit(windows[0])
    mae.transform(windows[0])
    mae.reconstruct(windows[0])
    assert torch.equal(torch_state, torch.get_rng_state())
    for now, before in zip(check_random_state(None).get_state(), numpy_state):
        assert_array_equal(now, before)


def test_random_state_instance(windows, small_mae):
    X = windows[0]
    first = small_mae(random_state=np.random.RandomState(3)).fit(X).transform(X)
    assert_array_equal(small_mae(random_state=3).fit(X).transform(X), first)


def test_fit_forgets_what_was(windows, small_mae):
    X, P = windows[:2]
    mae = small_mae().fit(P)
    assert_array_equal(mae.fit(X).transform(X), small_mae().fit(X).transform(X))


def test_lazy_windows(windows, small_mae):
    X = windows[0]
    lazy = Lazy(X)
    mae = small_mae(early_stopping=True, batch_size=6).fit(lazy)
    eager = small_mae(early_stopping=True, batch_size=6).fit(X)
    assert_array_equal(mae.transform(lazy), eager.transform(X))
    assert_array_equal(mae.reconstruct(lazy)[0], eager.reconstruct(X)[0])
    assert mae.score(lazy) == eager.score(X)
    assert lazy.largest == 6
    assert mae.n_features_in_ == 4


def test_nan_in_lazy_windows(windows, small_mae):
    bad = windows[0].copy()
    bad[[2, 7], 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity: 2 of the 20 windows"):
        small_mae(batch_size=20).fit(Lazy(bad))
    mae = small_mae().fit(windows[0])
    for method in (mae.transform, mae.reconstruct, mae.score):
        with pytest.raises(ValueError, match="NaN or infinity: 2 of the 8 windows"):
            method(Lazy(bad))


@pytest.mark.parametrize(
    "parameters, message",
    [
        (
            dict(patch_length=23),
            r"patch_length=23 is longer than the windows, n_times=22",
        ),
        (dict(mask_ratio=0.1), r"mask_ratio=0.1 of 4 patches .* hides none"),
        (dict(patch_length=22), r"mask_ratio=0.5 of 1 patches .* hides none"),
        (dict(n_heads=3), r"d_model=8 must be even and a multiple of n_heads=3"),
        (
            dict(d_model=9, n_heads=3),
            r"d_model=9 must be even and a multiple of n_heads=3",
        ),
        (dict(mask_ratio=1.0), r"'mask_ratio' parameter of MAE must be a float in"),
        (dict(pooling="max"), r"'pooling' parameter of MAE must be a str among"),
        (dict(precision="int8"), r"'precision' parameter of MAE must be a str among"),
        (dict(max_epochs=0), r"'max_epochs' parameter of MAE must be an int in"),
        (dict(device="toaster"), r"device='toaster' cannot be used here"),
        (dict(lr=1e20), r"Training diverged: the loss is (inf|nan) after epoch"),
    ],
)
def test_bad_parameters(windows, small_mae, parameters, message):
    with pytest.raises(ValueError, match=message):
        small_mae(**parameters).fit(windows[0])


@pytest.mark.parametrize(
    "X, message",
    [
        (np.zeros((4, 2, 5, 5)), r"array X with dim 4, while windows of shape"),
        (np.zeros(5), r"Expected 2D array, got 1D array instead"),
        (np.zeros((0, 2, 22)), r"Found array with 0 sample\(s\)"),
        (np.full((3, 2, 22), np.nan), r"Input X contains NaN"),
        (np.full((3, 2, 22), np.inf), r"Input X contains infinity"),
    ],
)
def test_bad_windows(small_mae, X, message):
    with pytest.raises(ValueError, match=message):
        small_mae().fit(X)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score"])
def test_windows_of_another_shape(windows, small_mae, method):
    X = windows[0]
    mae = small_mae().fit(X)
    with pytest.raises(ValueError, match=r"4 channels x 21 samples.*fitted on 4 x 22"):
        getattr(mae, method)(X[:, :, 1:])
    with pytest.raises(ValueError, match="X has 3 features, but MAE is expecting 4"):
        getattr(mae, method)(X[:, 1:])
    with pytest.raises(ValueError, match=r"3 channels x 22 samples.*fitted on 4 x 22"):
        getattr(mae, method)(Lazy(X[:, 1:]))
    with pytest.raises(NotFittedError):
        getattr(small_mae(), method)(X)


def test_one_window(windows, small_mae):
    mae = small_mae().fit(windows[0][:1])
    assert mae.transform(windows[0]).shape == (20, 8)


def test_callbacks(windows, small_mae):
    X = windows[0]
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0)
    mae = small_mae(max_epochs=30, callbacks=[stop]).fit(X)
    assert mae.n_iter_ == 3
    assert mae.transform(X).shape == (20, 8)
    assert clone(mae).fit(X).n_iter_ == 3


def test_ctrl_c_ends_a_whole_search(windows, small_mae):
    fits = []

    class CountedMAE(MAE):
        def fit(self, X, y=None):
            fits.append(self)
            return super().fit(X, y)

    mae = CountedMAE(**small_mae(callbacks=[Raises(KeyboardInterrupt())]).get_params())
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(mae, {"patch_length": [2, 5]}, cv=2).fit(windows[0])
    assert len(fits) == 1


def test_early_stopping(windows, small_mae):
    X = windows[0]
    mae = small_mae(
        max_epochs=40, early_stopping=True, n_iter_no_change=2, tol=10.0
    ).fit(X)
    assert mae.n_iter_ == 3  # the first epoch improves on infinity, no other by 10
    assert all(np.isfinite(record["valid_loss"]) for record in mae.history_)


def test_bfloat16(windows, small_mae):
    X = windows[0]
    full, half = (small_mae(precision=p).fit(X) for p in ("float32", "bfloat16"))
    losses = [[r["train_loss"] for r in mae.history_] for mae in (full, half)]
    assert_allclose(losses[1], losses[0], rtol=0.05)
    assert half.transform(X).dtype == np.float32
    weights = half.module_.state_dict().values()
    assert {w.dtype for w in weights} == {torch.float32}


@pytest.mark.parametrize("verbose", [0, 1])
def test_progress(windows, small_mae, verbose, capsys):
    small_mae(verbose=verbose).fit(windows[0])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("MAE (4 channels)" in captured.err) == bool(verbose)
    assert ("epoch=2/2" in captured.err) == bool(verbose)


def test_augmentation_is_for_training_only(windows, small_mae):
    X = windows[0]
    plain = small_mae().fit(X)
    noisy = small_mae().fit(X, augment=Augmentation(noise=1.0))
    assert noisy.history_[0]["train_loss"] > 1.2 * plain.history_[0]["train_loss"]


def test_cross_val_score(windows, small_mae):
    scores = cross_val_score(small_mae(), windows[0], cv=3)
    assert (scores < 0).all()

"""Fits on a GPU that go on, there and on the CPU."""

import pytest
import torch
from numpy.testing import assert_allclose

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs a GPU, which `make test-gpu` shows the tests; "
    "tests/training/test_checkpoint.py covers it on the CPU",
)


@pytest.mark.parametrize(
    "precision, compile", [("float32", False), ("bfloat16", False), ("bfloat16", True)]
)
def test_a_fit_goes_on(pairs, make_mae, losses, precision, compile, tmp_path):
    """With the masks that come next; to what the sums of a GPU leave of equality."""
    if compile:
        pytest.importorskip("triton", reason="needs triton, with which torch compiles")
    X, _ = pairs
    options = dict(precision=precision, compile=compile, restart_period=4, n_layers=1)
    whole = make_mae(max_epochs=4, **options).fit(X)
    options["checkpoint_dir"] = tmp_path
    first = make_mae(max_epochs=2, **options).fit(X)
    second = make_mae(max_epochs=4, **options).fit(X)
    assert second.history_[:2] == first.history_
    rtol = 2e-3 if precision == "float32" else 0.02
    assert_allclose(losses(second), losses(whole), rtol=rtol)
    assert [e["lr"] for e in second.history_] == [e["lr"] for e in whole.history_]


@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_fit_goes_on_elsewhere(pairs, make_cpep, losses, devices, tmp_path):
    X, P = pairs
    whole = make_cpep(device="cpu", restart_period=3).fit(X, P)
    options = dict(checkpoint_dir=tmp_path, restart_period=3)
    make_cpep(device=devices[0], max_epochs=1, **options).fit(X, P)
    found = make_cpep(device=devices[1], **options).fit(X, P)
    assert found.n_iter_ == 3
    assert_allclose(losses(found), losses(whole), rtol=2e-3)
    assert_allclose(found.transform(X), whole.transform(X), atol=5e-3)


def test_what_is_on_disk_needs_no_gpu(pairs, make_mae, tmp_path):
    fitted = make_mae(max_epochs=1, checkpoint_dir=tmp_path).fit(pairs[0])
    state = torch.load(
        tmp_path / "checkpoint.pt", weights_only=True, map_location="cpu"
    )
    for name, weight in fitted.module_.state_dict().items():
        assert torch.equal(state["module"][f"autoencoder.{name}"], weight.cpu())

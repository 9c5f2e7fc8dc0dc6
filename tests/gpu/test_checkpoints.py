"""Fits on a GPU that are resumed."""

import pytest
import torch
from numpy.testing import assert_allclose

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="needs a GPU, which `make test-gpu` shows the tests; "
    "tests/encoders/test_fit_run.py covers it on the CPU",
)


@pytest.mark.parametrize(
    "precision, compile", [("float32", False), ("bfloat16", False), ("bfloat16", True)]
)
def test_a_fit_is_resumed(pairs, make_mae, losses, precision, compile, tmp_path):
    """With the masks that come next; to what the sums of a GPU leave of equality."""
    if compile:
        pytest.importorskip("triton", reason="needs triton, with which torch compiles")
    X, _ = pairs
    options = dict(precision=precision, compile=compile, restart_period=4, n_layers=1)
    whole = make_mae(max_epochs=4, **options).fit(X)
    options["run_dir"] = tmp_path
    first = make_mae(max_epochs=2, **options).fit(X)
    second = make_mae(max_epochs=4, **options).fit(X)
    assert second.history_[:2] == first.history_
    rtol = 2e-3 if precision == "float32" else 0.02
    assert_allclose(losses(second), losses(whole), rtol=rtol)
    assert [e["lr"] for e in second.history_] == [e["lr"] for e in whole.history_]


@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")])
def test_on_another_device_a_fit_begins_beside(pairs, make_mae, devices, tmp_path):
    X, _ = pairs
    fits = [
        make_mae(max_epochs=1, run_dir=tmp_path, device=device).fit(X)
        for device in devices
    ]
    assert fits[0].fit_identity_ != fits[1].fit_identity_
    assert len(list(tmp_path.glob("mae-*/fitted.pt"))) == 2


def test_what_is_on_disk_needs_no_gpu(pairs, make_mae, tmp_path):
    fitted = make_mae(max_epochs=1, run_dir=tmp_path).fit(pairs[0])
    (path,) = tmp_path.glob("*/fitted.pt")
    state = torch.load(path, weights_only=True, map_location="cpu")
    for name, weight in fitted.module_.state_dict().items():
        assert torch.equal(state["weights"][f"autoencoder.{name}"], weight.cpu())

"""What the suite itself promises: no GPU is seen, and whose warnings are errors."""

import importlib
import os
import warnings

import pytest
import torch

from sk_cpep.training import resolve_device

WARN = "import warnings\nwarnings.warn('do not', kind)"


def test_no_gpu_is_seen():
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""  # nor by processes of tests
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("stacklevel", [1, 2])  # of the module, or of who imports it
def test_others_may_warn_at_their_import(stacklevel, tmp_path, monkeypatch):
    (tmp_path / f"somebody_else{stacklevel}.py").write_text(
        "import warnings\n"
        "for kind in (DeprecationWarning, FutureWarning, UserWarning):\n"
        f"    warnings.warn('do not', kind, stacklevel={stacklevel})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(f"somebody_else{stacklevel}")
    with pytest.raises(UserWarning):
        warnings.warn("do not", UserWarning, stacklevel=1)


@pytest.mark.parametrize(
    "name", ["sk_cpep.nn", "tests.nn.test_tds", "benchmarks.table", "__main__"]
)
@pytest.mark.parametrize("kind", [DeprecationWarning, UserWarning, FutureWarning])
def test_our_warnings_are_errors(name, kind):
    with pytest.raises(kind):
        exec(WARN, {"__name__": name, "kind": kind})


def test_what_others_are_told_of_their_code_is_theirs():
    exec(WARN, {"__name__": "somebody.else", "kind": DeprecationWarning})
    with pytest.raises(UserWarning):
        exec(WARN, {"__name__": "somebody.else", "kind": UserWarning})

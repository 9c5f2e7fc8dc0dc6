"""The code in the README is run, block after block, as a reader would."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

README = Path(__file__).parents[1] / "README.md"
HAS_CALLBACKS = find_spec("sklearn.callback") is not None  # from scikit-learn 1.9 on
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_blocks(monkeypatch):
    """What the blocks leave behind, run in order in one namespace."""
    text = README.read_text(encoding="utf-8")
    module = ModuleType("readme")
    namespace = vars(module)
    monkeypatch.setitem(sys.modules, "readme", module)  # for pickles of its classes
    for block in BLOCK.finditer(text):
        if "sklearn.callback" in block.group(1) and not HAS_CALLBACKS:
            continue  # the README says so
        # Blank lines in front, so that a traceback shows the README's own lines.
        code = "\n" * (text.count("\n", 0, block.start()) + 1) + block.group(1)
        exec(compile(code, str(README), "exec"), namespace)
    return namespace


def test_the_code_does_what_the_text_says(monkeypatch):
    ns = run_blocks(monkeypatch)
    assert_allclose(np.linalg.norm(ns["Z"], axis=1), 1, rtol=1e-5)

    chance = 1 / len(np.unique(ns["y_test"]))
    assert np.mean(ns["probe_accuracy"]) > 1.5 * chance
    assert ns["zero_shot_accuracy"] > 1.5 * chance
    assert "vulcan" in ns["names"]

    assert ns["Z_recordings"].shape == (ns["n_windows"], ns["Z"].shape[1])
    assert len(ns["search"].cv_results_["params"]) == 4
    assert ns["own"].transform(ns["quick"][0]).shape[1] == 32
    found = [(r["method"], r["protocol"], r["n_people"]) for r in ns["records"]]
    assert found == [
        ("CPEP", "linear_probe", 1),
        ("CPEP", "linear_probe", "all"),
        ("CPEP", "zero_shot", 0),
    ]
    assert np.mean(list(ns["finger_accuracy"].values())) > 0.7
    assert list(ns["finger_accuracy"]) == ns["fingers"].joint_names
    assert 0 <= ns["share_of_new"] <= 1
    assert ns["on_people"]["n_users"] == 8
    assert ns["table"].startswith("| macro accuracy")
    assert_array_equal(ns["loaded"].transform(ns["X_test"]), ns["Z"])


def test_every_link_to_a_file_leads_somewhere():
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (README.parent / target).exists(), target

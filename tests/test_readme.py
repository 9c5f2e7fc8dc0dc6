"""The code in the README is run, block after block, as a reader would."""

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def readme():
    """What the blocks leave behind, run in order in one namespace."""
    text = README.read_text(encoding="utf-8")
    namespace = {"__name__": "readme"}
    for block in BLOCK.finditer(text):
        # Blank lines in front, so that a traceback shows the README's own lines.
        code = "\n" * (text.count("\n", 0, block.start()) + 1) + block.group(1)
        exec(compile(code, str(README), "exec"), namespace)
    return namespace


def test_embeddings_have_unit_length(readme):
    np.testing.assert_allclose(np.linalg.norm(readme["Z"], axis=1), 1, rtol=1e-5)


def test_the_accuracies_are_above_chance(readme):
    n_gestures = len(np.unique(readme["y_test"]))
    assert np.mean(readme["probe_accuracy"]) > 1.5 / n_gestures
    assert readme["zero_shot_accuracy"] > 1.5 / n_gestures


def test_the_new_gesture_is_known(readme):
    assert "vulcan" in readme["zero"].classes_


def test_recordings_give_the_windows_of_all(readme):
    assert readme["Z_recordings"].shape[1] == readme["Z"].shape[1]
    assert len(readme["Z_recordings"]) == readme["n_windows"]


def test_search_tried_every_candidate(readme):
    assert len(readme["search"].cv_results_["params"]) == 2


def test_loaded_pipeline_is_bit_equal(readme):
    X = readme["X_test"]
    np.testing.assert_array_equal(
        readme["loaded"].transform(X), readme["pipe"].transform(X)
    )


def test_every_link_to_a_file_leads_somewhere():
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (README.parent / target).exists(), target

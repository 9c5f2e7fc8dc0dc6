"""What a report of a defect says, against what is really there."""

import re
import sys
from importlib import metadata

import pytest
import torch

from sk_cpep import _show_versions, show_versions


def lines_of(capsys):
    show_versions()
    pairs = (line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    return {pair[0].strip(): pair[1] for pair in pairs if len(pair) == 2}


def test_versions(capsys):
    shown = lines_of(capsys)
    for name in _show_versions.DEPENDENCIES:
        assert shown[name] == metadata.version(name)
    assert shown["python"].startswith("{}.{}.{}".format(*sys.version_info))
    assert shown["threads"] == str(torch.get_num_threads())
    assert shown["device"] == '"auto" is cpu'


@pytest.mark.parametrize("has_units, dtype", [(True, "bfloat16"), (False, "float32")])
def test_matrix_units(capsys, monkeypatch, has_units, dtype):
    monkeypatch.setattr(
        torch.cpu, "_is_amx_tile_supported", lambda: has_units, raising=False
    )
    assert lines_of(capsys)["precision"] == f'"auto" is {dtype}; on the CPU {dtype}'


def test_what_is_missing_or_broken(capsys, monkeypatch):
    monkeypatch.setattr(_show_versions, "EXTRAS", ("no-such-package",))
    monkeypatch.setitem(sys.modules, "torch", None)
    shown = lines_of(capsys)
    assert shown["no-such-package"] == "not installed"
    assert "torch" in shown["import fails"]


def test_all_that_the_package_may_use_is_listed():
    try:
        required = metadata.requires("sk_cpep")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed; `make test` installs it")
    of_tests = re.compile(r"extra == .(test|dev).")
    names = {
        re.match(r"[\w.-]+", requirement).group()
        for requirement in required
        if not of_tests.search(requirement)
    }
    assert names == {*_show_versions.DEPENDENCIES, *_show_versions.EXTRAS}

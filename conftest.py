"""What the tests are told of the machine, whatever it has, and what they overhear.

There is no GPU, but for the tests in ``tests/gpu`` when they alone are run. With
``SK_CPEP_TEST_UNITS=yes`` the CPU has units for bfloat16, with ``no`` it has not.
"""

import os
import sys
import warnings
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "tests"))  # shared by tests

ON_GPU = (Path(__file__).parent / "tests" / "gpu").resolve()
OURS = {
    "benchmarks",
    "conftest",
    "distributed_jobs",
    "sk_cpep",
    "lazy_windows",
    "own_networks",
    "small_estimators",
    "small_objectives",
    "tests",
}


def pytest_configure(config):
    """Hide the GPU; let packages be imported quietly."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    if not is_gpu_run(config):
        patch.setenv("CUDA_VISIBLE_DEVICES", "")  # for processes of tests, too
    patch.setattr(SourceFileLoader, "exec_module", exec_module_quietly)


def is_gpu_run(config):
    """Whether only tests of ``tests/gpu`` are asked for."""
    paths = [
        (config.invocation_params.dir / arg.split("::")[0]).resolve()
        for arg in config.args
    ]
    return all(path.is_relative_to(ON_GPU) for path in paths)


def exec_module_quietly(loader, module, *, _exec=SourceFileLoader.exec_module):
    """What a package of somebody else warns of at its import is no error of ours."""
    if loader.name.partition(".")[0] in OURS:
        return _exec(loader, module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _exec(loader, module)


@pytest.fixture(scope="session", autouse=True)
def told_of_the_machine(request):
    """Answers of torch to what the package asks it, the same on every machine."""
    import torch

    units = {"yes": True, "no": False, None: None}[os.environ.get("SK_CPEP_TEST_UNITS")]
    with pytest.MonkeyPatch.context() as patch:
        if not is_gpu_run(request.config):
            patch.setattr(torch.backends.mps, "is_available", lambda: False)
        if units is not None:
            patch.setattr(
                torch.cpu, "_is_amx_tile_supported", lambda: units, raising=False
            )
        yield

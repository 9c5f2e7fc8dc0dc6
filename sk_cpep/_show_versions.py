"""What a report of a defect needs to say of the machine and its software."""

import platform
import sys
from importlib import metadata

from ._version import __version__

DEPENDENCIES = (
    "h5py",
    "joblib",
    "numpy",
    "scikit-learn",
    "scipy",
    "skorch",
    "torch",
)
EXTRAS = (
    "accelerate",
    "dask",
    "faiss-cpu",
    "matplotlib",
    "pandas",
    "transformers",
)


def show_versions() -> None:
    """Print what a report of a defect needs: system, versions, and what torch computes on.

    Only torch is imported for it. A device that ``device="auto"`` would take, and the
    type of matrix products that ``precision="auto"`` would take there, are named as
    they come out on this machine.

    Examples
    --------
    >>> from sk_cpep import show_versions
    >>> show_versions()
    <BLANKLINE>
    System
        python: 3...
    """
    for title, facts in {
        "System": _system(),
        "Dependencies": {"sk_cpep": __version__} | _installed(DEPENDENCIES),
        "Extras": _installed(EXTRAS),
        "torch": _torch(),
    }.items():
        print(f"\n{title}")
        for name, value in facts.items():
            print(f"{name:>14}: {value}")


def _system() -> dict[str, str]:
    """Python and the machine."""
    return {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "machine": platform.platform(),
    }


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of distributions, of which none is imported."""
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _torch() -> dict[str, str]:
    """What torch computes on, and what the automatic choices come to."""
    try:
        import torch

        from .training import resolve_device, resolve_precision
    except (ImportError, OSError) as error:
        return {"import fails": str(error)}
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    device = resolve_device("auto")
    cpu, there = (
        str(resolve_precision("auto", where)).removeprefix("torch.")
        for where in (torch.device("cpu"), device)
    )
    return {
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "CUDA": f"{torch.version.cuda}; {', '.join(names) or 'no device'}",
        "MPS": "available" if torch.backends.mps.is_available() else "not available",
        "device": f'"auto" is {device}',
        "precision": f'"auto" is {there}; on the CPU {cpu}',
    }

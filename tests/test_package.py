"""The package as a whole: its surface, its docstrings, what imports what."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import sk_cpep

ROOT = Path(sk_cpep.__file__).parent
PUBLIC = (
    "sk_cpep",
    "sk_cpep.datasets",
    "sk_cpep.encoders",
    "sk_cpep.evaluation",
    "sk_cpep.nn",
    "sk_cpep.plotting",
    "sk_cpep.preprocessing",
    "sk_cpep.training",
    "sk_cpep.zero_shot",
)
# Those that a user meets; nn and training are read beside the paper.
USER_FACING = sorted(set(PUBLIC) - {"sk_cpep.nn", "sk_cpep.training"})

# The design's table: what each folder may import. Rooms in use, from left to right.
EVERYWHERE = {
    "sk_cpep._content_digest",
    "sk_cpep._file_identity",
    "sk_cpep._ids",
    "sk_cpep._lazy",
    "sk_cpep._param_validation",
    "sk_cpep._sklearn_bases",
    "sk_cpep._typing",
    "sk_cpep._version",
    "sk_cpep._whole_file",
}
# A fit as a whole or not at all, and what scikit-learn's callbacks ask for.
ESTIMATORS = {"sk_cpep._all_or_nothing", "sk_cpep._callback_support"}
MAY_IMPORT = {
    "datasets": {"numpy", "scipy", "h5py", "joblib", "sklearn", "tqdm"},
    "preprocessing": {"numpy", "scipy", "sklearn"} | ESTIMATORS,
    "nn": {"torch"},
    "training": {"accelerate", "numpy", "torch", "skorch", "tqdm", "sk_cpep.nn"},
    "encoders": {
        "joblib",
        "numpy",
        "torch",
        "sklearn",
        "sk_cpep.nn",
        "sk_cpep.preprocessing",
        "sk_cpep.training",
    }
    | ESTIMATORS,
    "zero_shot": {"numpy", "torch", "sklearn", "sk_cpep.training"} | ESTIMATORS,
    "evaluation": {
        "numpy",
        "pandas",
        "scipy",
        "sklearn",
        "sk_cpep.datasets",
        "sk_cpep.preprocessing",
        "sk_cpep.encoders",
        "sk_cpep.zero_shot",
    },
    "plotting": {"numpy", "sklearn", "matplotlib"},
}


def public_objects():
    seen = {}
    for module in map(importlib.import_module, USER_FACING):
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                seen[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return seen


OBJECTS = public_objects()


def sources(room):
    folder = ROOT / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]


def imports_of(path):
    """Absolute names of the modules that a file imports, wherever in it."""
    parts = ("sk_cpep", *path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: -node.level] if node.level else ()
            base = ".".join([*base, *filter(None, [node.module])])
            if base == "sk_cpep":  # from .. import room
                yield from (f"sk_cpep.{alias.name}" for alias in node.names)
            else:
                yield base


def home(module):
    """The room of one of our own modules, or the package that another is of."""
    first, *rest = module.split(".")
    return f"sk_cpep.{rest[0]}" if first == "sk_cpep" and rest else first


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_left(room):
    allowed = MAY_IMPORT[room] | EVERYWHERE | {f"sk_cpep.{room}"}
    for path in sources(room):
        homes = {home(module) for module in imports_of(path)}
        strange = homes - allowed - set(sys.stdlib_module_names)
        assert not strange, f"{path.relative_to(ROOT)} imports {sorted(strange)}"


def test_every_room_is_in_the_table():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    rooms |= {path.stem for path in ROOT.glob("*.py") if not path.stem.startswith("_")}
    assert rooms - {"demo", "fit"} == set(MAY_IMPORT)


needs_installation = pytest.mark.skipif(
    not list(metadata.distributions(name="sk_cpep")),
    reason="the package is used without being installed; `make test` installs it",
)


@needs_installation
def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", sk_cpep.__version__)
    assert metadata.version("sk_cpep") == sk_cpep.__version__
    root = Path(__file__).parents[1]
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {sk_cpep.__version__}\n" in citation
    assert f"## [{sk_cpep.__version__}]" in changes


@needs_installation
def test_core_requirements():
    core = [r for r in metadata.requires("sk_cpep") if "extra ==" not in r]
    names = {re.match(r"[\w.-]+", requirement).group() for requirement in core}
    assert names == {
        "h5py",
        "joblib",
        "numpy",
        "scikit-learn",
        "scipy",
        "skorch",
        "torch",
    }


def test_typed():
    assert resources.files("sk_cpep").joinpath("py.typed").is_file()


def alphabetical(name):
    """Acronyms, classes, functions, as isort orders them; each from A to Z."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert list(module.__all__) == sorted(module.__all__, key=alphabetical)
    for public in module.__all__:
        assert hasattr(module, public)


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings(name):
    thing = OBJECTS[name]
    parameters = documented_parameters(inspect.getdoc(thing))
    assert [p for p in own_parameters(thing) if p not in parameters] == []
    if inspect.isclass(thing):
        methods = inspect.getmembers(thing, inspect.isfunction)
        for method in (method for name, method in methods if is_ours(name, method)):
            parameters = documented_parameters(inspect.getdoc(method))
            missing = [p for p in own_parameters(method) if p not in parameters]
            assert not missing, f"{method.__qualname__}: {missing}"


def is_ours(name, method):
    return not name.startswith("_") and method.__module__.startswith("sk_cpep.")


def own_parameters(thing):
    if getattr(thing, "_is_protocol", False):
        return []
    names = inspect.signature(thing).parameters
    return [name for name in names if name not in ("self", "cls")]


def documented_parameters(doc):
    """Names in the section Parameters of a numpydoc docstring."""
    parts = re.split(r"^([^\n]+)\n-{3,}\n", doc or "", flags=re.MULTILINE)
    section = dict(zip(parts[1::2], parts[2::2])).get("Parameters", "")
    heads = re.findall(r"^(\S[^:\n]*)", section, re.MULTILINE)
    return {name.strip(" *") for head in heads for name in head.split(",")}


def test_importing_is_silent():
    code = (
        "import sys, h5py, joblib, skorch, torch, tqdm\n"  # may say what they like
        "print('ours', file=sys.stderr)\n"
        "from sk_cpep import *\n"
        "import sk_cpep.datasets, sk_cpep.evaluation\n"
        "extras = {'matplotlib', 'pytest', 'sk_cpep.plotting', 'sk_cpep.demo'}\n"
        "print(sorted(extras & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
    assert run.stderr.rpartition("ours\n")[2] == ""


def test_lazy_names():
    rooms = {name.partition(".")[2] for name in PUBLIC} - {""}
    assert set(dir(sk_cpep)) == {*sk_cpep.__all__, *rooms}
    for name in rooms:
        assert getattr(sk_cpep, name) is importlib.import_module(f"sk_cpep.{name}")
    for name in set(sk_cpep.__all__) - {"__version__", "show_versions"}:
        home = sys.modules[getattr(sk_cpep, name).__module__]
        assert getattr(sk_cpep, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="'sk_cpep' has no attribute 'CEPP'"):
        sk_cpep.CEPP  # noqa: B018
    with pytest.raises(ImportError, match="CEPP"):
        from sk_cpep import CEPP  # noqa: F401


@needs_installation
def test_console_script():
    (script,) = metadata.entry_points(group="console_scripts", name="sk-cpep")
    assert script.load() is importlib.import_module("sk_cpep._cli").main

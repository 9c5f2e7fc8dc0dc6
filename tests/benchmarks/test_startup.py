"""What is imported, and what the benchmark of it runs and shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks import startup  # noqa: E402
from sk_cpep._cli import COMMANDS  # noqa: E402

HEAVY = ["h5py", "joblib", "matplotlib", "numpy", "scipy", "sklearn", "skorch", "torch"]
SAY = f"import sys; print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"


def imported_by(code):
    """Which of the heavy packages a new process has imported, having run some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SAY}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.strip()


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_computes_nothing(command):
    code = (
        "from sk_cpep._cli import main\n"
        f"try: main({[*command, '--help']})\n"
        "except SystemExit as end: assert end.code == 0"
    )
    assert imported_by(code) == "[]"


def test_the_package_waits_until_it_is_used():
    assert imported_by("import sk_cpep; dir(sk_cpep); sk_cpep.__version__") == "[]"
    code = "import sk_cpep; from sk_cpep import BandpassNotch; sk_cpep.datasets"
    assert "torch" not in imported_by(code)
    assert "torch" in imported_by("from sk_cpep import MAE")  # that it would be seen


def test_benchmark(monkeypatch, tmp_path, capsys):
    ran = []
    clock = iter(range(10_000))

    def run(command, **options):
        ran.append(command[1:])

    monkeypatch.setattr(startup.subprocess, "run", run)
    monkeypatch.setattr(startup.time, "perf_counter", lambda: next(clock))
    startup.main(["--repeats", "2", "--out", str(tmp_path / "startup.json")])
    assert ran == 3 * list(startup.JOBS.values())  # once to warm up
    assert ["-c", "import sk_cpep"] in ran
    for name in COMMANDS:
        assert ["-m", "sk_cpep", name, "--help"] in ran
    table = json.loads((tmp_path / "startup.json").read_text())
    assert table["rates"] == dict.fromkeys(startup.JOBS, 1)
    assert table["unit"] == "s"
    assert set(table["ratios"].values()) == {1}
    assert "speed of import sk_cpep / import torch" in capsys.readouterr().out

"""What is finished is kept: fitted stages and cells, each written in one step."""

import hashlib
import io
import json
from pathlib import Path

import joblib

from sk_cpep._whole_file import replace_file


class Store:
    """The folder of a run.

    Parameters
    ----------
    folder : path
        Made where there is none.

    settings : dict
        All that the results depend on. A folder of a run with other settings is
        refused, and so is one that holds anything else.
    """

    def __init__(self, folder, settings):
        self.folder = Path(folder)
        check_own(self.folder)
        for name in ("cells", "stages"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._settle(json.loads(json.dumps(settings, default=str)))

    def _settle(self, settings):
        path = self.folder / "settings.json"
        if not path.exists():
            write_json(path, settings)
            return
        found = read_json(path)
        keys = sorted(k for k in found | settings if found.get(k) != settings.get(k))
        if keys:
            differences = "; ".join(
                f"{k}: {str(found.get(k))[:80]} there, {str(settings.get(k))[:80]} now"
                for k in keys
            )
            raise ValueError(
                f"{self.folder} holds a run with other settings ({differences}). "
                "Give another --out, or the settings of that run to go on with it."
            )

    def stage(self, name, key, fit):
        """A fitted estimator: the one kept under this name and key, or a new one."""
        path = self.folder / "stages" / f"{name}-{key}.joblib"
        if path.exists():
            return load_stage(path)
        fitted = fit()
        pickled = io.BytesIO()
        joblib.dump(fitted, pickled)
        replace_file(path, pickled.getvalue())
        return fitted

    def cell(self, key):
        """The finished cell of this key, or None."""
        path = self._cell_path(key)
        return read_json(path) if path.exists() else None

    def keep_cell(self, key, cell):
        """Keep a finished cell."""
        write_json(self._cell_path(key), cell)

    def _cell_path(self, key):
        return self.folder / "cells" / f"{key}.json"


def load_stage(path):
    """Load a fitted estimator, naming the file where it is none."""
    try:
        return joblib.load(path)
    except Exception as error:  # what is damaged may fail in any way
        raise ValueError(
            f"{path} is damaged ({error}): delete it, and the same command makes it "
            "again."
        ) from error


def check_own(folder):
    """Refuse a folder that holds anything but a run, or the pack of one."""
    if not folder.is_dir() or (folder / "settings.json").exists():
        return
    strange = {path.name for path in folder.iterdir()} - {"cells", "stages", "pack"}
    if strange:
        raise ValueError(
            f"--out {folder} holds {sorted(strange)[:3]} and no run: give a new or empty "
            "folder."
        )


def write_json(path, content):
    """Write JSON so that a kill leaves the old file or the new one."""
    replace_file(path, json.dumps(content, indent=1, allow_nan=False).encode())


def read_json(path):
    """Read JSON, naming the file where it is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it, and the same command makes it "
            "again."
        ) from None


def digest(thing):
    """A short name for anything that goes into JSON."""
    text = json.dumps(thing, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""What a benchmark found, as a table to read and as JSON to keep."""

import argparse
import json
import platform
from pathlib import Path

import torch

from .timing import median_rate, median_ratio


class Table:
    """Rates, ratios and figures of a run.

    Parameters
    ----------
    title : str

    unit : str
        Of the rates, such as ``"windows/s"``.

    device : torch.device or str, default="cpu"
    """

    def __init__(self, title, unit, device="cpu"):
        self.title = title
        self.unit = unit
        self.machine = describe_machine(torch.device(device))
        self.rates = {}
        self.units = {}
        self.notes = {}
        self.ratios = {}
        self.figures = {}
        self.remarks = []

    def add(self, name, rate, note="", unit=None):
        """A row: work a second, or None for what was not measured; a note says why."""
        self.rates[name] = rate
        if unit:
            self.units[name] = unit
        if note:
            self.notes[name] = note

    def add_seconds(self, work, seconds, notes=None):
        """A row for every job of :func:`benchmarks.timing.in_turn`."""
        for name, times in seconds.items():
            self.add(name, median_rate(work, times), (notes or {}).get(name, ""))

    def add_speed(self, seconds, name, peer, title=None):
        """How many times faster than its peer a job is, where both were measured."""
        if name in seconds and peer in seconds:
            title = title or f"speed of {name} / {peer}"
            self.ratios[title] = median_ratio(seconds, peer, name)

    def remark(self, text):
        """A line below the table."""
        self.remarks.append(text)

    def as_dict(self):
        """Everything, in types that JSON knows."""
        return {
            "title": self.title,
            "machine": self.machine,
            "unit": self.unit,
            "other units": self.units,
            "rates": self.rates,
            "notes": self.notes,
            "ratios": self.ratios,
            "figures": self.figures,
            "remarks": self.remarks,
        }

    def __str__(self):
        machine = ", ".join(f"{value}" for value in self.machine.values())
        rows = [self._row(name, rate) for name, rate in self.rates.items()]
        parts = [f"{self.title}\n{machine}", align(rows)]
        parts.append(align([(k, format_number(v)) for k, v in self.ratios.items()]))
        parts.append("\n".join(self.remarks))
        return "\n\n".join(part for part in parts if part)

    def _row(self, name, rate):
        unit = self.units.get(name, self.unit)
        shown = "-" if rate is None else f"{format_number(rate)} {unit}"
        return name, shown, self.notes.get(name, "")


def describe_machine(device):
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "device": str(device),
        "name": name,
        "threads": f"{torch.get_num_threads()} threads",
        "torch": f"torch {torch.__version__}",
    }


def align(rows):
    """Rows of strings as columns of equal width; the second one to the right."""
    if not rows:
        return ""
    width = max(len(row[0]) for row in rows)
    number = max(len(row[1]) for row in rows)
    lines = (f"{r[0]:{width}s}  {r[1]:>{number}s}  {' '.join(r[2:])}" for r in rows)
    return "\n".join(line.rstrip() for line in lines)


def format_number(value):
    """Three digits or more, and no exponent."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 3 if size >= 0.1 else 5
    return f"{value:,.{digits}f}"


def table_file(path):
    """Where a table may go: a new file, or that of an earlier table.

    Raises
    ------
    argparse.ArgumentTypeError
        If something else is there.
    """
    if not Path(path).exists():
        return path
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not {"title", "machine", "rates"} <= set(found):
        raise argparse.ArgumentTypeError(
            f"{path} is there, and no table of a benchmark: give another file"
        )
    return path


def finish(table, path=None):
    """Print a table, and write it to `path` as JSON, if one is given."""
    print(f"\n{table}")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(table.as_dict(), file, indent=1)

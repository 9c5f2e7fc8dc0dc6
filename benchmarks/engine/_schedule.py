"""How long the paper's whole schedule would take at the rates of this machine."""

from ..timing import in_turn, median_rate, seconds_of
from ._ours import MODES, fit_alignment, fit_mae, pretrained
from ._pretraining import fit_name

CORPUS, EPOCHS = 666_000, 100
EMG_PATCH, POSE_PATCH = 50, 200


def measure_schedule(table, X, P, mode, run, repeats):
    """Rates of the other stages, and hours of all.

    Parameters
    ----------
    table : Table
        It holds the rate of EMG pre-training in this mode.

    X, P : float32 ndarrays of shapes (n, C, T) and (n, J, T)

    mode : str
        The fastest of pre-training.

    run : Run

    repeats : int
    """
    encoders = [pretrained(X, run, EMG_PATCH), pretrained(P, run, POSE_PATCH)]
    pose_name, alignment_name = f"Pose-MAE, {mode}", f"alignment, {mode}"
    embedding_name = "pose embeddings"
    jobs = {
        pose_name: lambda: fit_mae(P, MODES[mode], run, patch_length=POSE_PATCH),
        alignment_name: lambda: fit_alignment(X, P, encoders, MODES[mode], run),
    }
    seconds = in_turn(jobs, repeats, verbose=True)
    table.add_seconds(run.work, seconds)
    embedding = [seconds_of(lambda: encoders[1].transform(P), run.device)]
    table.add(embedding_name, median_rate(run.n_windows, embedding), "once")
    windows = CORPUS * EPOCHS
    hours = {
        "EMG-MAE": windows / table.rates[fit_name(mode)] / 3600,
        "Pose-MAE": windows / table.rates[pose_name] / 3600,
        "pose embeddings": CORPUS / table.rates[embedding_name] / 3600,
        "alignment": windows / table.rates[alignment_name] / 3600,
    }
    hours["all"] = sum(hours.values())
    table.figures["hours of the full schedule"] = hours
    table.remark(describe_hours(hours, mode))


def describe_hours(hours, mode):
    """A line on how long it would take."""
    parts = ", ".join(f"{name} {format_hours(value)}" for name, value in hours.items())
    return (
        f"Full schedule of the paper, {CORPUS:,} windows x {EPOCHS} epochs, {mode}: "
        f"{parts}."
    )


def format_hours(hours):
    """In the unit that reads best."""
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.1f} s"

"""Published results, each with its source, to stand beside measured ones."""

from __future__ import annotations

from typing import Any

from .._typing import Record

CPEP_PAPER = "CPEP, arXiv:2509.04699"
CPEP_TABLE = f"{CPEP_PAPER}, Table 2"
EMBRIDGE = "EMBridge, ICLR 2026"
EMGBLEND = "EMGBlend, preprint 2026"
SUMMARY = "a summary of the CPEP paper by others"
NHN = "Neuromotor Hierarchy Network (NHN), 2026, Table 1"
REPRINT = f"{NHN}, reprinted there from Salter et al. 2024 or arXiv:2603.08212"
HADIDI = f"Hadidi et al., arXiv:2603.08212, as printed in {NHN}"

_ABLATION = "ablation of CPEP"
_NINAPRO_NOTE = "which Ninapro set and gestures is not known here"
_DIVERGED = "did not converge"

# fmt: off
# Macro accuracy of linear probe and zero-shot, in distribution; of both, unseen. Trust
# is "stated" in a paper's own words, "secondary" where another paper tells it, "low"
# where others derived it or read it off a picture.
_EMG2POSE = (
    ("CPEP", (.782, .757, .536, .481), CPEP_TABLE, "stated", ""),
    ("EMG encoder frozen", (.372, .344, .326, .298), CPEP_TABLE, "stated", _ABLATION),
    ("EMG encoder randomly initialised", (.748, .701, .479, .454), CPEP_TABLE, "stated",
     _ABLATION),
    ("Average pooling", (.761, .711, .518, .454), CPEP_TABLE, "stated", _ABLATION),
    ("Both randomly initialised", _DIVERGED, CPEP_TABLE, "stated", _ABLATION),
    ("Both encoders trained", _DIVERGED, CPEP_TABLE, "stated", _ABLATION),
    ("Pose-MAE (upper bound)", (.851, None, .649, None), EMBRIDGE, "secondary", ""),
    ("EMG-MAE", (.347, None, .334, None), EMBRIDGE, "secondary", ""),
    ("EMG2Pose", (.734, None, .405, None), EMBRIDGE, "secondary", ""),
    ("PoseT", (.60, None, .35, None), SUMMARY, "low", "read off Figure 2 by others"),
    ("Weakest emg2pose model", (.647, None, .312, None), SUMMARY, "low",
     "what CPEP's gains of up to 21 % and 72 % lead to; which model it is, is not told"),
    ("EMBridge", (.785, .777, .505, .528), EMBRIDGE, "stated", ""),
    ("EMBridge without Q-Former", (.793, .763, .538, .494), EMBRIDGE, "stated",
     "CPEP with soft targets"),
    ("EMBridge, Q-Former only", (.782, .763, .493, .498), EMBRIDGE, "stated", ""),
    ("EMBridge, built again", (.766, .748, .494, .472), EMGBLEND, "stated",
     "by EMGBlend's authors"),
    ("EMGBlend", (.818, .797, .617, .560), EMGBLEND, "stated",
     "109 M parameters, pre-trained on 11 sources, adapted to pose"),
    ("EMGBlend, random init", (.690, .655, .485, .439), EMGBLEND, "stated",
     "adapted to pose"),
    ("EMGBlend, frozen", (.704, None, .466, None), EMGBLEND, "stated",
     "pre-trained on 11 sources, not adapted to pose"),
    ("EMGBlend, frozen, emg2pose only", (.742, None, .491, None), EMGBLEND, "stated",
     "not adapted to pose"),
    ("EMGBlend, plain waveform MAE", (.541, None, .377, None), EMGBLEND, "stated", ""),
)
_NINAPRO = (
    ("CPEP", (None, .604, None, .413), EMBRIDGE, "secondary", _NINAPRO_NOTE),
    ("EMBridge", (None, .692, None, .447), EMBRIDGE, "stated", _NINAPRO_NOTE),
)

# For new users, new stages and both: angular error in degrees with its SD over users,
# landmark distance in mm with its SD.
_REGRESSION = (
    ("Static", ((16.86, 1.80, 25.17, 2.84), (19.18, 1.71, 28.57, 2.46),
                (18.87, 2.01, 28.77, 2.78)), HADIDI),
    ("SensingDynamics", ((15.5, 1.4, 21.8, 2.1), (18.8, 1.6, 26.6, 2.0),
                         (18.7, 1.6, 27.2, 2.0)), REPRINT),
    ("NeuroPose", ((13.2, 1.1, 17.5, 1.3), (17.2, 1.7, 24.0, 2.1),
                   (17.5, 1.5, 24.9, 1.7)), REPRINT),
    ("EMG2Pose", ((12.57, 1.30, 16.28, 1.81), (15.17, 1.59, 20.53, 2.13),
                  (15.57, 1.30, 21.49, 1.71)), REPRINT),
    ("VEMG2Pose", ((12.24, 1.34, 15.82, 1.90), (15.22, 1.58, 20.38, 2.07),
                   (15.63, 1.37, 21.30, 1.87)), REPRINT),
    ("Hadidi Pos-ST", ((12.19, None, 15.79, None), (14.96, None, 20.23, None),
                       (15.47, None, 21.29, None)), HADIDI),
    ("Hadidi Vel-ST", ((12.17, None, 15.58, None), (14.62, None, 19.62, None),
                       (15.35, None, 20.92, None)), HADIDI),
    ("Hadidi Pos-MT", ((11.54, None, 14.74, None), (14.02, None, 18.61, None),
                       (14.58, None, 19.78, None)), HADIDI),
    ("Hadidi Vel-MT", ((11.64, None, 14.74, None), (13.85, None, 18.33, None),
                       (14.63, None, 19.77, None)), HADIDI),
    ("NHN", ((11.38, 1.13, 14.42, 1.53), (13.78, 1.57, 18.21, 2.06),
             (14.22, 1.26, 19.26, 1.88)), NHN),
)
_TRACKING = (
    ("Static", ((10.48, None, 15.71, None), (14.86, None, 21.81, None),
                (14.29, None, 21.48, None)), REPRINT),
    ("EMG2Pose", ((11.33, None, 14.75, None), (15.39, None, 20.88, None),
                  (15.05, None, 20.69, None)), REPRINT),
    ("VEMG2Pose", ((7.70, None, 10.22, None), (11.20, None, 15.18, None),
                   (11.03, None, 15.35, None)), REPRINT),
    ("Hadidi Pos-ST", ((7.35, None, 9.67, None), (10.21, None, 13.73, None),
                       (10.25, None, 14.18, None)), HADIDI),
    ("Hadidi Vel-ST", ((7.64, None, 10.02, None), (10.76, None, 14.43, None),
                       (10.75, None, 14.82, None)), HADIDI),
    ("NHN", ((7.30, None, 9.55, None), (10.12, None, 13.59, None),
             (10.16, None, 14.03, None)), NHN),
)
# fmt: on

_COLUMNS = (
    ("linear_probe", "in_distribution"),
    ("zero_shot", "in_distribution"),
    ("linear_probe", "unseen"),
    ("zero_shot", "unseen"),
)
_GENERALIZATIONS = ("user", "stage", "user_stage")
_ALIASES = {"ours": "cpep"}
_UPPER = " (upper bound)"


def published(
    method: str | None = None,
    protocol: str | None = None,
    gestures: Any = None,
    dataset: str = "emg2pose",
) -> list[Record]:
    """What was published for a method and a protocol.

    The numbers are of different papers: nobody outside CPEP's authors has its exact
    people and windows, and EMGBlend is pre-trained on ten further data sets. They are
    for orientation, not for a comparison to the last digit.

    Parameters
    ----------
    method : str, default=None
        Name of the method, of the estimator's class, or of the ablation; upper and
        lower case are alike, "Ours" is "CPEP", and "(upper bound)" may be left out.
        The records carry the name as it is given here. None is all.

    protocol : {"linear_probe", "zero_shot", "pose_regression", "pose_tracking"}, \
            default=None
        None is all.

    gestures : str, default=None
        "in_distribution" or "unseen"; where poses are predicted what is new: "user",
        "stage" or "user_stage". None is all.

    dataset : {"emg2pose", "ninapro"}, default="emg2pose"
        Data set. Those on Ninapro do not tell which of its sets.

    Returns
    -------
    records : list of dict
        Empty where nothing is known. In the grammar of measured records: ``method``,
        ``dataset``, ``protocol``, ``gestures`` or ``generalization``,
        ``macro_accuracy`` or ``angular_error`` (degrees, beside ``landmark_distance``
        in mm), ``mean``, ``sd`` over users or None, ``converged`` (False where it was
        published that a training did not); ``source``, ``trust`` ("stated",
        "secondary" or "low": read off a picture or derived, by others) and ``note``.

    Examples
    --------
    >>> from sk_cpep.evaluation import published
    >>> [record] = published("CPEP", "zero_shot", "unseen")
    >>> record["macro_accuracy"], record["source"]
    (0.481, 'CPEP, arXiv:2509.04699, Table 2')
    >>> published("NeuroPose", "linear_probe", "unseen")
    []
    """
    if dataset not in ("emg2pose", "ninapro"):
        raise ValueError(f"dataset must be 'emg2pose' or 'ninapro', got {dataset!r}.")
    records = _accuracies(_EMG2POSE if dataset == "emg2pose" else _NINAPRO, dataset)
    if dataset == "emg2pose":
        records += _errors(_REGRESSION, "pose_regression")
        records += _errors(_TRACKING, "pose_tracking")
    return [
        record if method is None else record | {"method": method}
        for record in records
        if (method is None or method_key(record["method"]) == method_key(method))
        and protocol in (None, record["protocol"])
        and gestures in (None, record.get("gestures"), record.get("generalization"))
    ]


def method_key(name: str) -> str:
    """What is equal for two names of one method."""
    key = name.casefold().removesuffix(_UPPER)
    return _ALIASES.get(key, key)


def _accuracies(table: Any, dataset: str) -> list[Record]:
    """Records of macro accuracy, one a number (or a failure) of a table."""
    records = []
    for method, values, source, trust, note in table:
        failed = values == _DIVERGED
        for column, value in zip(
            _COLUMNS, len(_COLUMNS) * [None] if failed else values
        ):
            if value is None and not failed:
                continue
            records.append(
                {
                    "method": method,
                    "dataset": dataset,
                    "protocol": column[0],
                    "gestures": column[1],
                    "macro_accuracy": value,
                    "mean": value,
                    "sd": None,
                    "converged": not failed,
                    "source": source,
                    "trust": trust,
                    "note": note,
                }
            )
    return records


def _errors(table: Any, protocol: str) -> list[Record]:
    """Records of angular error and landmark distance, three a method."""
    return [
        {
            "method": method,
            "dataset": "emg2pose",
            "protocol": protocol,
            "generalization": generalization,
            "angular_error": degrees,
            "mean": degrees,
            "sd": sd,
            "unit": "deg",
            "landmark_distance": {"mean": mm, "sd": sd_mm},
            "converged": True,
            "source": source,
            "trust": "stated" if source == NHN else "secondary",
            "note": "",
        }
        for method, numbers, source in table
        for generalization, (degrees, sd, mm, sd_mm) in zip(_GENERALIZATIONS, numbers)
    ]

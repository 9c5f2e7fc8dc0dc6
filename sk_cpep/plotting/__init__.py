"""Displays in the manner of scikit-learn: training, rebuilding, retrieval, results."""

from ._embedding import EmbeddingDisplay
from ._grid import GridDisplay
from ._label_efficiency import LabelEfficiencyDisplay
from ._reconstruction import ReconstructionDisplay
from ._results import ResultsDisplay
from ._retrieval import RetrievalDisplay
from ._training import TrainingCurveDisplay

__all__ = [
    "EmbeddingDisplay",
    "GridDisplay",
    "LabelEfficiencyDisplay",
    "ReconstructionDisplay",
    "ResultsDisplay",
    "RetrievalDisplay",
    "TrainingCurveDisplay",
]

"""emg2pose as an estimator."""

from typing import Any

from ._parameters import Positive
from ._tds_regressor import TDSRegressor


class EMG2Pose(TDSRegressor):
    """Pose regression of emg2pose: TDS features, an MLP in steps.

    Time-depth-separable convolutions take the EMG to features at 25 Hz; from the end
    of their left context on, an MLP takes the features of a step (50 Hz) and the pose
    it gave before to the next pose. Layers, loss and training are the published ones,
    2,952,340 weights at 16 channels and 20 joints.

    Parameters
    ----------
    output_scale : float
        What the MLP's output is multiplied by. 0.01 is published; later work found it
        to hold predictions back, and 1.0 better.

    See Also
    --------
    VEMG2Pose : Predicts velocities with an LSTM.
    PoseT : The same task with the transformer of :class:`MAE`.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import EMG2Pose
    >>> X, P = np.random.default_rng(0).normal(size=(2, 16, 8, 200))
    >>> model = EMG2Pose(sfreq=100, d_model=32, d_features=8, d_hidden=16,
    ...     max_epochs=1, random_state=0)
    >>> model.fit(X, P).predict(X).shape
    (16, 8, 200)
    """

    gradient_clip: Positive | None = 1.0

    def _decoder(self) -> dict[str, Any]:
        return {"decoder": "mlp", "output": "position"}

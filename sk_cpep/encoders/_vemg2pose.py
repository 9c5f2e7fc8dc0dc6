"""vemg2pose as an estimator."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from sklearn.utils._param_validation import StrOptions

from ..training import TrainingPlan
from ._parameters import Amount, Positive, Size
from ._tds_regressor import TDSRegressor


class VEMG2Pose(TDSRegressor):
    """Pose regression of vemg2pose: TDS features, velocities of an LSTM.

    As :class:`EMG2Pose`, but an LSTM gives how the pose changes in a step. In
    regression it gives the pose itself for the first quarter of a second, having been
    told none. Layers, loss and training are the published ones: 5,980,328 weights in
    regression and 5,970,068 in tracking, at 16 channels and 20 joints.

    Parameters
    ----------
    n_lstm_layers : int
        Layers of the LSTM.

    position_seconds : float
        With ``mode="regression"``, time for which the LSTM gives the pose itself;
        rounded to whole steps (12 as published).

    output_scale : float
        What the LSTM's output is multiplied by.

    gradient_clip : float or "auto"
        Largest norm of the gradient. None does not clip; ``"auto"`` is, as published,
        1.0 in tracking and None in regression.

    See Also
    --------
    EMG2Pose : Predicts poses with an MLP.
    PoseT : The same task with the transformer of :class:`MAE`.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_cpep import VEMG2Pose
    >>> X, P = np.random.default_rng(0).normal(size=(2, 16, 8, 200))
    >>> model = VEMG2Pose("tracking", sfreq=100, d_model=32, d_features=8,
    ...     d_hidden=16, max_epochs=1, random_state=0).fit(X, P)
    >>> model.predict(X, initial_pose=P[:, :, model.pose_start_]).shape
    (16, 8, 200)
    """

    n_lstm_layers: Size = 2
    position_seconds: Amount = 0.25
    gradient_clip: (
        Annotated[Literal["auto"], StrOptions({"auto"})] | Positive | None
    ) = "auto"

    def _decoder(self) -> dict[str, Any]:
        return {
            "decoder": "lstm",
            "output": "velocity" if self.mode == "tracking" else "hybrid",
            "n_lstm_layers": self.n_lstm_layers,
            "position_seconds": self.position_seconds,
        }

    def _plan(self) -> TrainingPlan:
        plan = super()._plan()
        if self.gradient_clip != "auto":
            return plan
        return replace(plan, gradient_clip=1.0 if self.mode == "tracking" else None)

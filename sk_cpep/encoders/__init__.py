"""The method's estimators: masked autoencoder and pose-EMG alignment."""

from ._cpep import CPEP
from ._mae import MAE

__all__ = ["CPEP", "MAE"]

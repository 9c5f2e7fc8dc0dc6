"""Reader of Ninapro: forearm EMG and a data glove."""

from ._load import load_ninapro_db1

__all__ = ["load_ninapro_db1"]

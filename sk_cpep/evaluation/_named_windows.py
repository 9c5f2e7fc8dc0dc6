"""Windows that encoders are fitted to, and that are named, inside a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length

from .._ids import as_column, read_comparable
from .._typing import AnyArray
from ..zero_shot._encoder import steps_of
from ._encoder_steps import check_embeddings, find_windower
from ._gesture_windows import GestureWindows


@dataclass
class NamedWindows:
    """Windows of everybody.

    Parameters
    ----------
    windows : GestureWindows
        All, also those that are not named.

    rows : int ndarray of shape (n_named,)
        Those that are named.

    embeds_poses : bool
        Whether poses are embedded too.
    """

    windows: GestureWindows
    rows: AnyArray
    embeds_poses: bool

    @property
    def y(self) -> AnyArray:
        """Gestures of the windows that are named."""
        return self.windows.y[self.rows]

    @property
    def users(self) -> AnyArray:
        """People of the windows that are named."""
        return self.windows.users[self.rows]

    def training(self, held_out: Any, unseen: Sequence[Any]) -> tuple[Any, Any]:
        """EMG and pose windows that an encoder may be fitted to.

        Parameters
        ----------
        held_out : sequence of ids
            People who are left out.

        unseen : sequence
            Gestures that are left out.
        """
        users, held_out = read_comparable({"users": self.windows.users, "cv": held_out})
        allowed = ~np.isin(users, held_out) & ~np.isin(self.windows.y, list(unseen))
        if not allowed.any():
            raise ValueError(
                f"Without {held_out.tolist()} and the gestures unseen={list(unseen)}, "
                "no window is left to fit the encoder to."
            )
        chosen = self.windows.select(np.flatnonzero(allowed))
        return chosen.X, chosen.P

    def embed(self, encoder: Any) -> GestureWindows:
        """The windows that are named, embedded.

        Parameters
        ----------
        encoder : fitted encoder, callable or None
            None leaves them as they are.
        """
        named = self.windows
        if len(self.rows) < len(named):
            named = named.select(self.rows)
        Z, V = named.X, named.P if self.embeds_poses else None
        if encoder is not None:
            embed = encoder.transform if hasattr(encoder, "transform") else encoder
            Z = embed(Z)
            V = None if V is None else steps_of(encoder)[-1].transform_pose(V)
        return GestureWindows(
            check_embeddings(Z, len(named), "EMG"),
            None if V is None else check_embeddings(V, len(named), "pose"),
            named.y,
            named.users,
        )


def read_windows(
    X: Any,
    P: Any,
    y: Any,
    users: Any,
    encoder: Any,
    rest: Any,
    fitted: bool,
    embeds_poses: bool,
) -> NamedWindows:
    """Read windows, with the gesture and the person of each.

    Parameters
    ----------
    X, P, y, users : array-likes with one entry for each window
        `P` may be None.

    encoder, rest
        As of :func:`linear_probe`.

    fitted : bool
        Whether the encoder is used as it is.

    embeds_poses : bool
        Whether poses are embedded too.
    """
    if not fitted and find_windower(encoder) is not None:
        raise ValueError(
            "The encoder cuts recordings with a Windower, but y has one label each. "
            "Give recordings, with a label per sample of each: y is then a list of "
            "arrays of shape (n_times_i,). Or give windows, to an encoder without a "
            "Windower."
        )
    X, P = (a if a is None or hasattr(a, "shape") else np.asarray(a) for a in (X, P))
    y, users = as_column(y, "y"), as_column(users, "users")
    check_consistent_length(
        *(np.empty(len(a)) for a in (X, P, y, users) if a is not None)
    )
    named = np.ones(len(y), bool)
    if rest is not None and not (isinstance(rest, str) and rest == "auto"):
        named = np.array([label != rest for label in y.tolist()])
        if named.all():
            raise ValueError(
                f"rest={rest!r}, but no window is of that name. None names all windows."
            )
    windows = GestureWindows(X, P, y, users)
    return NamedWindows(windows, np.flatnonzero(named), embeds_poses)

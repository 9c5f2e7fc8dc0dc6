"""What the estimators share that learn from windows alone."""

from dataclasses import asdict
from typing import Any, Self

from numpy.typing import ArrayLike
from torch import nn

from .._callback_support import end_task, fit_task, whole_fit
from .._typing import WindowsLike
from ..nn import Augmentation
from ..training import new_module, seeded
from ._encoder_protocol import EncoderMixin
from ._epoch_hook import epoch_hook
from ._fit_run import FitRun
from ._identity import FitIdentity, identify, starting_generator
from ._trained_estimator import CosineTraining
from ._training_plan import training_plan
from ._validation_rows import held_out_rows, read_sets, recordings_of
from ._windows import Windows, read_groups, read_windows


class SelfSupervised(EncoderMixin, CosineTraining):
    """Base of the estimators that learn from windows alone.

    A subclass has ``_settle()``, which settles the sizes of the network,
    ``_build_module()``, which makes it, and ``_make_objective(module)``, which says
    what it is trained to do.
    """

    @whole_fit
    def fit(
        self,
        X: WindowsLike,
        y: object = None,
        groups: ArrayLike | None = None,
        validation_groups: ArrayLike | None = None,
        augment: Augmentation | None = None,
    ) -> Self:
        """Train on windows.

        Parameters
        ----------
        y : Ignored
            Present for API consistency.

        augment : sk_cpep.nn.Augmentation, default=None
            Changes every batch of windows at random. None changes nothing.

        Raises
        ------
        ValueError
            If the network cannot be made for these windows, the loss is no longer
            finite, or all checkpoints of this fit in `run_dir` are damaged.
        """
        recordings = recordings_of(X)
        X = read_windows(self, X, reset=True)
        self._settle()
        augment = augment or Augmentation()
        groups = read_groups(groups, X)
        sets = read_sets(validation_groups, X, groups, recordings)
        plan = training_plan(self)
        task = fit_task(self, self.max_epochs)
        rng = starting_generator(self, plan)
        self.fit_identity_: FitIdentity = identify(
            self,
            plan,
            rng,
            X=X,
            validation_groups=sets,
            facts={"augment": asdict(augment)},
        )
        valid_rows = held_out_rows(sets, plan, rng)
        with seeded(rng.randint(2**31)) as generator:
            module, objective = new_module(self._build, generator)
            self.history_: list[dict[str, Any]] = []
            if objective is not None:
                objective.augment = augment
                self.history_ = FitRun(self, plan, self.fit_identity_).train(
                    objective,
                    lambda: [X],
                    rng=rng,
                    valid_rows=valid_rows,
                    finish=lambda history: self._finish(history, X),
                    description=f"{type(self).__name__} ({self.n_channels_in_} channels)",
                    callbacks=[*(self.callbacks or ()), epoch_hook(task, self)],
                )
        self.module_: Any = module.eval()
        self.n_iter_: int = len(self.history_)
        end_task(task, self)
        return self

    def _build(self) -> tuple[nn.Module, Any]:
        """Make the network, and what it is trained to do."""
        module = self._build_module()
        return module, self._make_objective(module)

    def _settle(self) -> None:
        """Settle the sizes of the network."""
        raise NotImplementedError

    def _finish(self, history: list[dict[str, Any]], X: Windows) -> None:
        """Add to the history of a training what it has learned, before it is kept."""

    def _build_module(self) -> nn.Module:
        """Make the network."""
        raise NotImplementedError

    def _make_objective(self, module: Any) -> nn.Module | None:
        """What the network is trained to do; None for nothing."""
        raise NotImplementedError

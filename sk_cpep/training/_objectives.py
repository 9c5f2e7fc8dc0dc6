"""What a network is trained to do: from a batch to the loss.

What is drawn at random, without gradients, is apart from the rest, which can be
compiled: ``forward(*batch, generator) = compute(*draw(*batch, generator))``.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nn import Augmentation, MaskedAutoencoder, PoseEMGAlignment, WindowClassifier
from ..nn._losses import Gather

Generator: TypeAlias = torch.Generator | None


class Objective(nn.Module):
    """Base of the objectives: a module whose output is the loss of a batch.

    A subclass keeps the network that it trains as an attribute, and has
    ``compute(x, *others)``, which gives the loss of a batch that was augmented: the
    mean over its windows, a scalar tensor. One that draws random numbers of its own,
    such as masks, does so in :meth:`draw`.

    Attributes
    ----------
    augment : callable
        ``augment(x, generator)`` changes EMG windows (B, C, T) at random.

    half_weights : bool
        Whether the network may run on weights in bfloat16; else, in that precision,
        only its matrix products do (autocast).

    float32_weights : tuple of str
        Beginnings of the names of weights that stay float32 then.
    """

    compute: Callable[..., Tensor]
    half_weights: bool = False
    float32_weights: tuple[str, ...] = ()

    def __init__(self, augment: Augmentation | None = None) -> None:
        super().__init__()
        self.augment: Augmentation = augment or Augmentation()

    def draw(
        self, x: Tensor, *others: Tensor, generator: Generator = None
    ) -> tuple[Tensor, ...]:
        """Augment windows (B, C, T) while training; what is paired with them stays."""
        return (self.augment(x, generator) if self.training else x), *others

    def forward(self, *batch: Tensor, generator: Generator = None) -> Tensor:
        """Loss of a batch, a scalar tensor."""
        return self.compute(*self.draw(*batch, generator=generator))

    def constrain(self) -> None:
        """Bring weights back to where they may be, after a step of the optimizer."""


class Reconstruction(Objective):
    """Rebuild the hidden tokens of (augmented) windows.

    Parameters
    ----------
    autoencoder : MaskedAutoencoder

    augment : Augmentation, default=None
        None changes nothing.
    """

    def __init__(
        self, autoencoder: MaskedAutoencoder, augment: Augmentation | None = None
    ) -> None:
        super().__init__(augment)
        self.autoencoder = autoencoder
        self.half_weights: bool = getattr(autoencoder, "half_weights", False)

    def draw(
        self, x: Tensor, *others: Tensor, generator: Generator = None
    ) -> tuple[Tensor, ...]:
        """Augment windows (B, C, T), and draw which of their tokens are hidden."""
        (x,) = super().draw(x, generator=generator)
        return x, *self.autoencoder.draw_tokens(x, generator)

    def compute(self, x: Tensor, kept: Tensor, hidden: Tensor) -> Tensor:
        """Loss of windows (B, C, T) whose tokens `hidden` (B, M) are hidden."""
        return self.autoencoder.loss(x, kept, hidden)


class Alignment(Objective):
    """Pull (augmented) EMG windows towards their poses.

    Parameters
    ----------
    alignment : PoseEMGAlignment

    augment : Augmentation, default=None
        None changes nothing.

    poses_embedded : bool
        Whether batches hold embeddings of poses (B, D) instead of poses (B, J, T):
        a frozen pose encoder embeds them once, not once an epoch.

    train_emg : bool
        Whether the EMG encoder trains; the head always does.

    gather : callable, default=None
        Where batches are shared among processes; see :func:`~sk_cpep.nn.info_nce`.
    """

    # An error of the projection is multiplied by 1 / temperature.
    float32_weights: tuple[str, ...] = (
        "alignment.head",
        "alignment.log_scale",
        "alignment.pose_mean",
        "alignment.criterion",
    )

    def __init__(
        self,
        alignment: PoseEMGAlignment,
        augment: Augmentation | None = None,
        *,
        poses_embedded: bool,
        train_emg: bool,
        gather: Gather | None = None,
    ) -> None:
        super().__init__(augment)
        self.alignment = alignment
        self.poses_embedded = poses_embedded
        self.gather = gather
        self.trains: dict[str, bool] = {
            "emg_encoder": train_emg,
            "pose_encoder": not poses_embedded,
        }
        used = ("emg_encoder",) if poses_embedded else tuple(self.trains)
        self.half_weights: bool = all(
            getattr(alignment.get_submodule(name), "half_weights", False)
            for name in used
        )
        for name, trains in self.trains.items():
            alignment.get_submodule(name).requires_grad_(trains)

    def train(self, mode: bool = True) -> "Alignment":
        """Frozen encoders stay in evaluation mode."""
        super().train(mode)
        for name, trains in self.trains.items():
            self.alignment.get_submodule(name).train(mode and trains)
        return self

    def constrain(self) -> None:
        """Keep the temperature from falling below its least."""
        self.alignment.constrain()

    def compute(self, x: Tensor, p: Tensor) -> Tensor:
        """Loss of a batch of EMG (B, C, T) and poses or their embeddings."""
        v = p if self.poses_embedded else self.alignment.embed_pose(p)
        return self.alignment.loss(x, v, self.gather)


class PoseNetwork(Protocol):
    """What :class:`PoseRegression` trains.

    Attributes
    ----------
    pose_start : int
        The first sample of the pose that is predicted.

    needs_initial_pose : bool
        Whether the network is told the pose at that sample.
    """

    @property
    def pose_start(self) -> int: ...

    @property
    def needs_initial_pose(self) -> bool: ...

    def __call__(self, x: Tensor, initial_pose: Tensor | None) -> Tensor:
        """Predict the pose (B, J, T_p) of windows (B, C, T), from `pose_start` on."""
        ...


class PoseRegression(Objective):
    """Predict the poses of (augmented) EMG windows.

    Parameters
    ----------
    network : PoseNetwork

    loss : callable
        Of predicted pose, true pose and mask.

    augment : Augmentation, default=None
        None changes nothing.
    """

    def __init__(
        self,
        network: PoseNetwork,
        loss: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__(augment)
        self.network = network
        self.loss = loss

    def compute(self, x: Tensor, p: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of a batch of EMG (B, C, T) and poses (B, J, T_p).

        Samples at which a mask (B, T_p) is 0 do not count; nor do windows whose
        initial pose is needed and is such a sample.
        """
        p = p[:, :, self.network.pose_start :]
        mask = None if mask is None else mask[:, self.network.pose_start :] > 0
        initial_pose = None
        if self.network.needs_initial_pose:
            initial_pose = p[:, :, 0]
            mask = None if mask is None else mask & mask[:, :1]
        return self.loss(self.network(x, initial_pose), p, mask)


class Classification(Objective):
    """Name the classes of (augmented) EMG windows.

    Parameters
    ----------
    network : WindowClassifier

    augment : Augmentation, default=None
        None changes nothing.

    class_weights : float32 tensor of shape (n_classes,), default=None
        What the loss of a window is multiplied by. None is 1 for all.

    label_smoothing : float, default=0.0
        Share of the target that all classes have in equal parts.
    """

    float32_weights: tuple[str, ...] = ("network.head", "class_weights")

    def __init__(
        self,
        network: WindowClassifier,
        augment: Augmentation | None = None,
        *,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(augment)
        self.network = network
        self.label_smoothing = label_smoothing
        self.half_weights: bool = getattr(network.encoder, "half_weights", False)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights)

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss of a batch of EMG (B, C, T) and the numbers of its classes (B,)."""
        y = y.long()
        losses = F.cross_entropy(
            self.network(x), y, reduction="none", label_smoothing=self.label_smoothing
        )
        if self.class_weights is not None:
            losses = self.class_weights[y] * losses
        return losses.mean()

"""What is wrong with predicted poses: angles, and where the fingertips end up."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ._hand_model import HandModel


def mean_absolute_error(
    pose: Tensor, target: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean absolute difference of angles over the valid samples.

    Parameters
    ----------
    pose, target : tensors of shape (B, J, T)
        In radians.

    mask : bool tensor of shape (B, T), default=None
        True where the target is valid. None is everywhere.

    Returns
    -------
    loss : scalar tensor
    """
    return masked_mean((pose - target).abs().mean(dim=1), mask)


def mean_squared_error(
    pose: Tensor, target: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean squared difference of angles; see :func:`mean_absolute_error`."""
    return masked_mean((pose - target).square().mean(dim=1), mask)


def fingertip_distance(
    hand: HandModel, pose: Tensor, target: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean distance of the fingertips from where they should be.

    Parameters
    ----------
    hand : HandModel

    pose, target, mask
        As :func:`mean_absolute_error`, with 20 joints.

    Returns
    -------
    loss : scalar tensor
        In the unit of the hand model, mm as published.
    """
    tips, true_tips = (hand.tips(a.transpose(1, 2)) for a in (pose, target))
    distance = torch.linalg.vector_norm(tips - true_tips, dim=-1)  # (B, T, 5)
    return masked_mean(distance.mean(dim=2), mask)


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of values (B, T) where the mask is True; 0 where it nowhere is."""
    if mask is None:
        return values.mean()
    mask = mask.to(values.dtype)
    return torch.where(mask > 0, values, 0).sum() / mask.sum().clamp(min=1)


class PoseLoss(nn.Module):
    """Error of the angles and, with a hand model, of the fingertips.

    Parameters
    ----------
    error : callable, default=mean_absolute_error
        Of pose, target and mask.

    hand : HandModel, default=None
        None leaves the fingertips out.

    weight : float, default=0.01
        Of the fingertip distance in mm; published.

    every : int, default=40
        Fingertips are compared on every such sample; as published 40, of 2000 Hz.
    """

    def __init__(
        self,
        error: Callable[[Tensor, Tensor, Tensor | None], Tensor] = mean_absolute_error,
        hand: HandModel | None = None,
        weight: float = 0.01,
        every: int = 40,
    ) -> None:
        super().__init__()
        self.error = error
        self.hand = hand
        self.weight = weight
        self.every = every

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of what is added up."""
        error = "squared angle" if self.error is mean_squared_error else "angle"
        return (error,) if self.hand is None else (error, "fingertip")

    def forward(
        self, pose: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Loss of a batch of poses (B, J, T); a mask is (B, T), True where valid."""
        loss = self.error(pose, target, mask)
        if self.hand is None:
            return loss
        few = slice(None, None, self.every)
        mask = None if mask is None else mask[:, few]
        tips = fingertip_distance(self.hand, pose[:, :, few], target[:, :, few], mask)
        return loss + self.weight * tips

"""What a network is trained to do: from a batch to the loss."""

from torch import nn


class Reconstruction(nn.Module):
    """Rebuild the hidden tokens of (augmented) windows.

    Parameters
    ----------
    autoencoder : MaskedAutoencoder

    augment : Augmentation
    """

    def __init__(self, autoencoder, augment):
        super().__init__()
        self.autoencoder = autoencoder
        self.augment = augment

    def forward(self, x, generator=None):
        """Loss of a batch of shape (B, C, T)."""
        if self.training:
            x = self.augment(x, generator)
        return self.autoencoder(x, generator)


class Alignment(nn.Module):
    """Pull (augmented) EMG windows towards their poses.

    Parameters
    ----------
    alignment : PoseEMGAlignment

    augment : Augmentation

    poses_embedded : bool
        Whether batches hold embeddings of poses (B, D) instead of poses (B, J, T):
        a frozen pose encoder embeds them once, not once an epoch.

    train_emg : bool
        Whether the EMG encoder trains; the head always does.
    """

    def __init__(self, alignment, augment, *, poses_embedded, train_emg):
        super().__init__()
        self.alignment = alignment
        self.augment = augment
        self.poses_embedded = poses_embedded
        self.train_emg = train_emg
        alignment.emg_encoder.requires_grad_(train_emg)
        alignment.pose_encoder.requires_grad_(not poses_embedded)

    def train(self, mode=True):
        """Frozen encoders stay in evaluation mode."""
        super().train(mode)
        self.alignment.emg_encoder.train(mode and self.train_emg)
        self.alignment.pose_encoder.train(mode and not self.poses_embedded)
        return self

    def forward(self, x, p, generator=None):
        """Loss of a batch of EMG (B, C, T) and poses or their embeddings."""
        if self.training:
            x = self.augment(x, generator)
        v = p if self.poses_embedded else self.alignment.embed_pose(p)
        return self.alignment.loss(x, v)


class PoseRegression(nn.Module):
    """Predict the poses of (augmented) EMG windows.

    Parameters
    ----------
    network : torch.nn.Module
        ``network(x, initial_pose)`` predicts the pose from its sample
        ``network.pose_start`` on; ``network.needs_initial_pose`` says whether it is
        told the pose at that sample.

    loss : callable
        Of predicted pose, true pose and mask.

    augment : Augmentation
    """

    def __init__(self, network, loss, augment):
        super().__init__()
        self.network = network
        self.loss = loss
        self.augment = augment

    def forward(self, x, p, mask=None, generator=None):
        """Loss of a batch of EMG (B, C, T) and poses (B, J, T_p).

        Samples at which a mask (B, T_p) is 0 do not count; nor do windows whose
        initial pose is needed and is such a sample.
        """
        if self.training:
            x = self.augment(x, generator)
        p = p[:, :, self.network.pose_start :]
        mask = None if mask is None else mask[:, self.network.pose_start :] > 0
        initial_pose = None
        if self.network.needs_initial_pose:
            initial_pose = p[:, :, 0]
            mask = None if mask is None else mask & mask[:, :1]
        return self.loss(self.network(x, initial_pose), p, mask)

"""What a network is trained to do: from a batch to the loss.

What is drawn at random, without gradients, is apart from the rest, which can be
compiled: ``forward(*batch, generator) = compute(*draw(*batch, generator))``.
"""

from torch import nn


class Objective(nn.Module):
    """Base of the objectives.

    Attributes
    ----------
    half_weights : bool
        Whether the network may run on weights in bfloat16; else, in that precision,
        only its matrix products do (autocast).

    float32_weights : tuple of str
        Beginnings of the names of weights that stay float32 then.
    """

    half_weights = False
    float32_weights = ()

    def forward(self, *batch, generator=None):
        """Loss of a batch, a scalar tensor."""
        return self.compute(*self.draw(*batch, generator=generator))

    def constrain(self):
        """Bring weights back to where they may be, after a step of the optimizer."""


class Reconstruction(Objective):
    """Rebuild the hidden tokens of (augmented) windows.

    Parameters
    ----------
    autoencoder : MaskedAutoencoder

    augment : Augmentation
    """

    half_weights = True

    def __init__(self, autoencoder, augment):
        super().__init__()
        self.autoencoder = autoencoder
        self.augment = augment

    def draw(self, x, generator=None):
        """Augment windows (B, C, T), and draw which of their tokens are hidden."""
        if self.training:
            x = self.augment(x, generator)
        return x, *self.autoencoder.draw_tokens(x, generator)

    def compute(self, x, kept, hidden):
        """Loss of windows (B, C, T) whose tokens `hidden` (B, M) are hidden."""
        return self.autoencoder.loss(x, kept, hidden)


class Alignment(Objective):
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

    gather : callable, default=None
        Where batches are shared among processes; see :func:`~sk_cpep.nn.info_nce`.
    """

    half_weights = True
    # An error of the projection is multiplied by 1 / temperature.
    float32_weights = ("alignment.head", "alignment.log_scale", "alignment.pose_mean")

    def __init__(self, alignment, augment, *, poses_embedded, train_emg, gather=None):
        super().__init__()
        self.alignment = alignment
        self.augment = augment
        self.poses_embedded = poses_embedded
        self.train_emg = train_emg
        self.gather = gather
        alignment.emg_encoder.requires_grad_(train_emg)
        alignment.pose_encoder.requires_grad_(not poses_embedded)

    def train(self, mode=True):
        """Frozen encoders stay in evaluation mode."""
        super().train(mode)
        self.alignment.emg_encoder.train(mode and self.train_emg)
        self.alignment.pose_encoder.train(mode and not self.poses_embedded)
        return self

    def draw(self, x, p, generator=None):
        """Augment EMG (B, C, T); poses or their embeddings stay."""
        return (self.augment(x, generator) if self.training else x), p

    def constrain(self):
        """Keep the temperature from falling below its least."""
        self.alignment.constrain()

    def compute(self, x, p):
        """Loss of a batch of EMG (B, C, T) and poses or their embeddings."""
        v = p if self.poses_embedded else self.alignment.embed_pose(p)
        return self.alignment.loss(x, v, self.gather)


class PoseRegression(Objective):
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

    def draw(self, x, *pose, generator=None):
        """Augment EMG (B, C, T); poses and their mask stay."""
        return (self.augment(x, generator) if self.training else x), *pose

    def compute(self, x, p, mask=None):
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

"""Small networks, for tests of what trains them."""

from sk_cpep.nn import Encoder, MAEConfig, MaskedAutoencoder, PoseEMGAlignment

SIZES = dict(patch_length=4, d_model=8, n_layers=1, n_decoder_layers=1, n_heads=2)


def autoencoder(n_channels=3, n_times=16, **sizes):
    """Make an autoencoder of such windows."""
    return MaskedAutoencoder(MAEConfig(n_channels, n_times, **SIZES | sizes))


def alignment(emg=(3, 16), pose=(2, 12), config=None, **sizes):
    """Make an alignment of windows of such channels and times."""
    encoders = (Encoder(MAEConfig(*shape, **SIZES | sizes)) for shape in (emg, pose))
    return PoseEMGAlignment(*encoders, config)

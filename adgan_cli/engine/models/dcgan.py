"""DCGAN's generator and critic (Radford et al., 2015), for images of 16 to 256 pixels.

Letters in the shapes: N images, Z latent dimensions (the paper's d'), C channels, S size.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from adgan_cli.config import ModelConfig
from adgan_cli.engine.distributed import SharedBatchNorm


class Generator(nn.Module):
    """g_theta: latent vectors to images, z: (N, Z) -> (N, C, S, S) in [-1, 1].

    A first 4 x 4 transposed convolution of the latent vector, then one that doubles the side per
    layer; batch norm and ReLU after each but the last, which ends in tanh.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        maps = config.feature_maps()
        self.first = nn.ConvTranspose2d(config.latent_dim, maps[0], 4, 1, 0, bias=False)
        self.norms = nn.ModuleList(SharedBatchNorm(m) for m in maps)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False)
            for i, o in zip(maps, [*maps[1:], config.channels], strict=True)
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.first.weight.device

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z[:, :, None, None])  # (N, M, 4, 4)
        for norm, up in zip(self.norms, self.ups, strict=True):
            h = up(norm(h).relu())  # (N, M / 2, 2 s, 2 s)
        return h.tanh()  # (N, C, S, S)


class Critic(nn.Module):
    """d_omega of eq. (2): x: (N, C, S, S) -> (N,), unbounded; the generator's mirror image.

    `batch_norm` as in the reference WGAN; WGAN-GP must do without, because its penalty is on the
    gradient of each image alone (Gulrajani et al., 2017, section 4).
    """

    def __init__(self, config: ModelConfig, *, batch_norm: bool) -> None:
        super().__init__()
        maps = config.feature_maps()[::-1]
        layers: list[nn.Module] = []
        for i, o in zip([config.channels, *maps], maps, strict=False):
            layers.append(nn.Conv2d(i, o, 4, 2, 1, bias=not batch_norm))
            if batch_norm and i != config.channels:  # none on the first layer, as DCGAN
                layers.append(SharedBatchNorm(o))
            layers.append(nn.LeakyReLU(0.2))
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(maps[-1], 1, 4, 1, 0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x)).flatten()  # (N, M, 4, 4) -> (N,)

    def features(self, x: Tensor) -> Tensor:
        """Compute what the last layer is linear in, x: (N, C, S, S) -> (N, 16 M)."""
        return self.body(x).flatten(1)


class Encoder(nn.Module):
    """The generator's mirror image, x: (N, C, S, S) -> (N, outputs); linear in its last layer."""

    def __init__(self, shape: ModelConfig, outputs: int) -> None:
        super().__init__()
        maps = shape.feature_maps()[::-1]
        layers: list[nn.Module] = []
        for i, o in zip([shape.channels, *maps], maps, strict=False):
            layers += [nn.Conv2d(i, o, 4, 2, 1, bias=False), SharedBatchNorm(o), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(maps[-1], outputs, 4, 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x)).flatten(1)


def mean_encoder(encoder: Encoder, shape: ModelConfig) -> Encoder:
    """Copy of a VAE's encoder what gives the means, (N, 2 Z) -> (N, Z); eval mode, no gradients."""
    state = encoder.state_dict()
    for name in ("last.weight", "last.bias"):
        state[name] = state[name][: shape.latent_dim]
    means = Encoder(shape, shape.latent_dim)
    means.load_state_dict(state)
    return means.to(encoder.last.weight.device).eval().requires_grad_(False)


def init_weights(network: nn.Module, rng: torch.Generator) -> None:
    """Draw DCGAN's first weights: N(0, 0.02), batch-norm gamma N(1, 0.02), zeros elsewhere."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=rng)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02, generator=rng)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def fold_batch_norm(generator: Generator) -> nn.Sequential:
    """Merge batch norm, as it is in eval mode, into the convolutions; channels last is fastest."""
    layers: list[nn.Module] = [nn.Unflatten(1, (-1, 1, 1))]
    for convolution, norm in zip([generator.first, *generator.ups], generator.norms, strict=False):
        assert isinstance(norm, nn.BatchNorm2d)
        fused = fuse_conv_bn_eval(convolution.eval(), norm.eval(), transpose=True)
        layers += [fused, nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, generator.ups[-1], nn.Tanh()).requires_grad_(False)
    return network.to(memory_format=torch.channels_last)

"""The objectives a generator can be trained on: each is its equation and its recipe."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.losses import GREY_LEVEL, laplacian
from adgan_cli.engine.models.dcgan import Critic, Encoder

MMD_SCALES = 0.125, 0.5, 2.0, 8.0, 32.0  # of the kernels' bandwidths, see `mmd`


@dataclass(frozen=True)
class Objective:
    """What the training loop needs to know of an objective.

    critic_loss(critic, real, fake, mix) gives the scalar to minimise and the distance it
    estimates, generator_loss(critic, real, fake) the other scalar to minimise; real and fake:
    (N, C, S, S) in [-1, 1], mix: (N, 1, 1, 1) uniform in [0, 1), for those that interpolate. The
    distance is 0 where real and fake cannot be told apart.

    held_out(generator, partner, real, noise) gives a scalar for pictures that are not trained on,
    (N, C, S, S), and as many latent vectors, (N, Z): the less, the better generated and real ones
    agree. It is the distance, where that can be told of such pictures.

    Without critic steps the generator's loss is the distance. With a joint_loss nobody competes:
    joint_loss(generator, partner, real, which, noise) is what both networks minimise together;
    which: (N,), the numbers of the real pictures in the training set, noise: (N, Z) normal.
    """

    generator_loss: Callable[[nn.Module, Tensor, Tensor], Tensor]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    critic_steps: Callable[[int], int]  # of generator step 0, 1, ...
    measure: str  # what the distance is called
    partner: Callable[[ModelConfig, int], nn.Module]  # of the generator, for so many pictures
    held_out: Callable[[nn.Module, nn.Module, Tensor, Tensor], Tensor]
    critic_loss: Callable[[nn.Module, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    joint_loss: Callable[[nn.Module, nn.Module, Tensor, Tensor, Tensor], Tensor] | None = None
    partner_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None  # if another
    before_critic_step: Callable[[nn.Module], None] = lambda critic: None
    farthest: Callable[[ModelConfig], float] = lambda config: math.inf  # sane distances

    @property
    def has_critic(self) -> bool:
        """Whether the partner is a critic, and trained."""
        return self.critic_steps(0) > 0


def objective(config: TrainConfig) -> Objective:
    """The objective that `config` names."""
    match config.objective:
        case "wgan":
            return wgan(config)
        case "wgan-gp":
            return wgan_gp(config)
        case "lsgan":
            return lsgan()
        case "mmd":
            return mmd()
        case "vae":
            return vae()
        case "glo":
            return glo()
        case _:
            return gan(saturating=config.objective == "gan-saturating")


def wasserstein(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """W of eq. (2), estimated on a batch: the critic's mean on real minus its mean on fake.

    Two passes, so that batch norm sees real and fake apart, as in the reference code.
    """
    return critic(real).float().mean() - critic(fake).float().mean()


def wgan(config: TrainConfig) -> Objective:
    """WGAN, Arjovsky et al. (2017), exactly as its reference code trains.

    RMSprop(5e-5); all critic parameters, batch norm's too, clamped before each critic step; 100
    critic steps during the first 25 generator steps and at every 500th.
    """

    def critic_loss(
        critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        distance = wasserstein(critic, real, fake)
        return -distance, distance

    def clamp(critic: nn.Module) -> None:
        with torch.no_grad():
            for weight in critic.parameters():
                weight.clamp_(-config.clip, config.clip)

    def critic_steps(step: int) -> int:
        return 100 if step < 25 or step % 500 == 0 else config.critic_steps

    return Objective(
        critic_loss=critic_loss,
        generator_loss=_minus_critic,
        optimizer=lambda parameters: RMSprop(parameters, lr=5e-5),
        critic_steps=critic_steps,
        partner=_critic(batch_norm=True),
        measure="Wasserstein",
        held_out=_told_by_critic(wasserstein),
        before_critic_step=clamp,
        farthest=_ten_diameters,
    )


def wgan_gp(config: TrainConfig) -> Objective:
    """WGAN-GP, Gulrajani et al. (2017), Algorithm 1: Adam(1e-4, 0, 0.9), penalty 10."""

    def critic_loss(
        critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        distance = wasserstein(critic, real, fake)
        return config.penalty * gradient_penalty(critic, real, fake, mix) - distance, distance

    return Objective(
        critic_loss=critic_loss,
        generator_loss=_minus_critic,
        optimizer=lambda parameters: Adam(parameters, lr=1e-4, betas=(0.0, 0.9)),
        critic_steps=lambda step: config.critic_steps,
        partner=_critic(batch_norm=False),
        measure="Wasserstein",
        held_out=_told_by_critic(wasserstein),
        farthest=_ten_diameters,
    )


def gan(*, saturating: bool) -> Objective:
    """GAN, eq. (1) of the paper, Goodfellow et al. (2014); DCGAN's Adam(2e-4, 0.5).

    The critic's output is the logit of its chance that a picture is real. By default the generator
    maximises log d(fake), which has slopes where it is far off (their section 3); saturating, it
    minimises log(1 - d(fake)), eq. (1) to the letter. The distance is twice the Jensen-Shannon
    divergence that this critic shows, at most 2 log 2.
    """

    def distance(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        # - log d(real) - log(1 - d(fake))
        loss = F.softplus(-critic(real).float()).mean() + F.softplus(critic(fake).float()).mean()
        return 2 * math.log(2) - loss

    def critic_loss(
        critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        found = distance(critic, real, fake)
        return 2 * math.log(2) - found, found

    def generator_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        logit = critic(fake).float()
        return -F.softplus(logit).mean() if saturating else F.softplus(-logit).mean()

    return Objective(
        critic_loss=critic_loss,
        generator_loss=generator_loss,
        optimizer=_dcgan_adam,
        critic_steps=lambda step: 1,
        partner=_critic(batch_norm=True),
        measure="2 JSD",
        held_out=_told_by_critic(distance),
    )


def lsgan() -> Objective:
    """LSGAN, Mao et al. (2017), eq. (9): the critic is drawn to 1 on real, to 0 on fake pictures.

    The generator draws it to 1. The distance is 1 - 4 times the critic's loss, 0 for one that says
    1/2 to everything, 1 for one that is right everywhere.
    """

    def loss(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        to_one, to_zero = critic(real).float() - 1, critic(fake).float()
        return (to_one.square().mean() + to_zero.square().mean()) / 2

    def critic_loss(
        critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor
    ) -> tuple[Tensor, Tensor]:
        found = loss(critic, real, fake)
        return found, 1 - 4 * found

    def generator_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return (critic(fake).float() - 1).square().mean() / 2

    return Objective(
        critic_loss=critic_loss,
        generator_loss=generator_loss,
        optimizer=_dcgan_adam,
        critic_steps=lambda step: 1,
        partner=_critic(batch_norm=True),
        measure="distance",
        held_out=_told_by_critic(lambda critic, real, fake: 1 - 4 * loss(critic, real, fake)),
    )


def mmd() -> Objective:
    """Generative moment matching, Li et al. (2015), eq. (5) and (7): no critic.

    The generator minimises the square root of the squared maximum mean discrepancy between a batch
    of its pictures and one of real ones, by a sum of Gaussian kernels. Their bandwidths are, where
    the authors tuned them, fixed multiples of the mean squared distance of the real pictures:
    narrow ones for detail, wide ones so that a picture far from all real ones has a slope too.
    Larger batches (-b 256) estimate it better.
    """

    def generator_loss(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return squared_mmd(real, fake.float()).clamp(min=1e-12).sqrt()

    return Objective(
        generator_loss=generator_loss,
        optimizer=_dcgan_adam,
        critic_steps=lambda step: 0,
        partner=_critic(batch_norm=True),
        measure="MMD",
        held_out=lambda generator, critic, real, noise: generator_loss(
            critic, real, generator(noise)
        ),
    )


def squared_mmd(real: Tensor, fake: Tensor) -> Tensor:
    """Squared maximum mean discrepancy, biased as in Li et al. (2015), eq. (5): scalar, at least 0.

    real, fake: (N, C, S, S).
    """
    x, y = real.flatten(1), fake.flatten(1)
    among_real, among_fake, between = (torch.cdist(a, b).square() for a, b in
                                       ((x, x), (y, y), (x, y)))  # fmt: skip
    # a small batch may hold one picture several times over: it then counts as a grey level apart
    unit = among_real.mean().detach().clamp(min=x.shape[1] * GREY_LEVEL**2)

    def kernel(squared: Tensor) -> Tensor:
        return torch.stack([(-squared / (scale * unit)).exp().mean() for scale in MMD_SCALES]).sum()

    return kernel(among_real) + kernel(among_fake) - 2 * kernel(between)


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """E (|grad d(x^)|_2 - 1)^2 at x^ between real and fake: (N, C, S, S) each -> scalar.

    mix: (N, 1, 1, 1), the share of the real picture in x^.
    """
    between = (fake + mix * (real - fake)).requires_grad_()  # x^
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.float().flatten(1).norm(dim=1) - 1).square().mean()


def vae() -> Objective:
    """VAE, Kingma and Welling (2014), eq. (10): the decoder becomes the generator.

    A Gaussian likelihood whose variance is the mean squared error of the batch, which is the most
    likely one (Rybkin et al., 2021, section 3.2): nothing is left to weigh by hand. The distance is
    the negative ELBO but for constants, in nats a picture, and may well be below 0.
    """

    def negative_elbo(
        generator: nn.Module, encoder: nn.Module, real: Tensor, noise: Tensor
    ) -> Tensor:
        mean, log_var = encoder(real).float().chunk(2, 1)
        y = generator(mean + (0.5 * log_var).exp() * noise).float()
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
        count = real[0].numel()
        return 0.5 * count * (y - real).square().mean().clamp(min=1e-12).log() + kl

    return Objective(
        generator_loss=_minus_critic,
        joint_loss=lambda generator, encoder, real, which, noise: negative_elbo(
            generator, encoder, real, noise
        ),
        optimizer=_dcgan_adam,
        critic_steps=lambda step: 0,
        partner=lambda config, pictures: Encoder(config, 2 * config.latent_dim),
        measure="-ELBO",
        held_out=negative_elbo,
    )


def glo() -> Objective:
    """GLO, Bojanowski et al. (2018), eq. (1): a latent vector a picture, learned as theta is.

    With their Laplacian loss, which is also the distance. They keep latent vectors in the unit
    ball; ours lie on the sphere of radius sqrt(Z), where the prior that the search draws from has
    nearly all of its mass. Pictures held out have no latent vectors, so MMD tells of those.
    """

    def reconstruction(
        generator: nn.Module, latents: nn.Module, real: Tensor, which: Tensor, noise: Tensor
    ) -> Tensor:
        return laplacian(generator(latents(which)).float(), real).mean()

    return Objective(
        generator_loss=_minus_critic,
        joint_loss=reconstruction,
        optimizer=lambda parameters: Adam(parameters, lr=1e-3, betas=(0.5, 0.999)),
        # a latent vector is seen once an epoch, theta in every step
        partner_optimizer=lambda parameters: Adam(parameters, lr=0.05, betas=(0.5, 0.999)),
        critic_steps=lambda step: 0,
        partner=Latents,
        measure="Laplacian",
        held_out=mmd().held_out,
    )


class Latents(nn.Module):
    """A latent vector for each picture, on the sphere of radius sqrt(Z): (N,) -> (N, Z)."""

    def __init__(self, config: ModelConfig, pictures: int) -> None:
        super().__init__()
        # from a generator of its own: the same start, whatever else draws random numbers
        rng = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(pictures, config.latent_dim, generator=rng))

    def forward(self, which: Tensor) -> Tensor:
        z = self.table[which]
        return F.normalize(z) * math.sqrt(z.shape[1])


def _critic(*, batch_norm: bool) -> Callable[[ModelConfig, int], nn.Module]:
    return lambda config, pictures: Critic(config, batch_norm=batch_norm)


def _told_by_critic(
    distance: Callable[[nn.Module, Tensor, Tensor], Tensor],
) -> Callable[[nn.Module, nn.Module, Tensor, Tensor], Tensor]:
    return lambda generator, critic, real, noise: distance(critic, real, generator(noise).float())


def _minus_critic(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return -critic(fake).float().mean()  # eq. (2), the part that depends on theta


def _dcgan_adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def _ten_diameters(config: ModelConfig) -> float:
    """No 1-Lipschitz critic tells two sets of pictures further apart than a tenth of this.

    Distributions in the cube [-1, 1]^(C S S) are at most its diameter 2 sqrt(C S S) apart.
    """
    return 20 * math.sqrt(config.channels) * config.size

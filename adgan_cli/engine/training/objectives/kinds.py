"""The two kinds of objective: two networks that compete, or one loss that all minimise.

Letters in the shapes: N images of a batch, Z latent dimensions, C channels, S size.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from adgan_cli.config import ModelConfig
from adgan_cli.engine.models.dcgan import Critic

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Adversarial:
    """Train a critic that tells real images from generated ones, and a generator against it.

    critic_loss(critic, real, fake) gives the scalar that the critic minimises and the distance from
    real to generated images that it shows, which is 0 where it cannot tell them apart.
    generator_loss(critic, fake) gives the scalar that the generator minimises. Both images are
    (N, C, S, S) in [-1, 1].
    """

    critic_loss: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
    generator_loss: Callable[[nn.Module, Tensor], Tensor]
    critic_steps: Callable[[int], int]  # before generator step 0, 1, ...
    optimizer: MakeOptimizer  # of both networks
    distance_name: str
    batch_norm: bool = True  # in the critic
    # penalty(critic, real, fake, epsilon), added to the critic's loss; epsilon: (N, 1, 1, 1)
    penalty: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor] | None = None
    before_critic_step: Callable[[nn.Module], None] | None = None
    max_distance: Callable[[ModelConfig], float] | None = None  # above, the critic has exploded

    def new_auxiliary(self, model: ModelConfig, n_images: int) -> nn.Module:
        """Make the critic."""
        return Critic(model, batch_norm=self.batch_norm)

    def new_auxiliary_optimizer(self, auxiliary: nn.Module) -> Optimizer:
        """Make the critic's optimizer."""
        return self.optimizer(auxiliary.parameters())


@dataclass(frozen=True)
class Batch:
    """What a reconstructive loss is taken of."""

    real: Tensor  # (N, C, S, S) in [-1, 1]
    noise: Tensor  # (N, Z) standard normal
    indices: Tensor | None = None  # (N,) of the real images in the training set; None: held out


@dataclass(frozen=True)
class Reconstructive:
    """Train the generator, and its auxiliary network if it has one, on one loss of both.

    loss(generator, auxiliary, batch) gives the scalar to minimise, which is the distance too.
    """

    loss: Callable[[nn.Module, nn.Module | None, Batch], Tensor]
    optimizer: MakeOptimizer
    distance_name: str
    auxiliary: Callable[[ModelConfig, int], nn.Module] | None = None  # for a number of images
    auxiliary_optimizer: MakeOptimizer | None = None  # None: as the generator's
    # where `loss` cannot be taken of images held out
    validation_loss: Callable[[nn.Module, nn.Module | None, Batch], Tensor] | None = None

    def new_auxiliary(self, model: ModelConfig, n_images: int) -> nn.Module | None:
        """Make the auxiliary network for so many training images, or None."""
        return self.auxiliary(model, n_images) if self.auxiliary else None

    def new_auxiliary_optimizer(self, auxiliary: nn.Module) -> Optimizer:
        """Make the auxiliary network's optimizer."""
        return (self.auxiliary_optimizer or self.optimizer)(auxiliary.parameters())


Objective = Adversarial | Reconstructive

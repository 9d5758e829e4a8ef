"""Where a training stands: its networks, their optimizers, the random state and the position."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.models.dcgan import Critic, Encoder, Generator, init_weights, mean_encoder
from adgan_cli.engine.training.batches import new_rng
from adgan_cli.engine.training.objectives import objective


@dataclass
class TrainState:
    """All that training needs to go on: what a checkpoint holds."""

    model_config: ModelConfig
    train_config: TrainConfig
    generator: Generator
    auxiliary: nn.Module | None  # critic, encoder or latent table; none for mmd
    ema: Generator  # exponential moving average of the generator's weights
    generator_optimizer: Optimizer
    auxiliary_optimizer: Optimizer | None
    rng: torch.Generator  # of the device on CUDA, else of the CPU; all that steps draw
    precision: str  # fp32 or bf16
    step: int = 0  # generator steps done
    critic_step: int = 0  # critic steps done since the last generator step
    # (generator step, the objective's loss or distance on images held out), less is better
    validation_log: list[tuple[int, float]] = field(default_factory=list)
    # lines that the user should see once, about how this process trains; not in a checkpoint
    notes: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return self.generator.device

    @property
    def critic(self) -> Critic | None:
        """The auxiliary network where it is a critic."""
        return self.auxiliary if isinstance(self.auxiliary, Critic) else None

    @property
    def encoder(self) -> Encoder | None:
        """The auxiliary network where it is an encoder: (N, C, S, S) -> (N, 2 Z)."""
        return self.auxiliary if isinstance(self.auxiliary, Encoder) else None

    def networks(self) -> list[nn.Module]:
        """List those that are trained: the generator and, if there is one, the auxiliary."""
        return [self.generator] if self.auxiliary is None else [self.generator, self.auxiliary]

    def named_networks(self) -> dict[str, nn.Module]:
        """Name the networks as in the file, where every auxiliary network is called critic."""
        auxiliary = {} if self.auxiliary is None else {"critic": self.auxiliary}
        return {"generator": self.generator, **auxiliary, "averaged": self.ema}

    def optimizers(self) -> dict[str, Optimizer]:
        """Name the optimizers as in the file."""
        auxiliary = self.auxiliary_optimizer
        critic = {} if auxiliary is None else {"critic_optimizer": auxiliary}
        return {"generator_optimizer": self.generator_optimizer, **critic}


def new_state(
    model_config: ModelConfig,
    train_config: TrainConfig,
    *,
    device: torch.device,
    precision: str,
    n_images: int = 0,
) -> TrainState:
    """Initialise networks and optimizers from the seed; n_images: in the training set (glo)."""
    rng = new_rng(torch.device("cpu"), train_config.seed)
    recipe = objective(train_config)
    generator, auxiliary = Generator(model_config), recipe.new_auxiliary(model_config, n_images)
    for network in (generator, auxiliary):
        if network is not None:
            init_weights(network, rng)  # on the CPU: the same start on every device
            network.to(device, memory_format=torch.channels_last)
    if device.type == "cuda":
        rng = new_rng(device, train_config.seed)
    return TrainState(
        model_config=model_config,
        train_config=train_config,
        generator=generator,
        auxiliary=auxiliary,
        ema=copy.deepcopy(generator).requires_grad_(False),
        generator_optimizer=recipe.optimizer(generator.parameters()),
        auxiliary_optimizer=None
        if auxiliary is None
        else recipe.new_auxiliary_optimizer(auxiliary),
        rng=rng,
        precision=precision,
    )


def ema_generator(state: TrainState, *, batches: int = 32) -> Generator:
    """Copy the averaged generator, with batch-norm statistics of its own, in eval mode.

    The running statistics of training belong to the last weights, not to the averaged ones, and
    the search uses batch norm in eval mode, so they are measured anew on `batches` batches from
    the prior. Leaves `state` as it is; the copy is on the same device.
    """
    generator = copy.deepcopy(state.ema)
    rng = torch.Generator().manual_seed(state.train_config.seed)
    update_bn((sample_latents(state, rng) for _ in range(batches)), generator)
    return generator.eval()


def kept_critic(state: TrainState) -> Critic | None:
    """Copy the critic, in eval mode without gradients; None where there is none."""
    return copy.deepcopy(state.critic).eval().requires_grad_(False) if state.critic else None


def learned_encoder(state: TrainState) -> Encoder | None:
    """Slice the encoder that was learned with the generator to its means; None without one."""
    return mean_encoder(state.encoder, state.model_config) if state.encoder else None


def sample_latents(state: TrainState, rng: torch.Generator) -> Tensor:
    """Draw a batch from the prior p_z: (batch, Z), standard normal."""
    shape = state.train_config.batch_size, state.model_config.latent_dim
    return torch.randn(shape, generator=rng, device=rng.device).to(state.device)


def parameter_count(network: nn.Module | None) -> int:
    """Count the numbers that `network` learns; none without one."""
    return 0 if network is None else sum(weight.numel() for weight in network.parameters())

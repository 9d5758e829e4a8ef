"""An approximate inverse of a trained generator: where the search may start, section 5.

The paper proposes ALI (Dumoulin et al., 2017), which learns the inverse with the generator. Ours is
learned after it, so that any generator can have one, and from both sides: E(G(z)) has to be z (the
latent regressor of Donahue et al., 2017), and G(E(x)) has to be x for a real image x (izi of
f-AnoGAN, Schlegl et al., 2019).
"""

import copy
from collections.abc import Callable

import torch
from torch.optim import Adam

from adgan_cli.engine.models.dcgan import Encoder, Generator, fold_batch_norm, init_weights
from adgan_cli.engine.training.trainer import TrainingData
from adgan_cli.errors import DivergedError

BATCH = 64
LR, BETAS = 1e-3, (0.5, 0.999)  # as our autoencoders are trained


def train_encoder(
    generator: Generator,
    data: TrainingData,
    iters: int,
    *,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    is_over: Callable[[], bool] | None = None,
) -> Encoder | None:
    """Learn E with G(E(x)) near x and E(G(z)) near z; the generator stays as it is.

    on_step(steps done, loss): the loss is the mean squared error of z, plus that of x in [-1, 1].
    is_over: asked before each step whether to end with the steps done so far. Returns E in eval
    mode, without gradients, or None where it was stopped before its end. Raises DivergedError.
    """
    config, device = generator.config, generator.device
    rng = torch.Generator().manual_seed(seed)
    encoder = Encoder(config, config.latent_dim)
    init_weights(encoder, rng)
    encoder.to(device, memory_format=torch.channels_last).train()
    fixed = fold_batch_norm(copy.deepcopy(generator))
    adam = Adam(encoder.parameters(), lr=LR, betas=BETAS)
    for step in range(1, iters + 1):
        if should_stop and should_stop():
            return None
        if is_over and is_over():
            break
        index = torch.randint(len(data), (BATCH,), generator=rng)
        real = data.images(index, device)
        z = torch.randn(BATCH, config.latent_dim, generator=rng).to(device)
        with torch.no_grad():
            generated = fixed(z)
        # one after the other, so that batch norm sees real and generated images apart
        loss_z = (encoder(generated) - z).square().mean()
        loss = loss_z + (fixed(encoder(real)) - real).square().mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        value = loss.item()
        if not value < float("inf"):
            raise DivergedError(f"the encoder diverged at step {step}; try another --seed")
        if on_step:
            on_step(step, value)
    return encoder.eval().requires_grad_(False)

"""An approximate inverse of a trained generator: where the search may start, section 5.

The paper proposes ALI (Dumoulin et al., 2017), which learns the inverse with the generator. Ours is
learnt after it, so that any generator can have one, and is drawn to the truth from both sides:
what the generator made of z has to come back as z (the latent regressor of Donahue et al., 2017),
and a real picture has to come back from the latent vector it was given (izi of f-AnoGAN, Schlegl et
al., 2019).
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Adam

from adgan_cli.engine.models.dcgan import Encoder, Generator, fold_batch_norm, init_weights
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.errors import DivergedError

BATCH = 64
LR, BETAS = 1e-3, (0.5, 0.999)  # as our autoencoders are trained


def train_encoder(
    generator: Generator,
    pixels: Tensor,
    iters: int,
    *,
    rows: Tensor | None = None,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Encoder:
    """Learn E with G(E(x)) near x and E(G(z)) near z; the generator stays as it is.

    pixels: uint8 (N, S, S, C); with `rows` (N,), picture i is pixels[rows[i]]. on_step: told of the
    steps done and of the loss: the mean squared error of z, plus that of x in [-1, 1].
    Returns it in eval mode, without gradients. Raises DivergedError.
    """
    config, device = generator.config, generator.first.weight.device
    rng = torch.Generator().manual_seed(seed)
    encoder = Encoder(config, config.latent_dim)
    init_weights(encoder, rng)
    encoder.to(device, memory_format=torch.channels_last).train()
    fixed = fold_batch_norm(copy.deepcopy(generator))
    adam = Adam(encoder.parameters(), lr=LR, betas=BETAS)
    for step in range(1, iters + 1):
        if should_stop():
            break
        index = torch.randint(len(pixels if rows is None else rows), (BATCH,), generator=rng)
        index = index if rows is None else rows[index]
        real = to_model_range(pixels[index.to(pixels.device)].to(device))
        z = torch.randn(BATCH, config.latent_dim, generator=rng).to(device)
        with torch.no_grad():
            made = fixed(z)
        # one after the other, so that batch norm sees real and made apart
        loss = (encoder(made) - z).square().mean() + (fixed(encoder(real)) - real).square().mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        told = loss.item()
        if not told < float("inf"):
            raise DivergedError(f"the encoder diverged at step {step}; try another --seed")
        if on_step:
            on_step(step, told)
    return encoder.eval().requires_grad_(False)

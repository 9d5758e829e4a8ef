"""In which numbers a search computes: what --precision comes to on a device.

Where theta moves, float32: other numbers swallow its steps of 5e-5. Where it stays, `auto` takes
TF32 on CUDA devices that have it, three to four times as fast: its 10 bits leave the images in
their order, and its scores so near those in float32 that both are compared with the same held-out
images. bfloat16 is faster still, by a third where the loss is plain and hardly where it is not, and
rounds eight times as coarsely: it has to be asked for. Losses are computed in float32 in any case.
"""

from dataclasses import replace

import torch

from adgan_cli.config import Precision, SearchConfig
from adgan_cli.engine.device import multiplies_tf32
from adgan_cli.errors import ConfigError


def effective_precision(config: SearchConfig, device: torch.device) -> Precision:
    """Resolve the precision of a search to fp32, tf32 or bf16.

    Decided from settings and hardware, not from a timing, so that two runs on one machine agree.
    Raises ConfigError for TF32 where the device has none.
    """
    if config.precision == "tf32" and not multiplies_tf32(device):
        raise ConfigError(
            f"--precision tf32: {device.type} does not multiply it, CUDA devices from compute "
            "capability 8.0 on do; try --precision auto"
        )
    if config.precision != "auto":
        return config.precision
    return "tf32" if not config.moves_theta and multiplies_tf32(device) else "fp32"


def as_computed(config: SearchConfig, device: torch.device) -> SearchConfig:
    """Replace the precision of a search by what it comes to on a device."""
    return replace(config, precision=effective_precision(config, device))

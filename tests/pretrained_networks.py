"""Tiny networks of timm with random weights, and a real one where its package is installed."""

from pathlib import Path

import torch
from safetensors.torch import save_file

TINY = "test_efficientnet"  # 0.4 M parameters, reads 160 pixels


def save_tiny_weights(
    folder: Path, *, name: str = TINY, suffix: str = ".safetensors", **more
) -> Path:
    """Write random weights of a network of timm, the same at every call, under its name."""
    weights = tiny_weights(name, **more)
    file = folder / f"{name}{suffix}"
    if suffix == ".safetensors":
        save_file(weights, file)
    else:
        torch.save(weights, file)
    return file


def tiny_weights(name: str = TINY, **more) -> dict[str, torch.Tensor]:
    """Random weights of a network of timm; its batch norms as if after training."""
    from adgan_cli.engine.features.timm_import import import_timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = import_timm().create_model(name, **more)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return {key: one.contiguous() for key, one in network.state_dict().items()}

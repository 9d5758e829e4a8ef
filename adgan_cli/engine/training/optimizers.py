"""The optimizers of training; on CUDA they can be captured: their counts are on the device too."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop


def adam(
    weights: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float] = (0.9, 0.999)
) -> Optimizer:
    """Make Adam, Kingma and Ba (2015); on CUDA a single kernel moves many weights."""
    weights = list(weights)
    cuda = _are_on_cuda(weights)
    return Adam(weights, lr=lr, betas=betas, capturable=cuda, fused=True if cuda else None)


def rmsprop(weights: Iterable[nn.Parameter], *, lr: float) -> Optimizer:
    """Make RMSprop, Tieleman and Hinton (2012), with torch's settings."""
    weights = list(weights)
    return RMSprop(weights, lr=lr, capturable=_are_on_cuda(weights))


def dcgan_adam(weights: Iterable[nn.Parameter]) -> Optimizer:
    """Make Adam with the settings of DCGAN, Radford et al. (2015)."""
    return adam(weights, lr=2e-4, betas=(0.5, 0.999))


def start_memory(optimizer: Optimizer) -> None:
    """Let an optimizer that has taken no step make all that it remembers; no weight moves."""
    if optimizer.state:
        return
    # a step on zero gradients shows what this optimizer has to remember
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for tensor in named_memory(optimizer).values():
        tensor.zero_()


def take_step(optimizer: Optimizer) -> None:
    """Move the weights by their gradients.

    A fused kernel refuses gradients with other strides than their weights', and for sides of 1, as
    images with one channel have, autograd leaves any.
    """
    for group in optimizer.param_groups:
        for weight in group["params"] if group.get("fused") else ():
            if weight.grad is not None and weight.grad.stride() != weight.stride():
                weight.grad = torch.empty_like(weight).copy_(weight.grad)
    optimizer.step()


def named_memory(optimizer: Optimizer) -> dict[str, Tensor]:
    """Name everything an optimizer remembers: {"index of a weight.name": the tensor itself}."""
    return {
        f"{index}.{name}": tensor
        for index, entry in optimizer.state_dict()["state"].items()
        for name, tensor in entry.items()
    }


def _are_on_cuda(weights: list[nn.Parameter]) -> bool:
    return all(weight.is_cuda for weight in weights)

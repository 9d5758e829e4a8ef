"""Adam for one tensor, as footnote 5 of the paper sets it: betas 0.5 and 0.999."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

FUSED_ON = ("cpu", "cuda")
_SETTINGS: dict[str, Any] = {
    "beta1": 0.5,  # footnote 5
    "beta2": 0.999,
    "eps": 1e-8,  # Adam's default
    "weight_decay": 0.0,
    "amsgrad": False,
    "maximize": False,
}


class Adam:
    """The two moments of one weight tensor, and the step they lead to."""

    def __init__(self, weight: Tensor, lr: float) -> None:
        self.lr = lr
        # one behind the other, so that one operation empties both
        self.moments = torch.zeros(2, *weight.shape, device=weight.device)
        self.m, self.v = self.moments
        self.step_count = 0

    def reset(self) -> None:
        """Forget all steps taken."""
        self.moments.zero_()
        self.step_count = 0

    def step(self, weight: Tensor, gradient: Tensor, lr_scale: float = 1.0) -> None:
        """Move `weight` in place; it must be contiguous, because the kernel ignores strides."""
        self.step_count += 1
        count = _count(self.step_count, weight.device)
        none: list[Tensor] = []  # of AMSGrad
        tensors = [weight], [gradient.contiguous()], [self.m], [self.v], none
        lr = lr_scale * self.lr
        if weight.device.type in FUSED_ON:
            # what torch.optim's fused Adam calls, without the forty microseconds before it: with
            # several threads they are spent waiting for the interpreter
            torch._fused_adam_(*tensors, [count], lr=lr, **_SETTINGS)
        else:
            adam(*tensors, [count - 1], foreach=False, lr=lr, **_SETTINGS)


@cache
def _count(steps: int, device: torch.device) -> Tensor:
    return torch.full((), float(steps), device=device)  # no copy from the host

"""Adam for one tensor, as footnote 5 of the paper sets it: betas 0.5 and 0.999."""

from functools import cache

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = 0.5, 0.999  # footnote 5
EPS = 1e-8  # Adam's default


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
        lr = lr_scale * self.lr
        if weight.device.type in ("cpu", "cuda"):
            # what torch.optim's fused Adam calls, without the forty microseconds before it: with
            # several threads they are spent waiting for the interpreter
            torch._fused_adam_(
                [weight],
                [gradient.contiguous()],
                [self.m],
                [self.v],
                [],
                [count],
                lr=lr,
                beta1=BETAS[0],
                beta2=BETAS[1],
                weight_decay=0.0,
                eps=EPS,
                amsgrad=False,
                maximize=False,
            )
            return
        adam(
            [weight],
            [gradient],
            [self.m],
            [self.v],
            [],
            [count - 1],
            foreach=False,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=lr,
            weight_decay=0.0,
            eps=EPS,
            maximize=False,
        )


@cache
def _count(steps: int, device: torch.device) -> Tensor:
    return torch.tensor(float(steps), device=device)

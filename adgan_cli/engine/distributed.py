"""Training in several processes: each takes its share of every batch, and all take the same step.

All of them draw the same random numbers for the whole batch and use those of their share, so that a
run can go on with another number of processes. Batch norm is over the whole batch, as with one
process, on CPUs too, where torch's SyncBatchNorm does not work. What differs from one process is
the order of floating-point sums, and MMD and the variance of a VAE, which are estimated by share.

Gradients are summed here after the backward pass and not by DistributedDataParallel. It hooks into
that pass and expects one of each forward; the critic has up to three forwards in a step, and the
gradient penalty differentiates one of them twice.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from adgan_cli.errors import ConfigError, ProcessError
from adgan_cli.processes import Processes

# the first process may take this long to save, or a process to begin: data are on slow drives
TIMEOUT = timedelta(minutes=30)


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm, x: (N, M, H, W) -> same; over all processes' shares while `shared` says so."""

    shared = False

    def forward(self, x: Tensor) -> Tensor:
        if not (self.shared and self.training):
            return super().forward(x)
        h = x.float()
        each = h.new_full((1,), h.numel() / h.shape[1])
        total = _Sum.apply(torch.cat([h.sum((0, 2, 3)), each]))  # (M + 1,)
        mean, count = total[:-1] / total[-1], total[-1].detach()
        centred = h - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count  # (M,)
        with torch.no_grad():
            # `update_bn` alone would take the momentum away, and that is not shared
            assert self.momentum is not None and self.num_batches_tracked is not None
            assert self.running_mean is not None and self.running_var is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is that of all their losses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_reduce_sum_(x.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum_(gradient.clone())


def all_reduce_sum_(x: Tensor) -> Tensor:
    """Sum x, of any shape, over all processes, in place."""
    try:
        dist.all_reduce(x)
    except RuntimeError as error:
        raise ProcessError(
            f"another process is gone ({str(error).splitlines()[0]}); "
            "start the same command again with --resume"
        ) from error
    return x


def all_reduce_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Sum the gradients over all processes, in one message."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = all_reduce_sum_(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def any_process(true: bool) -> bool:
    """Tell whether it is true in one process at least; all get the same answer."""
    return bool(all_reduce_sum_(torch.tensor(float(true))).item())


@contextmanager
def sync_batch_norm(networks: Iterable[nn.Module], shared: bool) -> Iterator[None]:
    """Take batch norm in training mode over the whole batch within the block, if `shared`."""
    norms = [n for net in networks for n in net.modules() if isinstance(n, SharedBatchNorm)]
    for norm in norms:
        norm.shared = shared
    try:
        yield
    finally:
        for norm in norms:
            norm.shared = False


@contextmanager
def process_group(processes: Processes, device: torch.device) -> Iterator[None]:
    """Let the processes sum within the block: over gloo, and on GPUs over NCCL."""
    if processes.world_size == 1:
        yield
        return
    backends = {"cpu": ["gloo"], "cuda": ["gloo", "nccl"]}.get(device.type)
    if backends is None:
        raise ConfigError(f"several processes cannot train on {device.type}; try --device cpu")
    for backend in backends:
        if not dist.is_backend_available(backend):
            raise ConfigError(
                f"this build of torch has no {backend}, which processes on {device.type} talk by; "
                "start without torchrun, or install another build"
            )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(
            backend,
            store=processes.store,
            rank=processes.rank,
            world_size=processes.world_size,
            timeout=TIMEOUT,
        )
    except RuntimeError as error:
        raise ProcessError(
            f"the processes cannot reach each other ({str(error).splitlines()[0]}); "
            "see GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
        ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()

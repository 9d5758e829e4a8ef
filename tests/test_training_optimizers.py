"""Optimizers can be captured on CUDA, and take gradients in any layout."""

import pytest
import torch
from torch import nn
from torch.optim import Adam

from adgan_cli.engine.training.optimizers import (
    dcgan_adam,
    named_memory,
    rmsprop,
    start_memory,
    take_step,
)


def weight_of(shape=(6, 1, 4, 4), device="cpu"):
    """A convolution's, for images with one channel; channels last, as all of ours."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    strides = (16, 1, 4, 1)
    laid_out = torch.empty_strided(shape, strides, device=device)
    return nn.Parameter(laid_out.copy_(values))


def test_a_gradient_with_other_strides_of_a_side_of_one_is_laid_out_as_its_weight():
    weight, plain = weight_of(), weight_of()
    fused = Adam([weight], lr=0.1, fused=True)
    for step in range(2):
        slopes = torch.linspace(-1 - step, 1, 96).view(6, 1, 4, 4)
        assert slopes.stride() != weight.stride()
        weight.grad, plain.grad = slopes, slopes.clone()
        take_step(fused)
        assert weight.grad.stride() == weight.stride()
        assert torch.equal(weight.grad, slopes)
    other = Adam([weight_of()], lr=0.1)
    (same,) = other.param_groups[0]["params"]
    for step in range(2):
        same.grad = torch.linspace(-1 - step, 1, 96).view(6, 1, 4, 4)
        take_step(other)
        assert same.grad.stride() == (16, 16, 4, 1), "only fused kernels mind"
    torch.testing.assert_close(weight, same)


def test_a_weight_without_a_gradient_is_left_alone():
    weight = weight_of()
    before = weight.detach().clone()
    take_step(Adam([weight], fused=True))
    assert torch.equal(weight, before)


@pytest.mark.parametrize("make", [dcgan_adam, lambda ones: rmsprop(ones, lr=5e-5)])
def test_memory_is_named_by_weight_and_laid_out_as_it_is(make):
    weight, other = weight_of(), nn.Parameter(torch.ones(3))
    optimizer = make(iter([weight, other]))
    assert named_memory(optimizer) == {}
    start_memory(optimizer)
    memory = named_memory(optimizer)
    assert {name.split(".")[0] for name in memory} == {"0", "1"}
    averages = [one for name, one in memory.items() if name.startswith("0.") and one.dim()]
    assert averages and all(one.stride() == weight.stride() for one in averages)
    memory["1.step"].fill_(7)
    assert named_memory(optimizer)["1.step"] == 7, "the tensors themselves"


@pytest.mark.gpu
@pytest.mark.parametrize("make", [dcgan_adam, lambda ones: rmsprop(ones, lr=5e-5)])
def test_on_cuda_counts_are_on_the_device(make):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    weight = weight_of(device="cuda")
    optimizer = make([weight])
    assert optimizer.param_groups[0]["capturable"]
    start_memory(optimizer)
    assert all(one.is_cuda for one in named_memory(optimizer).values())
    weight.grad = torch.ones(6, 1, 4, 4, device="cuda")
    before = weight.detach().clone()
    take_step(optimizer)
    assert (weight < before).all()

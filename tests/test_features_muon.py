"""Muon: all directions of a weight move equally far, and its norm is fixed."""

import pytest
import torch

from adgan_cli.engine.features.muon import MOMENTUM, muon_step, orthogonal


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("shape", [(8, 40), (40, 8)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrix = normal(*shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    near = orthogonal(matrix)
    values = left.T @ near @ right.T
    assert values.diagonal().min() > 0.5 and values.diagonal().max() < 1.3
    torch.testing.assert_close(values, values.diagonal().diag(), atol=1e-5, rtol=0)
    assert (orthogonal(torch.zeros(shape)) == 0).all()


def test_a_step_is_a_share_of_the_weight_against_its_gradient():
    weight, gradient = normal(8, 4, 3, 3), normal(8, 4, 3, 3).flip(0)
    momentum = torch.zeros_like(weight)
    muon_step(weight, gradient, momentum, 0.0)
    assert weight.norm() == pytest.approx(8**0.5)
    torch.testing.assert_close(momentum, (1 - MOMENTUM) * gradient)
    before = weight.clone()
    muon_step(weight, gradient, momentum, 0.1)
    moved = weight - before
    assert 0.05 < float(moved.norm() / before.norm()) < 0.13
    assert float((moved * gradient).sum()) < 0

"""DCGAN's shapes, its initialisation, and batch norm folded away."""

import copy

import pytest
import torch
from conftest import make_generator

from adgan_cli.config import SIZES, ModelConfig
from adgan_cli.engine.models.dcgan import Critic, Generator, fold_batch_norm, init_weights
from adgan_cli.engine.training.state import parameter_count


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_fit_each_other_at_every_size(size, channels):
    config = ModelConfig(size, channels, latent_dim=4, width=2)
    with torch.no_grad():
        images = Generator(config)(torch.randn(2, 4))
        assert images.shape == (2, channels, size, size)
        assert images.abs().max() <= 1
        for batch_norm in (True, False):
            assert Critic(config, batch_norm=batch_norm)(images).shape == (2,)


@pytest.mark.parametrize("size, millions", [(32, 1.71), (64, 4.86)])
def test_generators_are_dcgans(size, millions):
    """The counts of DCGAN with width 64 and 256 latent dimensions."""
    with torch.device("meta"):
        generator = Generator(ModelConfig(size, latent_dim=256))
    assert parameter_count(generator) / 1e6 == pytest.approx(millions, abs=0.01)


def test_initialisation_is_dcgans_and_follows_the_seed():
    def initialised(seed):
        generator = Generator(ModelConfig(width=8))
        init_weights(generator, torch.Generator().manual_seed(seed))
        return generator

    weight, gamma = initialised(0).first.weight, initialised(0).norms[0].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert gamma.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(weight, initialised(0).first.weight)
    assert not torch.equal(weight, initialised(1).first.weight)


def test_gradient_penalty_needs_a_critic_without_batch_norm():
    config = ModelConfig(16, width=2)
    norms = [
        sum(isinstance(m, torch.nn.BatchNorm2d) for m in Critic(config, batch_norm=b).modules())
        for b in (True, False)
    ]
    assert norms == [1, 0]


@pytest.mark.parametrize("size", [16, 64])
def test_a_folded_generator_generates_the_same_images(size):
    generator = make_generator(size)
    before = copy.deepcopy(generator.state_dict())
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fold_batch_norm(generator)(z), generator(z), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(t, before[n]) for n, t in generator.state_dict().items())

"""Losses have the values their formulas say, and slopes that lead to the picture."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_generator

from adgan_cli.config import LOSSES, PAPER_SEARCH, ModelConfig, loss_terms
from adgan_cli.engine.features.ensemble import FeatureModel, Scale
from adgan_cli.engine.features.pretrained import fit_pretrained
from adgan_cli.engine.losses import (
    critic_features,
    gradient_difference,
    l1,
    l2,
    laplacian,
    loss_for,
    make_loss,
    normalized_l2,
    perceptual,
    ssim,
)
from adgan_cli.engine.models.dcgan import Critic, init_weights
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ConfigError

CRITIC = Critic(ModelConfig(16, 3, width=4), batch_norm=False).requires_grad_(False)
init_weights(CRITIC, torch.Generator().manual_seed(0))


@pytest.fixture
def named(request):
    """named("ssim"): the loss of this name, with a critic and a pretrained network at hand."""

    def make(name, critic=CRITIC, dtype=torch.float32):
        if name != "features":
            return make_loss(name, critic)
        backbone = request.getfixturevalue("backbone")
        network = copy.deepcopy(backbone.network).to(dtype)
        return make_loss(name, backbone=replace(backbone, network=network))

    return make


def noise(seed, count=2, channels=3, side=16):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=rng) * 2 - 1


@pytest.mark.parametrize(("loss", "expected"), [(l2, [12.0, 48.0]), (l1, [24.0, 48.0])])
def test_l2_sums_squares_and_l1_magnitudes_per_picture(loss, expected):
    x = torch.zeros(2, 3, 4, 4)
    y = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), -1.0)])
    torch.testing.assert_close(loss(x)(y), torch.tensor(expected))


def test_relative_is_one_for_a_plain_picture_of_the_right_colour():
    x = noise(0)
    plain = x.mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(normalized_l2(x)(plain), torch.ones(2))


def test_relative_does_not_see_contrast():
    x, y = noise(0), noise(1)
    torch.testing.assert_close(normalized_l2(x / 4)(y / 4), normalized_l2(x)(y))


def test_relative_is_finite_for_a_flat_picture():
    flat, y = torch.full((1, 1, 16, 16), 0.3), torch.full((1, 1, 16, 16), 0.3 + 2 / 255)
    torch.testing.assert_close(normalized_l2(flat)(y), torch.ones(1), rtol=1e-4, atol=0)


def test_gradient_is_one_for_any_plain_picture_and_sees_neither_colour_nor_contrast():
    x, y = noise(0), noise(1)
    torch.testing.assert_close(gradient_difference(x)(torch.full_like(x, 0.7)), torch.ones(2))
    torch.testing.assert_close(gradient_difference(x)(x + 0.4), torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(gradient_difference(x / 4)(y / 4), gradient_difference(x)(y))


def test_gradient_counts_each_pair_of_neighbours_once():
    """A step of 1 between two halves: 4 rows of it, in x and not in y; one of 2 in y alone."""
    x, y = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    x[..., 2:] = 1
    y[..., 2:, :] = 2
    torch.testing.assert_close(gradient_difference(x)(y), torch.tensor([(4 * 1 + 4 * 4) / 4.0]))


def test_gradient_is_finite_for_a_flat_picture():
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert gradient_difference(flat)(flat).item() == 0
    assert gradient_difference(flat)(noise(0)[:1]).isfinite().all()


def test_laplacian_of_a_flat_difference_lies_in_the_coarsest_level():
    """All details of a constant are 0; 4 x 4 pixels are left, at level 2 of 16 pixels: 4^2."""
    x = torch.zeros(1, 1, 16, 16)
    torch.testing.assert_close(laplacian(x)(x + 0.5), torch.tensor([0.5 * 16 * 4.0**2]))


def test_laplacian_counts_what_is_coarse_and_what_is_fine_alike():
    """The weights 4^j make up for the pixels that level j lacks."""
    x = torch.zeros(1, 1, 32, 32)
    row = torch.arange(32)
    chequered = 0.1 * ((row + row[:, None]) % 2 * 2 - 1.0).expand_as(x)
    torch.testing.assert_close(laplacian(x)(x + 0.1), laplacian(x)(chequered), rtol=0.01, atol=0)


def test_ssim_of_two_plain_pictures_compares_their_brightness():
    """Eq. (6) of Wang et al. (2004) with no variance: l = (2ab + c1) / (a^2 + b^2 + c1)."""
    a, b, c1 = 0.5, -0.25, (0.01 * 2) ** 2
    x, y = torch.full((1, 3, 16, 16), a), torch.full((1, 3, 16, 16), b)
    expected = 1 - (2 * a * b + c1) / (a * a + b * b + c1)
    torch.testing.assert_close(ssim(x)(y), torch.tensor([expected]), rtol=1e-3, atol=0)


def test_ssim_of_a_chequered_picture_and_its_negative_is_two():
    row = torch.arange(16)
    x = ((row + row[:, None]) % 2 * 2 - 1.0).expand(1, 3, 16, 16)
    torch.testing.assert_close(ssim(x)(-x), torch.tensor([2.0]), rtol=0.01, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_zero_where_pictures_agree(name, named):
    x = noise(0)
    torch.testing.assert_close(named(name)(x)(x.clone()), torch.zeros(2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_of_each_picture_alone(name, named):
    x, y = noise(0, 3), noise(1, 3)
    loss = named(name)
    together = loss(x)(y)
    alone = torch.cat([loss(x[i : i + 1])(y[i : i + 1]) for i in range(3)])
    assert together.shape == (3,)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_slope_of_every_loss_is_right(name, channels, named):
    if name == "critic-features" and channels == 1:
        pytest.skip("this critic sees colours")
    x, y = (noise(seed, 1, channels).double() for seed in (0, 1))
    y.requires_grad_()
    loss = named(name, copy.deepcopy(CRITIC).double(), torch.double)
    (slope,) = torch.autograd.grad(loss(x)(y).sum(), y)
    with torch.no_grad():
        along = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).double()
        step = 1e-6 * along
        measured = (loss(x)(y + step) - loss(x)(y - step)).sum() / 2e-6
    torch.testing.assert_close((slope * along).sum(), measured, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_one_target_serves_several_pictures(name, named):
    x, y = noise(0, 1), noise(1, 3)
    torch.testing.assert_close(named(name)(x)(y), named(name)(x.expand(3, -1, -1, -1))(y))


@pytest.mark.parametrize("name", ["critic-features", "features"])
def test_a_network_sees_the_target_once(name, named, request):
    x, y, seen = noise(0, 1), noise(1, 3), []
    network = CRITIC
    if name == "features":
        network = request.getfixturevalue("backbone").network
    layer = next(one for one in network.modules() if isinstance(one, torch.nn.Conv2d))
    hook = layer.register_forward_hook(lambda *call: seen.append(len(call[1][0])))
    try:
        loss = make_loss(
            name, CRITIC, request.getfixturevalue("backbone") if name == "features" else None
        )(x)
        loss(y), loss(-y)
    finally:
        hook.remove()
    assert seen == [1, 3, 3]


def test_a_sum_of_losses_is_the_sum_of_their_values():
    x, y = noise(0), noise(1)
    together = make_loss("l2 + 0.5*ssim+2*l1")(x)(y)
    torch.testing.assert_close(together, l2(x)(y) + 0.5 * ssim(x)(y) + 2 * l1(x)(y))


def test_critic_features_are_what_its_verdict_is_linear_in():
    x, y = noise(0), noise(1)
    result = critic_features(CRITIC)(x)(y)
    expected = (CRITIC.body(y) - CRITIC.body(x)).abs().sum((1, 2, 3))
    torch.testing.assert_close(result, expected)
    verdict = CRITIC.features(x) @ CRITIC.last.weight.flatten()
    torch.testing.assert_close(verdict, CRITIC(x))


def test_features_are_compared_at_every_depth_and_scaled_to_length_one(backbone):
    """Written out: LPIPS of Zhang et al. (2018), eq. (1), with all weights 1."""
    x, y = noise(0, side=80), noise(1, side=80)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.config.mean, backbone.config.std))
    seen = [backbone.network.forward_intermediates(((v + 1) / 2 - mean) / std)[1] for v in (x, y)]
    expected = torch.zeros(2)
    for a, b in zip(*seen, strict=True):
        a, b = (v / v.square().sum(1, keepdim=True).sqrt() for v in (a, b))
        expected += (a - b).square().sum(1).mean((1, 2))
    result = perceptual(backbone)(x)(y)
    torch.testing.assert_close(result, expected)
    assert (0 < result).all() and (result < 4 * len(seen[0])).all()


def test_features_compare_small_and_plain_pictures(backbone):
    plain = torch.zeros(1, 1, 16, 16)
    y = noise(0, 1, 1).requires_grad_()
    loss = perceptual(backbone)(plain)(y)
    (slope,) = torch.autograd.grad(loss.sum(), y)
    assert loss > 0.01 and slope.isfinite().all() and slope.abs().max() > 0


def test_a_model_compares_by_its_own_pretrained_network(backbone):
    images = np.zeros((2, 16, 16, 3), np.uint8)
    detector = fit_pretrained(backbone, images, images, side=64)
    scales = {"pretrained": Scale(0.0, 1.0, 1.0, 0.9)}
    features = FeatureModel({"pretrained": detector}, scales, 64)
    model = Model(make_generator(), ModelConfig(16), features=features)
    x, y = noise(0), noise(1)
    torch.testing.assert_close(loss_for(model, "features")(x)(y), perceptual(backbone)(x)(y))
    with pytest.raises(ConfigError, match="--features NAME"):
        loss_for(replace(model, features=None), "features")


@pytest.mark.parametrize(
    ("name", "remedy"), [("critic-features", "--keep-critic"), ("features", "--features NAME")]
)
def test_a_loss_that_needs_what_the_model_has_not_says_so(name, remedy):
    with pytest.raises(ConfigError, match=remedy):
        make_loss(f"l1+{name}")


@pytest.mark.parametrize(
    "text", ["", "l3", "l2+", "+l2", "0*l2", "l2*2", "-1*l2", "l2+nan*l1", "L2"]
)
def test_what_is_no_loss_names_those_there_are(text):
    assert not loss_terms(text)
    with pytest.raises(ConfigError, match="^--loss must be one of l2, relative, .*, got "):
        replace(PAPER_SEARCH, loss=text)

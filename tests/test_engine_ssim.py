"""What is written out for speed is the formula, and its gradient."""

import pytest
import torch
import torch.nn.functional as F

from adgan_cli.engine import ssim as module
from adgan_cli.engine.ssim import ssim


def formula(y, x):
    """Eq. (13) of Wang et al. (2004) with a Gaussian window, channel by channel."""
    at = torch.arange(11, dtype=x.dtype) - 5
    row = (-at.square() / (2 * 1.5**2)).exp()
    window = torch.outer(row, row)[None, None] / row.sum() ** 2

    def mean(image):
        return F.conv2d(image.flatten(0, 1)[:, None], window).unflatten(0, image.shape[:2])

    x = x.expand_as(y)
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.02**2, 0.06**2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    alike = alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return 1 - alike.flatten(1).mean(1)


def images(count, channels=3, size=16, dtype=torch.double, seed=0):
    rng = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, channels, size, size, generator=rng, dtype=dtype) * 2 - 1
    # smooth and bright as well as rough: variances that are small beside the means
    return (noise + torch.linspace(-1, 1, size, dtype=dtype)) / 2


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32)])
def test_value_and_gradient_are_those_of_the_formula(targets, channels, size):
    x, y = images(targets, channels, size), images(3, channels, size, seed=1).requires_grad_()
    weights = torch.tensor([0.5, -1.0, 2.0], dtype=torch.double)
    results = [ssim(x)(y), formula(y, x)]
    torch.testing.assert_close(*results)
    slopes = [torch.autograd.grad(loss, y, weights)[0] for loss in results]
    torch.testing.assert_close(*slopes)


def test_single_precision_gives_the_value_to_the_last_digits_but_two():
    x, y = images(2, dtype=torch.float32), images(2, dtype=torch.float32, seed=1)
    expected = formula(y.double(), x.double()).float()
    torch.testing.assert_close(ssim(x)(y), expected, rtol=1e-5, atol=1e-6)


def test_it_takes_images_in_any_strides():
    x, y = images(2), images(2, seed=1)
    last = y.to(memory_format=torch.channels_last).requires_grad_()
    plain = y.clone().requires_grad_()
    slopes = [torch.autograd.grad(ssim(x)(one).sum(), one)[0] for one in (last, plain)]
    torch.testing.assert_close(*slopes)


def test_what_depends_on_the_target_alone_is_filtered_once(monkeypatch):
    filtered, count = module.filtered, []

    def counted(images, band):
        count.append(images.shape[0])
        return filtered(images, band)

    monkeypatch.setattr(module, "filtered", counted)
    x, y = images(2), images(2, seed=1).requires_grad_()
    loss = ssim(x)
    assert count == [2]
    for _ in range(3):
        torch.autograd.grad(loss(y).sum(), y)
    assert count == [2] + [3, 3] * 3  # three images forward, three back, and no more of x

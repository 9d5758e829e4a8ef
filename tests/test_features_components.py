"""The relative error of components: what was there is put together, contrast does not count."""

import numpy as np
import pytest
import torch
from textures import stripes

from adgan_cli.engine.features.components import components_from, fit_components


def test_images_of_the_same_kind_are_put_together_better():
    fitted = fit_components(stripes(60), 0)
    usual = [fitted.score(image) for image in stripes(6, seed=1)]
    unusual = [fitted.score(image) for image in stripes(6, seed=2, turned=True)]
    assert max(usual) < 0.5 < min(unusual)


def test_the_error_is_that_of_a_projection_over_the_deviation():
    images = stripes(40, channels=1)
    fitted, image = fit_components(images, 0), stripes(1, channels=1, seed=1)[0]
    x = images.reshape(40, -1).astype(np.float64)
    rows = np.linalg.svd(x - x.mean(axis=0))[2][: len(fitted.components)]
    centred = image.ravel() - x.mean(axis=0)
    error = np.square(centred).sum() - np.square(rows @ centred).sum()
    expected = error / np.square(image - image.mean()).sum()
    assert fitted.score(image) == pytest.approx(expected, rel=0.02)


def test_a_plain_image_of_the_mean_colour_scores_about_1_whatever_the_contrast():
    # of images that are noise around nothing, components put hardly anything together
    rng = np.random.default_rng(0)
    fitted = fit_components(rng.integers(100, 156, (8, 32, 32, 1)).astype(np.uint8), 0)
    for spread in (10, 50):
        image = (128 + rng.integers(-spread, spread + 1, (32, 32, 1))).astype(np.uint8)
        assert fitted.score(image) == pytest.approx(1, abs=0.15 if spread > 20 else 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 128])
@pytest.mark.parametrize("count", [2, 3])
def test_few_flat_and_identical_images_divide_nothing_by_zero(side, channels, count):
    images = stripes(count, side=side, channels=channels)
    flat = np.full_like(images, 255)
    for training in (images, images[:1].repeat(count, 0), flat):
        fitted = fit_components(training, 0)
        for image in (images[0], flat[0], np.zeros_like(flat[0])):
            assert 0 <= fitted.score(image) < np.inf
    assert fit_components(flat, 0).score(flat[0]) == 0


def test_what_is_kept_gives_the_same_score_to_the_last_bit():
    fitted, image = fit_components(stripes(20), 0), stripes(1, seed=1)[0]
    settings, tensors = fitted.settings(), fitted.tensors()
    assert components_from(settings, tensors).score(image) == fitted.score(image)
    assert tensors["components"].dtype == torch.float16
    for broken in ({"mean": tensors["mean"][1:]}, {"components": tensors["components"][:, 1:]}):
        with pytest.raises(ValueError, match="expected"):
            components_from(settings, tensors | broken)
    with pytest.raises(KeyError):
        components_from({}, tensors)

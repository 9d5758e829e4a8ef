"""The map of patches is bright where there is something that training images do not have."""

import numpy as np
import pytest
import torch
from textures import stripes

from adgan_cli.engine.features import patches
from adgan_cli.engine.features.feature_distance import FeatureDistance, fit_histograms, fit_patches
from adgan_cli.engine.features.patch_map import patch_map


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(patches, "MAX_PATCHES", 1000)


def map_of(fitted: FeatureDistance, image: np.ndarray) -> np.ndarray:
    heat = fitted.anomaly_map(image)
    assert heat is not None and np.isfinite(heat).all() and (heat >= 0).all()
    return heat


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_brightest_where_stripes_are_turned(channels):
    fitted = fit_patches(stripes(12, side=32, channels=channels), 0)
    image = stripes(1, side=32, channels=channels, seed=1)[0]
    image[2:14, 18:30] = stripes(1, side=32, channels=channels, seed=1, turned=True)[0, 2:14, 18:30]
    heat = map_of(fitted, image)
    assert heat.shape == (32, 32)
    assert heat[2:14, 18:30].mean() > 3 * heat[18:, :14].mean()


def test_what_is_shared_out_is_the_squared_distance_from_the_nearest():
    fitted, image = fit_patches(stripes(4, side=32), 0), stripes(1, side=32, seed=1)[0]
    assert fitted.dictionary is not None
    beyond = fitted.distance.beyond_nearest(fitted.dictionary.represent(image)).clip(min=0)
    heat = patch_map(fitted.dictionary, fitted.distance, image)
    quarter = 27 * 27 / 4  # places
    expected = np.square(beyond).sum() * quarter
    # pixels at the border count for more than the one patch that covers them
    assert np.square(heat).sum() == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("side", [16, 128])
def test_flat_and_identical_images_have_maps_too(side):
    flat = np.zeros((2, side, side, 1), np.uint8)
    for training in (flat, stripes(2, side=side, channels=1)):
        for image in (flat[0], stripes(1, side=side, channels=1, seed=1)[0]):
            map_of(fit_patches(training, 0), image)


def test_detectors_without_places_have_no_map():
    assert fit_histograms(stripes(3), 0).anomaly_map(stripes(1)[0]) is None
    assert torch.is_grad_enabled()

"""Detectors of patches, scattering and histograms: alike in company, in a file, on any images."""

import json

import numpy as np
import pytest
import torch
from textures import stripes

from adgan_cli.engine.features import feature_distance as module
from adgan_cli.engine.features import patches, samples
from adgan_cli.engine.features.ensemble import score_images

FITS = {
    "patches": (module.fit_patches, module.patches_from),
    "scattering": (module.fit_scattering, module.scattering_from),
    "histograms": (module.fit_histograms, module.histograms_from),
}
KINDS = pytest.mark.parametrize("name", FITS)


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(patches, "MAX_PATCHES", 1000)


@KINDS
def test_turned_stripes_are_further_away_than_others(name):
    fitted = FITS[name][0](stripes(12), 0)
    usual = [fitted.score(image) for image in stripes(4, seed=1)]
    unusual = [fitted.score(image) for image in stripes(4, seed=2, turned=True)]
    assert max(usual) < min(unusual)


@KINDS
def test_a_score_does_not_depend_on_company(name):
    fitted, images = FITS[name][0](stripes(6), 0), stripes(5, seed=1)
    together = score_images({name: fitted}, images)[name]
    assert [fitted.score(image) for image in images[::-1]] == [*together[::-1]]


@KINDS
@pytest.mark.parametrize("channels,side", [(1, 16), (3, 128)])
def test_two_images_and_identical_ones_are_enough(name, channels, side):
    images = stripes(2, side=side, channels=channels)
    flat = np.zeros_like(images)
    for training in (images, images[[0, 0]], flat):
        fitted = FITS[name][0](training, 0)
        for image in (*images, flat[0], 255 - flat[0]):
            assert 0 <= fitted.score(image) < np.inf
        if training is not flat:
            assert fitted.score(training[0]) < fitted.score(flat[0])


@KINDS
def test_what_is_kept_gives_the_same_score_to_the_last_bit(name):
    fit, load = FITS[name]
    fitted, image = fit(stripes(6), 0), stripes(1, seed=1)[0]
    settings = json.loads(json.dumps(fitted.settings()))
    tensors = fitted.tensors()
    assert load(settings, tensors).score(image) == fitted.score(image)
    assert all(one.is_contiguous() and one.device.type == "cpu" for one in tensors.values())
    assert {one.dtype for one in tensors.values()} <= {torch.float16, torch.float32}
    for wrong in ({"size": 0}, {"channels": 1}):
        with pytest.raises(ValueError):
            load(settings | wrong, tensors)
    with pytest.raises(KeyError):
        load({}, tensors)
    with pytest.raises(KeyError):
        load(settings, {})


def test_of_many_images_some_are_drawn_from_all_over(monkeypatch):
    monkeypatch.setattr(samples, "MAX_STORED", 10)
    images = np.arange(1000)
    drawn = samples.drawn(images, 1)
    assert len({*drawn}) == 10 and (np.diff(drawn) > 0).all()
    assert drawn.min() < 300 and drawn.max() > 700
    assert (samples.drawn(images, 1) == drawn).all()
    assert (samples.drawn(images, 2) != drawn).any()
    assert (samples.drawn(images[:7], 1) == images[:7]).all()
    assert len(module.fit_histograms(stripes(12), 0).distance.references) == 10


@KINDS
def test_an_image_kept_is_the_nearest_to_itself(name):
    images = stripes(6)
    fitted = FITS[name][0](images, 0)
    for index, image in enumerate(images):
        distances = fitted.reference_distances(image)
        assert distances.shape == (6,) and distances.argmin() == index
        nearest = np.sort(distances)[: min(5, len(distances))].mean()
        assert nearest == pytest.approx(fitted.score(image), rel=1e-3, abs=0.05)

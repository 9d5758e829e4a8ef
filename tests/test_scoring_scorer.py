"""A joined score is a weighted mean of its parts, and depends on its image alone."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_exploding_generator
from feature_models import BY_FEATURES, fake_model, noise

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.scoring.calibrate import ImagesToScore, score_pixels, with_calibration
from adgan_cli.scoring.scorer import Scorer

BY_ALL = replace(PAPER_SEARCH, by="all", n_seed=2, k=1)


def test_by_features_no_generator_is_needed_and_nothing_is_searched_for():
    scored = Scorer(fake_model(generator=False), BY_FEATURES)(noise(5))
    assert scored.losses is None and scored.z_scores.shape == (5, 2)


def test_a_score_by_features_is_the_weighted_mean_of_its_parts_above_the_ordinary():
    pixels = noise(6)
    scored = Scorer(fake_model(), BY_FEATURES)(pixels)
    bright, contrast = (
        (np.log(values + 1) - 4) / 0.5 for values in (pixels.mean((1, 2, 3)), pixels.std((1, 2, 3)))
    )
    expected = 0.25 * np.logaddexp(0, bright) + 0.75 * np.logaddexp(0, contrast)
    np.testing.assert_allclose(scored.scores, expected)
    np.testing.assert_allclose(scored.z_scores, np.stack([bright, contrast], 1), atol=5e-5)
    written = [repr(z) for z in scored.z_scores.ravel().tolist()]
    assert max(map(len, written)) <= len("-10.1234")


def test_the_reconstruction_joins_in_as_it_compares_with_images_held_out():
    pixels, held_out = noise(6), noise(20, seed=1)
    model = with_calibration(fake_model(), ImagesToScore(held_out), BY_ALL)
    scale = replace(model.calibration(BY_ALL).error_scale, weight=1 / 3)
    scored = Scorer(model, BY_ALL, error_scale=scale)(pixels)
    by_reconstruction = replace(BY_ALL, by="reconstruction")
    logs, of_held_out = (
        np.log(score_pixels(model, images, by_reconstruction)) for images in (pixels, held_out)
    )
    z = (logs - of_held_out.mean()) / of_held_out.std()
    np.testing.assert_allclose(scored.z_scores[:, 2], z, atol=5e-5)
    features = score_pixels(model, pixels, BY_FEATURES)
    np.testing.assert_allclose(scored.scores, features * 2 / 3 + np.logaddexp(0, z) / 3)
    assert scored.losses.shape == (6, 2, 2)


@pytest.mark.parametrize("adjust", ["none", "complexity"])
@pytest.mark.parametrize("config", [BY_FEATURES, BY_ALL], ids=lambda c: c.by)
def test_a_joined_score_does_not_depend_on_company(config, adjust):
    pixels = noise(5)
    model = with_calibration(fake_model(), ImagesToScore(noise(60, seed=1)), BY_ALL)
    scorer = Scorer(model, replace(config, adjust=adjust))
    together = scorer(pixels)
    alone = [scorer(pixels[index : index + 1]) for index in range(5)]
    assert together.scores.tolist() == [one.scores[0] for one in alone]
    assert together.z_scores.tolist() == [one.z_scores[0].tolist() for one in alone]


def test_a_joined_score_is_adjusted_as_it_is():
    model = with_calibration(fake_model(), ImagesToScore(noise(200, seed=1)), BY_FEATURES)
    pixels = noise(100)
    plain = Scorer(model, BY_FEATURES)(pixels).scores
    adjusted = Scorer(model, replace(BY_FEATURES, adjust="complexity"))(pixels).scores
    assert np.isfinite(adjusted).all()
    # all that these detectors see is brightness and contrast, which is what is taken out
    assert adjusted.std() < 0.3 * plain.std()


def test_a_detector_that_wants_large_images_gets_them():
    model = fake_model(large_size=32)
    pixels, large = noise(4), noise(4, seed=1, size=32)
    scored = Scorer(model, BY_FEATURES)(pixels, large)
    z = (np.log(large.mean((1, 2, 3)) + 1) - 4) / 0.5
    np.testing.assert_allclose(scored.z_scores[:, 0], z, atol=5e-5)


def test_what_the_search_gives_no_number_for_has_no_joined_score():
    model = with_calibration(fake_model(), ImagesToScore(noise(5)), BY_ALL)
    model = replace(model, generator=make_exploding_generator())
    assert not np.isfinite(Scorer(model, BY_ALL)(noise(3)).scores).any()

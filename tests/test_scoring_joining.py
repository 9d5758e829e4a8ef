"""Parts are joined by their weights, and images held out in the very same way as others."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_generator
from feature_models import BY_FEATURES, fake_features, fake_model, noise

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.features.ensemble import Scale
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ConfigError
from adgan_cli.scoring.adjust import held_out_scores
from adgan_cli.scoring.calibrate import ImagesToScore, score_pixels, with_calibration
from adgan_cli.scoring.joining import fit_error_scale, joined_names, part_weights, require_scoring

BY_ALL = replace(PAPER_SEARCH, by="all", n_seed=1, k=1)
BY_RECONSTRUCTION = replace(BY_ALL, by="reconstruction")


def test_weights_add_up_to_one_whatever_joins_in():
    features = fake_features()
    assert part_weights(features, BY_RECONSTRUCTION) == {}
    assert part_weights(features, BY_FEATURES) == {"brightness": 0.25, "contrast": 0.75}
    by_all = part_weights(features, BY_ALL, Scale(0.0, 1.0, 1 / 3, 0.7))
    assert by_all == pytest.approx(
        {"brightness": 1 / 6, "contrast": 1 / 2, "reconstruction": 1 / 3}
    )
    at_chance = part_weights(features, BY_ALL, Scale(0.0, 1.0, 0.0, 0.4))
    assert at_chance == {"brightness": 0.25, "contrast": 0.75, "reconstruction": 0.0}


def test_the_reconstruction_is_weighed_beside_detectors():
    scales = fake_features().scales  # 0.1 and 0.3 above chance
    independent = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    errors = np.exp([1.0, -1.0, -1.0, 1.0])
    scale = fit_error_scale(scales, independent, errors, 0.7)
    assert (scale.mean, scale.deviation, scale.evidence) == pytest.approx((0.0, 1.0, 0.7))
    assert scale.weight == pytest.approx(1 / 3)
    assert fit_error_scale(scales, independent, errors, 0.5).weight == 0


def test_without_a_detector_the_others_have_its_weight():
    features = fake_features(missing={"contrast": "it is not here"})
    assert part_weights(features, BY_FEATURES) == {"brightness": 1.0}
    alone = fake_features(weights=(0.0, 1.0), missing={"contrast": "it is not here"})
    assert part_weights(alone, BY_FEATURES) == {"brightness": 1.0}


def test_parts_are_named_in_the_order_of_tables():
    model = fake_model()
    assert joined_names(model, BY_RECONSTRUCTION) == ()
    assert joined_names(model, BY_FEATURES) == ("brightness", "contrast")
    assert joined_names(model, BY_ALL) == ("brightness", "contrast", "reconstruction")


@pytest.mark.parametrize("config", [BY_RECONSTRUCTION, BY_FEATURES, BY_ALL], ids=lambda c: c.by)
def test_images_held_out_are_scored_as_all_others_are(config):
    pixels = noise(30)
    model = with_calibration(fake_model(), ImagesToScore(pixels), BY_ALL)
    expected = np.sort(score_pixels(model, pixels, config))
    np.testing.assert_array_equal(held_out_scores(model, config), expected)


@pytest.mark.parametrize("config", [BY_FEATURES, BY_ALL], ids=lambda c: c.by)
def test_where_a_network_is_missing_they_are_joined_without_it_too(config):
    pixels = noise(30)
    model = with_calibration(fake_model(), ImagesToScore(pixels), BY_ALL)
    missing = replace(model.features, missing={"contrast": "it is not here"})
    here = replace(model, features=missing)
    expected = np.sort(score_pixels(here, pixels, config))
    np.testing.assert_array_equal(held_out_scores(here, config), expected)
    assert not np.array_equal(expected, held_out_scores(model, config))


def test_what_was_held_out_without_a_network_says_nothing_where_it_is():
    features = fake_features(missing={"contrast": "it is not here"})
    model = with_calibration(replace(fake_model(), features=features), ImagesToScore(noise(9)))
    assert held_out_scores(model, BY_FEATURES) is not None
    assert held_out_scores(replace(model, features=fake_features()), BY_FEATURES) is None


@pytest.mark.parametrize(
    "case, by, message",
    [
        ("no generator", "reconstruction", "has no generator .*--by features"),
        ("no generator", "all", "has no generator"),
        ("no features", "features", "no features; score --by reconstruction"),
        ("no network", "features", "no features that can be used here: fetch it"),
        ("nothing held out", "all", "adgan calibrate PATHS --by all"),
    ],
)
def test_what_a_model_lacks_is_said_with_the_remedy(case, by, message):
    model = fake_model(generator=case != "no generator")
    if case == "no features":
        generator = make_generator(channels=1)
        model = Model(generator, generator.config)
    elif case == "no network":
        missing = {"brightness": "fetch it", "contrast": "fetch it"}
        model = replace(model, features=fake_features(missing=missing))
    with pytest.raises(ConfigError, match=message):
        require_scoring(model, SearchConfig(by=by, init="prior"))

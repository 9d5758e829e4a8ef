"""A model holds how to search with it and what it was trained on."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_generator
from feature_models import fake_model

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.models.dcgan import Encoder
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import ConfigError


@pytest.fixture
def model():
    generator = make_generator()
    return Model(generator, generator.config)


def test_without_an_encoder_the_search_starts_from_the_prior_alone(model):
    own = replace(SearchConfig(), by="reconstruction")
    assert model.default_search() == replace(own, init="prior")
    with_encoder = replace(model, encoder=Encoder(model.config, model.config.latent_dim))
    assert with_encoder.default_search() == own
    assert with_encoder.default_search(PAPER_SEARCH) == PAPER_SEARCH


def test_scores_start_from_what_the_model_has():
    both, without_generator = fake_model(), fake_model(generator=False)
    assert both.default_search().by == "features"
    by_all = SearchConfig(by="all")
    assert replace(both, search=by_all).default_search().by == "all"
    assert replace(without_generator, search=by_all).default_search().by == "features"
    assert without_generator.default_search(PAPER_SEARCH).by == "reconstruction", "as it was given"


def test_a_model_has_something_to_score_with(model):
    with pytest.raises(ConfigError, match="generator, features or both"):
        replace(model, generator=None)
    assert fake_model(generator=False).device.type == "cpu"


def test_images_are_read_large_only_for_a_backbone_that_is_there():
    model = fake_model(large_size=32)
    assert model.large_preprocessing() == replace(model.preprocessing(), size=32)
    missing = replace(model.features, missing={"brightness": "it is not here"})
    assert replace(model, features=missing).large_preprocessing() is None
    assert fake_model().large_preprocessing() is None


def test_a_calibration_belongs_to_one_way_of_searching_whatever_is_adjusted_afterwards(model):
    calibration = Calibration(PAPER_SEARCH, np.zeros(3), np.zeros((3, 5)))
    model = replace(model, calibrations=(calibration,))
    assert model.calibration(replace(PAPER_SEARCH, adjust="complexity")) is calibration
    assert model.calibration(replace(PAPER_SEARCH, k=6)) is None


@pytest.mark.parametrize(
    ("calibrated", "asked", "found"),
    [
        ("fp32", "auto", True),
        ("tf32", "auto", True),
        ("tf32", "fp32", True),
        ("bf16", "auto", False),
        ("fp32", "bf16", False),
        ("bf16", "bf16", True),
    ],
)
def test_a_calibration_serves_precisions_whose_scores_agree(model, calibrated, asked, found):
    search = replace(SearchConfig(), by="reconstruction")
    held_out = replace(search, precision=calibrated)
    model = replace(model, calibrations=(Calibration(held_out, np.zeros(3), np.zeros((3, 5))),))
    assert (model.calibration(replace(search, precision=asked)) is not None) is found


def test_training_images_are_recognised_by_their_fingerprint(model):
    seen = np.sort(np.array([2**63 + 5, 7, 300], np.uint64))  # beyond what a signed number holds
    model = replace(model, training_fingerprints=seen)
    for number in range(302):
        assert model.was_trained_on(number.to_bytes(8, "little")) is (number in (7, 300))
    assert model.was_trained_on((2**63 + 5).to_bytes(8, "little")) is True
    assert model.was_trained_on((2**64 - 1).to_bytes(8, "little")) is False


def test_a_model_that_kept_no_fingerprints_does_not_guess(model):
    assert model.was_trained_on(bytes(8)) is None

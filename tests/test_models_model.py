"""A model holds how to search with it and what it was trained on."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_generator

from adgan_cli.config import PAPER_SEARCH, SearchConfig
from adgan_cli.engine.models.dcgan import Encoder
from adgan_cli.engine.models.model import Calibration, Model


@pytest.fixture
def model():
    generator = make_generator()
    return Model(generator, generator.config)


def test_without_an_encoder_the_search_starts_from_the_prior_alone(model):
    assert model.default_search() == replace(SearchConfig(), init="prior")
    with_encoder = replace(model, encoder=Encoder(model.config, model.config.latent_dim))
    assert with_encoder.default_search() == SearchConfig()
    assert with_encoder.default_search(PAPER_SEARCH) == PAPER_SEARCH


def test_a_calibration_belongs_to_one_way_of_searching_whatever_is_adjusted_afterwards(model):
    calibration = Calibration(PAPER_SEARCH, np.zeros(3), np.zeros((3, 5)))
    model = replace(model, calibrations=(calibration,))
    assert model.calibration(replace(PAPER_SEARCH, adjust="complexity")) is calibration
    assert model.calibration(replace(PAPER_SEARCH, k=6)) is None


def test_training_images_are_recognised_by_their_fingerprint(model):
    seen = np.sort(np.array([2**63 + 5, 7, 300], np.uint64))  # beyond what a signed number holds
    model = replace(model, training_fingerprints=seen)
    for number in range(302):
        assert model.was_trained_on(number.to_bytes(8, "little")) is (number in (7, 300))
    assert model.was_trained_on((2**63 + 5).to_bytes(8, "little")) is True
    assert model.was_trained_on((2**64 - 1).to_bytes(8, "little")) is False


def test_a_model_that_kept_no_fingerprints_does_not_guess(model):
    assert model.was_trained_on(bytes(8)) is None

"""The encoder brings back what the generator made, and gives the search a better start."""

import pytest
import torch
from conftest import make_generator

from adgan_cli.engine.pixels import to_uint8
from adgan_cli.engine.training.encoder import train_encoder
from adgan_cli.engine.training.trainer import TrainingData
from adgan_cli.errors import DivergedError


@pytest.fixture
def data(generator):
    """Pictures that the generator can make: uint8 (24, 16, 16, 3)."""
    z = torch.randn(24, 8, generator=torch.Generator().manual_seed(5))
    return TrainingData(torch.from_numpy(to_uint8(generator(z))))


def test_training_brings_pictures_and_latent_vectors_closer(generator, data):
    steps = []
    encoder = train_encoder(generator, data, 60, on_step=lambda *step: steps.append(step))
    assert [step for step, _ in steps] == list(range(1, 61))
    first, last = (sum(loss for _, loss in part) for part in (steps[:5], steps[-5:]))
    assert last < 0.7 * first
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(6))
    assert (encoder(generator(z)) - z).square().mean() < 0.9, "1 is what a guess of 0 would have"
    assert not encoder.training and not any(w.requires_grad for w in encoder.parameters())


def test_an_encoder_that_is_over_early_is_that_of_fewer_steps(generator, data):
    asked = iter(range(3))
    early = train_encoder(generator, data, 60, is_over=lambda: next(asked, None) is None)
    whole = train_encoder(generator, data, 3)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, early.state_dict()[name])
    stopped = train_encoder(generator, data, 60, should_stop=lambda: True, is_over=lambda: True)
    assert stopped is None, "a stop leaves none"


def test_equal_seeds_give_equal_encoders_and_indices_choose_the_pictures(generator, data):
    def weights(indices=None, **given):
        chosen = TrainingData(data.pixels, indices)
        return train_encoder(generator, chosen, 2, **given).state_dict()

    def equal(a, b):
        return all(torch.equal(a[name], b[name]) for name in a)

    assert equal(weights(), weights())
    assert equal(weights(), weights(torch.arange(len(data))))
    assert not equal(weights(), weights(seed=1))
    assert not equal(weights(), weights(torch.arange(4)))


def test_the_generator_is_left_as_it_was(data):
    generator = make_generator()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    train_encoder(generator, data, 2)
    assert all(torch.equal(t, before[n]) for n, t in generator.state_dict().items())


def test_one_that_was_stopped_is_none(generator, data):
    steps, left = [], iter([False, False, True])

    def note(*step):
        steps.append(step)

    stopped = train_encoder(generator, data, 9, on_step=note, should_stop=lambda: next(left))
    assert stopped is None and len(steps) == 2


def test_a_diverged_encoder_is_an_error(data):
    generator = make_generator()
    generator.ups[0].weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="encoder diverged at step 1"):
        train_encoder(generator, data, 3)

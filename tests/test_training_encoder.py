"""The encoder brings back what the generator made, and gives the search a better start."""

import pytest
import torch
from conftest import make_generator

from adgan_cli.engine.pixels import to_uint8
from adgan_cli.engine.training.encoder import train_encoder
from adgan_cli.errors import DivergedError


@pytest.fixture
def pixels(generator):
    """Pictures that the generator can make: uint8 (24, 16, 16, 3)."""
    z = torch.randn(24, 8, generator=torch.Generator().manual_seed(5))
    return torch.from_numpy(to_uint8(generator(z)))


def test_training_brings_pictures_and_latent_vectors_closer(generator, pixels):
    told = []
    encoder = train_encoder(generator, pixels, 60, on_step=lambda *step: told.append(step))
    assert [step for step, _ in told] == list(range(1, 61))
    first, last = (sum(loss for _, loss in part) for part in (told[:5], told[-5:]))
    assert last < 0.7 * first
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(6))
    assert (encoder(generator(z)) - z).square().mean() < 0.9, "1 is what a guess of 0 would have"
    assert not encoder.training and not any(w.requires_grad for w in encoder.parameters())


def test_equal_seeds_give_equal_encoders_and_rows_choose_the_pictures(generator, pixels):
    def weights(**given):
        return train_encoder(generator, pixels, 2, **given).state_dict()

    def equal(a, b):
        return all(torch.equal(a[name], b[name]) for name in a)

    assert equal(weights(), weights())
    assert equal(weights(), weights(rows=torch.arange(len(pixels))))
    assert not equal(weights(), weights(seed=1))
    assert not equal(weights(), weights(rows=torch.arange(4)))


def test_the_generator_is_left_as_it_was(pixels):
    generator = make_generator()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    train_encoder(generator, pixels, 2)
    assert all(torch.equal(t, before[n]) for n, t in generator.state_dict().items())


def test_it_stops_when_asked(generator, pixels):
    told, left = [], iter([False, False, True])

    def note(*step):
        told.append(step)

    train_encoder(generator, pixels, 9, on_step=note, should_stop=lambda: next(left))
    assert len(told) == 2


def test_a_diverged_encoder_is_an_error(pixels):
    generator = make_generator()
    generator.ups[0].weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="encoder diverged at step 1"):
        train_encoder(generator, pixels, 3)

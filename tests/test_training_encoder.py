"""The encoder brings back what the generator made, and gives the search a better start."""

import pytest
import torch
from conftest import make_generator

from adgan_cli.engine.capture import RUNS
from adgan_cli.engine.pixels import to_uint8
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.encoder import train_encoder
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


def test_one_that_is_over_early_has_the_steps_done_so_far(generator, data):
    steps, left = [], iter([False, False, True])
    over = train_encoder(
        generator, data, 9, on_step=lambda *step: steps.append(step), is_over=lambda: next(left)
    )
    assert [step for step, _ in steps] == [1, 2]
    whole = train_encoder(generator, data, 2)
    assert all(torch.equal(t, over.state_dict()[n]) for n, t in whole.state_dict().items())


@pytest.mark.parametrize("fails", [False, True])
def test_captured_or_not_it_is_the_same_encoder(generator, data, fails):
    notes, replays = [], []

    def record(function, inputs, context):
        function(*inputs)
        if fails:
            raise RuntimeError("not permitted")
        return lambda *values: (replays.append(1), function(*values))[1]

    plain = train_encoder(generator, data, 3)
    captured = train_encoder(generator, data, 3, record=record, on_note=notes.append)
    assert all(torch.equal(t, captured.state_dict()[n]) for n, t in plain.state_dict().items())
    if fails:
        (note,) = notes
        assert note.endswith("and slower: it cannot be captured: not permitted")
    else:
        assert notes == [] and len(replays) == RUNS + 3


@pytest.mark.gpu
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_captures_its_step(generator, data, resident):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    on_device = generator.to(device, memory_format=torch.channels_last)
    chosen = TrainingData(data.pixels.to(device)) if resident else data
    notes, steps = [], []
    encoder = train_encoder(
        on_device, chosen, 60, on_note=notes.append, on_step=lambda *step: steps.append(step)
    )
    assert notes == [] and encoder.last.weight.device == device
    assert steps[0][0] == 1 and steps[-1][0] == 60
    assert steps[-1][1] < 0.8 * steps[0][1]

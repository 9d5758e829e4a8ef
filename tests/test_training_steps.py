"""Steps are functions of device tensors; captured, they are what they are eagerly."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.capture import RUNS
from adgan_cli.engine.training import steps as training_steps
from adgan_cli.engine.training import trainer
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.checkpoint import load_checkpoint, save_checkpoint
from adgan_cli.engine.training.objectives import objective
from adgan_cli.engine.training.optimizers import start_memory
from adgan_cli.engine.training.state import new_state
from adgan_cli.engine.training.steps import Training, new_steps, update_average
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.processes import SINGLE

MODEL = ModelConfig(16, 3, latent_dim=4, width=4)
CPU, META = torch.device("cpu"), torch.device("meta")
PIXELS = torch.randint(
    0, 256, (9, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
DATA = TrainingData(PIXELS)
OBJECTIVES = ["gan", "gan-saturating", "lsgan", "wgan", "wgan-gp", "mmd", "vae", "glo"]


RNG = SimpleNamespace(device=META)  # in place of the device's generator


class NoHost(TorchDispatchMode):
    """Refuses what would make a step wait for the host, or the host for a step.

    On a device without memory there is nothing to read either: that is an error of torch.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [one for one in (*args, result) if isinstance(one, torch.Tensor)]
        assert all(one.is_meta for one in tensors), f"{func} takes or makes something on the host"
        return result


class NoConstants(TorchFunctionMode):
    """Refuses tensors of numbers that Python holds: they are copied, which no dispatch shows."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        makers = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor}
        assert func not in makers, f"{func} copies from the host"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum().item(),
        lambda x: x + torch.tensor([1.0, 2.0], device=META),
        lambda x: x + x.new_tensor([1.0, 2.0]),
        lambda x: x + torch.rand(2).to(META),
        lambda x: x[torch.tensor([0])],
        lambda x: x * torch.tensor(2.0),
        lambda x: x if x.sum() > 0 else -x,
    ],
)
def test_the_modes_refuse_what_cannot_be_captured(function):
    x = torch.empty(2, device=META)
    with pytest.raises((AssertionError, RuntimeError)), NoHost(), NoConstants():
        function(x)


def without_generator(draw):
    """A function that draws, for a device without memory and so without a generator."""

    def patched(*args, generator=None, **kwargs):
        assert generator is RNG, "all random numbers of a step are of the state's generator"
        return draw(*args, **kwargs)

    return patched


@pytest.fixture
def meta_steps(monkeypatch):
    """meta_steps(config): steps on a device that computes shapes alone."""

    def make(config):
        state = new_state(MODEL, config, device=META, precision="fp32", n_images=9)
        state.rng = RNG
        for optimizer in state.optimizers().values():
            monkeypatch.setattr(optimizer, "step", lambda: None)  # torch's own, see the next test
        pixels = torch.empty(9, 16, 16, 3, dtype=torch.uint8, device=META)
        done = torch.zeros((), dtype=torch.int64, device=META)
        for draw in ("randn", "rand", "randint"):
            monkeypatch.setattr(torch, draw, without_generator(getattr(torch, draw)))
        return new_steps(Training(state, objective(config), TrainingData(pixels), SINGLE, done))

    # there is no autocast for it
    monkeypatch.setattr(training_steps, "autocast", lambda state: nullcontext())
    return make


@pytest.mark.parametrize("name", OBJECTIVES)
def test_steps_read_nothing_and_copy_nothing(meta_steps, name):
    config = TrainConfig(objective=name, iters=2, batch_size=4, flip=True)
    for step in meta_steps(config).values():
        with NoHost(), NoConstants():
            (result,) = step()
        assert result.is_meta and not result.requires_grad and result.dim() == 0


def fresh(name, device=CPU, channels=3, **changes):
    """A state before three steps; of wgan after its 25 long ones."""
    shape = replace(MODEL, channels=channels)
    begin = 25 if name == "wgan" else 0
    config = TrainConfig(objective=name, iters=begin + 3, batch_size=4, flip=True, **changes)
    state = new_state(shape, config, device=device, precision="fp32", n_images=len(PIXELS))
    state.step = begin
    return state


def tensors_of(state):
    networks = [network.state_dict() for network in state.named_networks().values()]
    optimizers = [
        entry
        for optimizer in state.optimizers().values()
        for entry in optimizer.state_dict()["state"].values()
    ]
    return [tensor for part in (*networks, *optimizers) for tensor in part.values()]


def assert_same(a, b):
    for one, other in zip(tensors_of(a), tensors_of(b), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(a.rng.get_state(), b.rng.get_state())


def step_name(function):
    return getattr(function, "func", function).__name__


def counting(replays):
    """A record whose replays are the functions, and counted by their names."""

    def record(function, inputs, context):
        function(*inputs)  # as a warm-up does
        name = step_name(function)

        def replay(*values):
            replays[name] = replays.get(name, 0) + 1
            return function(*values)

        return replay

    return record


@pytest.mark.parametrize("name", OBJECTIVES)
def test_captured_training_is_eager_training_from_its_first_step(name):
    plain, captured, replays = fresh(name), fresh(name), {}
    metrics = list(train_steps(plain, DATA))
    assert list(train_steps(captured, DATA, record=counting(replays))) == metrics
    assert_same(plain, captured)
    assert captured.notes == []
    if captured.critic is None:
        assert replays == {"reconstructive_step": RUNS + 3}
    else:
        n_critic = captured.train_config.n_critic
        assert replays == {"critic_step": RUNS + 3 * n_critic, "generator_step": RUNS + 3}


def failing(name):
    def record(function, inputs, context):
        function(*inputs)
        if step_name(function) == name:
            raise RuntimeError("operation not permitted when stream is capturing")
        return function

    return record


def differing(name):
    """A record whose replay of one step draws the same numbers each time."""

    def record(function, inputs, context):
        (rng,) = context.generators
        frozen = rng.get_state()

        def replay(*values):
            rng.set_state(frozen)
            return function(*values)

        return replay if step_name(function) == name else function

    return record


@pytest.mark.parametrize(
    ("objective_name", "step"),
    [("wgan-gp", "critic_step"), ("gan", "generator_step"), ("vae", "reconstructive_step")],
)
@pytest.mark.parametrize(
    ("make", "why"), [(failing, "cannot be captured: operation not"), (differing, "differs in")]
)
def test_what_cannot_be_captured_or_differs_is_trained_eagerly(objective_name, step, make, why):
    plain, other = fresh(objective_name), fresh(objective_name)
    metrics = list(train_steps(plain, DATA))
    assert list(train_steps(other, DATA, record=make(step))) == metrics
    assert_same(plain, other)
    (note,) = other.notes
    assert note.startswith("training is not captured as CUDA graphs") and why in note
    assert "\n" not in note


def test_one_step_that_cannot_be_captured_makes_all_eager():
    state, replays = fresh("gan"), {}
    count = counting(replays)

    def record(function, inputs, context):
        if step_name(function) == "generator_step":
            raise RuntimeError
        return count(function, inputs, context)

    list(train_steps(state, DATA, record=record))
    assert replays == {"critic_step": RUNS}, "in its check alone"


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    ("record", "notes"), [(counting({}), []), (failing("measure"), ["validation"])]
)
def test_images_held_out_fare_the_same_when_that_is_captured(name, record, notes, monkeypatch):
    monkeypatch.setattr(trainer, "VALIDATE_EVERY", 1)
    data = replace(DATA, held_out=PIXELS[:5])
    plain, captured = fresh(name), fresh(name)
    list(train_steps(plain, data))
    list(train_steps(captured, data, record=record))
    assert len(plain.validation_log) == 3 and plain.validation_log == captured.validation_log
    assert_same(plain, captured)
    assert [note.split(" is not captured")[0] for note in captured.notes] == notes


def test_a_run_that_is_complete_captures_nothing():
    state, replays = fresh("gan"), {}
    state.step = 3
    assert list(train_steps(state, DATA, record=counting(replays))) == [] and replays == {}


def test_a_run_that_is_to_stop_at_once_captures_nothing():
    state, replays = fresh("gan"), {}
    stopped = list(train_steps(state, DATA, should_stop=lambda: True, record=counting(replays)))
    assert (stopped, state.step, replays) == ([], 0, {})


def test_eager_captures_nothing():
    state, replays = fresh("gan"), {}
    list(train_steps(state, DATA, record=counting(replays), eager=True))
    assert state.step == 3 and replays == {}


@pytest.mark.parametrize("ema", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("steps_done", [0, 1, 7, 10_000, 10**6])
def test_the_average_decays_by_its_equation_and_the_step_is_counted(ema, steps_done):
    state = fresh("mmd", ema=ema)
    done = torch.tensor(steps_done)
    before = state.ema.first.weight.clone()
    with torch.no_grad():
        state.generator.first.weight.add_(1)
    update_average(Training(state, objective(state.train_config), DATA, SINGLE, done))
    decay = min(ema, (1 + steps_done) / (10 + steps_done))
    expected = before.lerp(state.generator.first.weight.detach(), 1 - decay)
    assert torch.equal(state.ema.first.weight, expected)
    assert done == steps_done + 1


def test_memory_that_was_started_is_that_of_the_first_step_and_moves_no_weight():
    plain, started = fresh("wgan-gp"), fresh("wgan-gp")
    for optimizer in started.optimizers().values():
        assert not optimizer.state
        start_memory(optimizer)
        assert all(not t.any() for entry in optimizer.state.values() for t in entry.values())
    for network, other in zip(plain.networks(), started.networks(), strict=True):
        for one, same in zip(network.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, same) and same.grad is None
    for state in (plain, started):
        list(train_steps(state, DATA))
    assert_same(plain, started)
    for optimizer in started.optimizers().values():
        start_memory(optimizer)  # of one that remembers something already
    assert_same(plain, started)


def cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda", torch.cuda.current_device())


def assert_near(start, one, other):
    """Both have gone the same way: sums in another order move weights with hardly a slope."""
    for before, a, b in zip(
        start.ema.parameters(), one.ema.parameters(), other.ema.parameters(), strict=True
    ):
        assert (a - b).abs().sum() <= 0.25 * (a - before).abs().sum()


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "channels"), [("fp32", 3), ("bf16", 3), ("bf16", 1)])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_gpu_captures_every_objective_and_trains_as_eagerly(name, precision, channels):
    device = cuda()
    pixels = PIXELS[..., :channels].contiguous()
    data = TrainingData(pixels.to(device), held_out=pixels[:5])
    plain, captured = (
        replace(fresh(name, device, channels), precision=precision) for _ in range(2)
    )
    eager = list(train_steps(plain, data, eager=True))
    replayed = list(train_steps(captured, data))
    assert captured.notes == []
    assert torch.equal(plain.rng.get_state(), captured.rng.get_state())
    assert replayed[0].distance == pytest.approx(eager[0].distance, rel=0.05, abs=0.01)
    assert replayed[-1].images == eager[-1].images
    assert_near(fresh(name, device, channels), plain, captured)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["wgan-gp", "wgan", "glo"])
def test_a_gpu_goes_on_from_a_checkpoint_with_the_same_random_numbers(name, channels, tmp_path):
    device = cuda()
    data = TrainingData(PIXELS[..., :channels].contiguous().to(device))
    whole, parted = fresh(name, device, channels), fresh(name, device, channels)
    list(train_steps(whole, data))
    calls = iter([False] * 2)
    list(train_steps(parted, data, should_stop=lambda: next(calls, True)))
    assert parted.step < whole.step
    save_checkpoint(parted, tmp_path, {"pictures": len(PIXELS)})
    resumed = load_checkpoint(tmp_path, device)
    assert resumed.notes == []
    list(train_steps(resumed, data))
    assert resumed.notes == [] and resumed.step == whole.step
    assert torch.equal(whole.rng.get_state(), resumed.rng.get_state())
    assert_near(fresh(name, device, channels), whole, resumed)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["gan", "glo"])
def test_a_gpu_trains_on_images_that_stay_in_memory(name):
    device = cuda()
    plain, captured = fresh(name, device), fresh(name, device)
    eager = list(train_steps(plain, DATA, eager=True))
    replayed = list(train_steps(captured, DATA))
    assert captured.notes == []
    assert replayed[-1].generator_loss == pytest.approx(eager[-1].generator_loss, rel=0.1, abs=0.05)
    assert torch.equal(plain.rng.get_state(), captured.rng.get_state())

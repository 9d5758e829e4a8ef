"""Training is exact, stops and goes on anywhere, and knows when it went wrong."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.models.files import read_tensors
from adgan_cli.engine.models.header import metadata
from adgan_cli.engine.training import trainer as training
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.checkpoint import (
    CUDA_STATE,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from adgan_cli.engine.training.objectives import Adversarial
from adgan_cli.engine.training.state import ema_generator, new_state
from adgan_cli.engine.training.steps import Training, real_batch
from adgan_cli.engine.training.trainer import StepMetrics, check_step, train_steps
from adgan_cli.errors import DivergedError, ModelFileError
from adgan_cli.processes import SINGLE

CPU = torch.device("cpu")
MODEL = ModelConfig(16, 1, latent_dim=4, width=4)
DATA = TrainingData(
    torch.randint(
        0, 256, (10, 16, 16, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
)


def fresh(objective="wgan-gp", iters=4, **changes):
    settings = TrainConfig(objective=objective, iters=iters, batch_size=4, **changes)
    return new_state(MODEL, settings, device=CPU, precision="fp32", n_images=len(DATA))


def training_of(state, data):
    recipe = training.objective(state.train_config)
    return Training(state, recipe, data, SINGLE, torch.tensor(state.step))


def weights(state):
    return {
        f"{part}.{name}": tensor
        for part in ("generator", "auxiliary", "ema")
        if (network := getattr(state, part)) is not None
        for name, tensor in network.state_dict().items()
    }


def train(state, **options):
    return list(train_steps(state, DATA, **options))


def assert_same(a, b):
    for name, tensor in weights(a).items():
        assert torch.equal(tensor, weights(b)[name]), name
    assert torch.equal(a.rng.get_state(), b.rng.get_state())


def stop_after(calls):
    """A should_stop that lets this many critic or generator steps pass."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("objective", ["wgan", "wgan-gp", "lsgan", "mmd", "vae", "glo"])
@pytest.mark.parametrize("calls", [1, 3, 8, 20])
def test_stopped_and_resumed_training_equals_uninterrupted(objective, calls, tmp_path, monkeypatch):
    # the reference schedule's hundred critic steps are tested elsewhere; three will do here
    make = training.objective

    def quicker(config):
        recipe = make(config)
        if not isinstance(recipe, Adversarial):
            return recipe
        return replace(recipe, critic_steps=lambda step: 3 + (step == 0))

    monkeypatch.setattr(training, "objective", quicker)
    whole = fresh(objective)
    train(whole)
    parted = fresh(objective)
    train(parted, should_stop=stop_after(calls))
    assert parted.step < whole.step or calls == 20 or objective in ("mmd", "vae", "glo")
    save_checkpoint(parted, tmp_path, {"pictures": 10})
    resumed = load_checkpoint(tmp_path, CPU)
    train(resumed)
    assert resumed.step == whole.step == 4
    assert_same(whole, resumed)


def test_equal_seeds_train_equal_networks_and_others_do_not():
    a, b, c = fresh(iters=2), fresh(iters=2), fresh(iters=2, seed=1)
    for state in (a, b, c):
        train(state)
    assert_same(a, b)
    assert not torch.equal(a.generator.first.weight, c.generator.first.weight)


def test_training_moves_both_networks_and_reports_every_step():
    state, before = fresh(iters=2), fresh(iters=2)
    metrics = train(state)
    assert [m.step for m in metrics] == [1, 2]
    assert metrics[-1].images == 2 * 5 * 4
    assert not torch.equal(state.generator.first.weight, before.generator.first.weight)
    assert not torch.equal(state.critic.last.weight, before.critic.last.weight)


def test_the_goal_of_a_resumed_run_can_move(tmp_path):
    state, longer = fresh(iters=2), fresh(iters=4)
    train(state)
    save_checkpoint(state, tmp_path, {"pictures": 10})
    resumed = load_checkpoint(tmp_path, CPU, iters=4)
    train(resumed)
    train(longer)
    assert_same(resumed, longer)


def test_the_average_forgets_the_random_start():
    """With the ramp it follows the weights; with a bare decay of 0.999 it would hardly move."""
    state, start = fresh(iters=4), fresh().ema.first.weight
    train(state)
    now, average = state.generator.first.weight, state.ema.first.weight
    assert (average - now).norm() < (average - start).norm()


def test_without_averaging_the_last_weights_are_kept():
    state = fresh(iters=2, ema=0.0)
    train(state)
    for average, weight in zip(state.ema.parameters(), state.generator.parameters(), strict=True):
        torch.testing.assert_close(average, weight, rtol=0, atol=1e-7)


def test_the_kept_generator_has_batch_norm_statistics_of_its_own_weights():
    state = fresh(iters=3)
    train(state)
    kept, copy = ema_generator(state, batches=500), ema_generator(state, batches=500)
    z = torch.randn(4000, 4, generator=torch.Generator().manual_seed(5))
    first = kept.first(z[:, :, None, None])
    torch.testing.assert_close(
        kept.norms[0].running_mean, first.mean((0, 2, 3)), atol=0.1 * first.std().item(), rtol=0
    )
    torch.testing.assert_close(kept.norms[0].running_var, first.var((0, 2, 3)), rtol=0.2, atol=0)
    assert not kept.training
    for name, tensor in kept.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name]), name


def test_flipping_draws_mirrored_pictures_too():
    state = fresh(flip=True)
    left = torch.zeros(1, 16, 16, 1, dtype=torch.uint8)
    left[:, :, :8] = 255
    batches = torch.cat([real_batch(training_of(state, TrainingData(left)))[0] for _ in range(8)])
    assert {picture[0, 0, 0].item() for picture in batches} == {-1.0, 1.0}


def test_indices_say_where_the_pictures_lie():
    state = fresh()
    pixels = torch.arange(9, dtype=torch.uint8).view(9, 1, 1, 1).expand(9, 16, 16, 1)
    data = TrainingData(pixels, torch.tensor([8, 2]))
    batches = [real_batch(training_of(state, data))[0] for _ in range(8)]
    levels = {round((picture[0, 0, 0].item() + 1) * 127.5) for picture in torch.cat(batches)}
    assert levels == {8, 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_a_diverged_step_is_an_error(value):
    with pytest.raises(DivergedError, match="step 7.*try"):
        check_step(StepMetrics(7, value, 0.0, 0), fresh())


def test_a_distance_that_a_lipschitz_critic_can_reach_is_not_an_error():
    check_step(StepMetrics(7, 2.0 * 16, 0.0, 0), fresh())  # the diameter of [-1, 1]^256


def test_training_on_exploding_weights_stops():
    state = fresh(iters=3)
    with torch.no_grad():
        state.critic.last.weight.fill_(float("nan"))
    with pytest.raises(DivergedError):
        train(state)
    assert state.step == 1


def test_bf16_training_stays_in_range_and_keeps_float32_weights():
    state = replace(fresh(iters=2), precision="bf16")
    train(state)
    assert state.generator.first.weight.dtype == torch.float32


def test_a_checkpoint_tells_what_it_is_before_it_is_loaded(tmp_path):
    state = fresh(iters=3)
    train(state, should_stop=stop_after(8))
    save_checkpoint(state, tmp_path, {"pictures": 10})
    content = read_checkpoint(tmp_path)
    assert (content["step"], content["critic_step"]) == (1, 2)
    assert content["data"] == {"pictures": 10}


def drop(tensors, part):
    for name in [name for name in tensors if part in name]:
        del tensors[name]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda tensors, content: drop(tensors, "exp_avg_sq"), "optimizer"),
        # adgan 0.2 had none
        (lambda tensors, content: content["training"].pop("holdout"), "settings do not .*holdout"),
        (lambda tensors, content: tensors.update(rng=tensors["rng"][:7]), "corrupt"),
        (lambda tensors, content: content.update(step=-1), "settings do not .*step is -1"),
        (lambda tensors, content: content.update(critic_step=1.5), "critic_step is 1.5"),
        (lambda tensors, content: content["data"].update(pictures="x" * 99), "pictures is 'x"),
    ],
)
def test_a_checkpoint_without_an_optimizer_or_of_other_settings_is_refused_in_a_line(
    tmp_path, harm, message
):
    state = fresh(iters=1)
    train(state)
    save_checkpoint(state, tmp_path, {"pictures": 10})
    file = tmp_path / "checkpoint.safetensors"
    tensors, content = load_file(file), read_checkpoint(tmp_path)
    harm(tensors, content)
    save_file(tensors, file, metadata("checkpoint", content))
    with pytest.raises(ModelFileError, match=message) as error:
        load_checkpoint(tmp_path, CPU)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("last", [1, 2])
def test_random_numbers_of_another_kind_of_device_go_on_anew_and_the_user_hears_of_it(
    tmp_path, last
):
    state = fresh(iters=1)
    train(state)
    save_checkpoint(state, tmp_path, {"pictures": 10})
    file = tmp_path / "checkpoint.safetensors"
    tensors, content = load_file(file), read_checkpoint(tmp_path)
    of_cuda = torch.Generator().get_state()[:CUDA_STATE].clone()
    of_cuda[-1] = last
    tensors["rng"] = of_cuda
    save_file(tensors, file, metadata("checkpoint", content))
    one, again = load_checkpoint(tmp_path, CPU), load_checkpoint(tmp_path, CPU)
    (note,) = one.notes
    assert "drawn on CUDA before" in note and "on cpu from here on" in note and "\n" not in note
    assert torch.equal(one.rng.get_state(), again.rng.get_state())
    tensors["rng"][-1] = 9
    save_file(tensors, file, metadata("checkpoint", content))
    assert not torch.equal(load_checkpoint(tmp_path, CPU).rng.get_state(), one.rng.get_state())


def test_on_one_kind_of_device_random_numbers_go_on_where_they_stopped(tmp_path):
    state = fresh(iters=1)
    train(state)
    save_checkpoint(state, tmp_path, {"pictures": 10})
    resumed = load_checkpoint(tmp_path, CPU)
    assert resumed.notes == []
    assert torch.equal(resumed.rng.get_state(), state.rng.get_state())


def test_a_consumer_may_leave_after_any_step_and_go_on_later():
    whole, parted = fresh(), fresh()
    train(whole)
    for metrics in train_steps(parted, DATA):
        if metrics.step == 2:
            break
    assert parted.step == 2
    train(parted)
    assert_same(whole, parted)


def test_mmd_has_no_critic_in_memory_or_in_its_checkpoint(tmp_path):
    state = fresh("mmd", iters=1)
    train(state)
    assert state.auxiliary is None and state.auxiliary_optimizer is None
    assert len(state.networks()) == 1
    save_checkpoint(state, tmp_path, {"pictures": 10})
    names = read_tensors(tmp_path / "checkpoint.safetensors")
    assert not [name for name in names if name.startswith("critic")]
    assert {name.split("/")[0] for name in names} == {
        "generator", "averaged", "generator_optimizer", "rng", "checks",
    }  # fmt: skip


@pytest.mark.parametrize("objective", ["gan", "vae", "glo"])
def test_every_auxiliary_network_is_the_critic_of_the_file(objective, tmp_path):
    state = fresh(objective, iters=1)
    train(state)
    save_checkpoint(state, tmp_path, {"pictures": 10})
    names = read_tensors(tmp_path / "checkpoint.safetensors")
    ours = {f"critic/{name}" for name in state.auxiliary.state_dict()}
    assert ours == {name for name in names if name.startswith("critic/")}

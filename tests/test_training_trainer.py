"""Training is exact, stops and goes on anywhere, and knows when it went wrong."""

from dataclasses import replace

import pytest
import torch

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.training import trainer as training
from adgan_cli.engine.training.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from adgan_cli.engine.training.trainer import (
    StepMetrics,
    check_step,
    ema_generator,
    new_state,
    run,
)
from adgan_cli.errors import DivergedError, ModelFileError

CPU = torch.device("cpu")
MODEL = ModelConfig(16, 1, latent_dim=4, width=4)
PIXELS = torch.randint(
    0, 256, (10, 16, 16, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def fresh(objective="wgan-gp", iters=4, **changes):
    settings = TrainConfig(objective=objective, iters=iters, batch_size=4, **changes)
    return new_state(MODEL, settings, device=CPU, precision="fp32", pictures=len(PIXELS))


def weights(state):
    return {
        f"{part}.{name}": tensor
        for part in ("generator", "critic", "averaged")
        for name, tensor in getattr(state, part).state_dict().items()
    }


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
    aims = training.objective
    monkeypatch.setattr(
        training,
        "objective",
        lambda c: replace(aims(c), critic_steps=lambda s: (3 + (s == 0)) * aims(c).has_critic),
    )
    whole = fresh(objective)
    run(whole, PIXELS)
    parted = fresh(objective)
    run(parted, PIXELS, should_stop=stop_after(calls))
    assert parted.step < whole.step or calls == 20 or objective in ("mmd", "vae", "glo")
    save_checkpoint(parted, tmp_path, {"pictures": 10})
    resumed = load_checkpoint(tmp_path, CPU)
    run(resumed, PIXELS)
    assert resumed.step == whole.step == 4
    assert_same(whole, resumed)


def test_equal_seeds_train_equal_networks_and_others_do_not():
    a, b, c = fresh(iters=2), fresh(iters=2), fresh(iters=2, seed=1)
    for state in (a, b, c):
        run(state, PIXELS)
    assert_same(a, b)
    assert not torch.equal(a.generator.first.weight, c.generator.first.weight)


def test_training_moves_both_networks_and_reports_every_step():
    state, before, told = fresh(iters=2), fresh(iters=2), []
    run(state, PIXELS, on_step=told.append)
    assert [t.step for t in told] == [1, 2]
    assert told[-1].pictures == 2 * 5 * 4
    assert not torch.equal(state.generator.first.weight, before.generator.first.weight)
    assert not torch.equal(state.critic.last.weight, before.critic.last.weight)


def test_the_goal_of_a_resumed_run_can_move(tmp_path):
    state, longer = fresh(iters=2), fresh(iters=4)
    run(state, PIXELS)
    save_checkpoint(state, tmp_path, {"pictures": 10})
    resumed = load_checkpoint(tmp_path, CPU, iters=4)
    run(resumed, PIXELS)
    run(longer, PIXELS)
    assert_same(resumed, longer)


def test_the_average_forgets_the_random_start():
    """With the ramp it follows the weights; with a bare decay of 0.999 it would hardly move."""
    state, start = fresh(iters=4), fresh().averaged.first.weight
    run(state, PIXELS)
    now, average = state.generator.first.weight, state.averaged.first.weight
    assert (average - now).norm() < (average - start).norm()


def test_without_averaging_the_last_weights_are_kept():
    state = fresh(iters=2, ema=0.0)
    run(state, PIXELS)
    for average, weight in zip(
        state.averaged.parameters(), state.generator.parameters(), strict=True
    ):
        torch.testing.assert_close(average, weight, rtol=0, atol=1e-7)


def test_the_kept_generator_has_batch_norm_statistics_of_its_own_weights():
    state = fresh(iters=3)
    run(state, PIXELS)
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
    batches = torch.cat([training._real_batch(state, left, None)[0] for _ in range(8)])
    assert {picture[0, 0, 0].item() for picture in batches} == {-1.0, 1.0}


def test_rows_say_where_the_pictures_lie() -> None:
    state = fresh()
    pixels = torch.arange(9, dtype=torch.uint8).view(9, 1, 1, 1).expand(9, 16, 16, 1)
    batches = [training._real_batch(state, pixels, torch.tensor([8, 2]))[0] for _ in range(8)]
    levels = {round((picture[0, 0, 0].item() + 1) * 127.5) for picture in torch.cat(batches)}
    assert levels == {8, 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_a_diverged_step_is_an_error(value):
    with pytest.raises(DivergedError, match="step 7.*try"):
        check_step(StepMetrics(7, value, 0.0, 0, 0.0), fresh())


def test_a_distance_that_a_lipschitz_critic_can_reach_is_not_an_error():
    check_step(StepMetrics(7, 2.0 * 16, 0.0, 0, 0.0), fresh())  # the diameter of [-1, 1]^256


def test_training_on_exploding_weights_stops():
    state = fresh(iters=3)
    with torch.no_grad():
        state.critic.last.weight.fill_(float("nan"))
    with pytest.raises(DivergedError):
        run(state, PIXELS)
    assert state.step == 1


def test_bf16_training_stays_in_range_and_keeps_float32_weights():
    state = replace(fresh(iters=2), precision="bf16")
    run(state, PIXELS)
    assert state.generator.first.weight.dtype == torch.float32


def test_a_checkpoint_tells_what_it_is_before_it_is_loaded(tmp_path):
    state = fresh(iters=3)
    run(state, PIXELS, should_stop=stop_after(8))
    save_checkpoint(state, tmp_path, {"pictures": 10})
    content = read_checkpoint(tmp_path)
    assert (content["step"], content["critic_step"]) == (1, 2)
    assert content["data"] == {"pictures": 10}


def test_a_truncated_checkpoint_is_named(tmp_path):
    save_checkpoint(fresh(), tmp_path, {"pictures": 10})
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="checkpoint.safetensors is corrupt"):
        load_checkpoint(tmp_path, CPU)


def test_a_checkpoint_without_optimizer_state_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    from adgan_cli.engine.models.header import metadata

    state = fresh(iters=1)
    run(state, PIXELS)
    save_checkpoint(state, tmp_path, {"pictures": 10})
    file = tmp_path / "checkpoint.safetensors"
    tensors = {n: t for n, t in load_file(file).items() if "exp_avg_sq" not in n}
    content = read_checkpoint(tmp_path)
    save_file(tensors, file, metadata("checkpoint", content))
    with pytest.raises(ModelFileError, match="optimizer"):
        load_checkpoint(tmp_path, CPU)

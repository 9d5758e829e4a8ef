"""Training in several processes takes the steps that one would take."""

import copy
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from commands import TINY, adgan, one_error, wait_until
from several_processes import run_processes, start_processes, torchrun
from torch import Tensor, multiprocessing, nn

from adgan_cli.config import ModelConfig, TrainConfig
from adgan_cli.engine.distributed import SharedBatchNorm, process_group, sync_batch_norm
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.checkpoint import read_checkpoint
from adgan_cli.engine.training.state import new_state
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.errors import ConfigError
from adgan_cli.locks import LOCK_FILE
from adgan_cli.processes import SINGLE, Processes

SHAPE = ModelConfig(16, 1, latent_dim=8, width=4)
CPU = torch.device("cpu")


def pictures(count: int = 12) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 16, 16, 1), generator=rng).to(torch.uint8)


def steps_of(config: TrainConfig, processes: Processes = SINGLE) -> dict[str, Any]:
    """Gradients and statistics after the first step of each network, and the metrics."""
    state = new_state(SHAPE, config, device=CPU, precision="fp32", n_images=12)
    found: dict[str, Any] = {}
    once = iter([False, True])
    has_critic = config.objective not in ("vae", "glo", "mmd")
    if has_critic:
        data = TrainingData(pictures())
        list(train_steps(state, data, should_stop=lambda: next(once), processes=processes))
        assert state.critic is not None
        found["critic"] = [weight.grad.clone() for weight in state.critic.parameters()]
    data = TrainingData(pictures(), held_out=pictures())
    found["metrics"] = list(train_steps(state, data, processes=processes))
    found["generator"] = [weight.grad for weight in state.generator.parameters()]
    found["norms"] = [norm.running_var for norm in state.generator.norms]
    found["rng"] = state.rng.get_state()
    found["weights"] = list(state.generator.parameters())
    return found


def one_of(number: int, count: int, folder: str, configs: list[TrainConfig]) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(os.path.join(folder, "store"), count)
    here = Processes(number, count, number, store)
    with process_group(here, CPU):
        found = [steps_of(config, here) for config in configs]
    for part in found:
        part["metrics"] = [asdict(metrics) for metrics in part["metrics"]]
    torch.save(found, os.path.join(folder, f"{number}.pt"))


def test_two_processes_take_the_step_that_one_takes(tmp_path):
    # 7 pictures: shares of 3 and 4
    configs = [
        TrainConfig(
            encoder_iters=0, objective=name, iters=1, batch_size=7, critic_steps=2, flip=True
        )
        for name in ("wgan-gp", "wgan", "gan", "lsgan", "glo")
    ]
    multiprocessing.spawn(one_of, (2, os.fspath(tmp_path), configs), nprocs=2)
    both = [torch.load(tmp_path / f"{number}.pt") for number in range(2)]
    for config, first, second in zip(configs, *both, strict=True):
        alone = steps_of(config)
        for part in ("critic", "generator", "norms", "weights"):
            for here, there, one in zip(
                first.get(part, []), second.get(part, []), alone.get(part, []), strict=True
            ):
                assert torch.equal(here, there), "all processes hold the same"
                tolerance = 1e-4 * one.abs().max().item() + 1e-9
                if part == "weights":  # Adam makes steps of rounding errors where a slope is 0
                    tolerance += 1e-3
                assert (here - one).abs().max().item() <= tolerance, (config.objective, part)
        assert torch.equal(first["rng"], alone["rng"]), "the next batch is the same too"
        (shared,), (single,) = first["metrics"], alone["metrics"]
        for name in ("distance", "generator_loss"):
            assert shared[name] == pytest.approx(getattr(single, name), rel=1e-3, abs=1e-5)
        assert shared["images"] == single.images, "those of all processes"


def test_a_norm_that_is_not_shared_is_torchs_own_to_the_bit():
    x = torch.randn(5, 3, 4, 4)
    ours, theirs = SharedBatchNorm(3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
    copied = copy.deepcopy(ours)
    with sync_batch_norm([ours], True):
        assert ours.shared and not copied.shared
        assert torch.equal(ours.eval()(x), theirs.eval()(x)), "in eval mode nothing is shared"
    assert not ours.shared


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("meta", "cannot train on meta; try --device cpu"),
        ("cpu", "this build of torch has no gloo"),
    ],
)
def test_a_device_or_a_torch_without_a_way_to_talk_is_refused(monkeypatch, device, message):
    monkeypatch.setattr(dist, "is_backend_available", lambda name: False)
    with pytest.raises(ConfigError, match=message):
        with process_group(Processes(0, 2, 0, dist.HashStore()), torch.device(device)):
            pass


def test_fewer_pictures_in_a_batch_than_processes_are_refused():
    config = TrainConfig(objective="wgan-gp", encoder_iters=0, batch_size=2, iters=1)
    state = new_state(SHAPE, config, device=CPU, precision="fp32")
    with pytest.raises(ConfigError, match="--batch-size 2 leaves nothing for some of 3 processes"):
        processes = Processes(0, 3, 0, dist.HashStore())
        list(train_steps(state, TrainingData(pictures()), processes=processes))


# the command


def weights_of(model: Path) -> Tensor:
    generator = load_model(model).generator
    return torch.cat([weight.flatten() for weight in generator.parameters()])


def test_a_model_trained_by_two_goes_on_with_one(discs, tmp_path):
    words = ["train", discs(30), *TINY, "--patience", "0"]
    out, whole = tmp_path / "two", tmp_path / "one"
    first, second = run_processes(2, *words, "-o", out)
    assert (first.returncode, second.returncode) == (0, 0), (first.stderr, second.stderr)
    assert "in 2 processes, until 3 steps" in first.stderr
    assert (second.stdout, second.stderr) == ("", ""), "one voice"
    adgan(*words, "-o", whole)
    assert read_checkpoint(out) == read_checkpoint(whole)
    assert (weights_of(out) - weights_of(whole)).abs().max() < 2e-3
    for model in (out, whole):
        adgan("train", tmp_path / "discs", "-o", model, "--resume", "--iters", "5", "-q")
    assert (weights_of(out) - weights_of(whole)).abs().max() < 4e-3
    history = [(model / "history.csv").read_text().splitlines() for model in (out, whole)]
    assert len(history[0]) == len(history[1]) == 6
    for row in (1, 3):
        distances = [float(lines[row].split(",")[1]) for lines in history]
        assert distances[0] == pytest.approx(distances[1], rel=0.02)


def test_processes_that_train_on_other_pictures_stop_before_any_work(discs, tmp_path):
    folder, out = discs(6), tmp_path / "model"
    words = ["train", folder, *TINY, "-o", out, "--no-cache"]
    first, second = start_processes(2, *words, more={1: ["--include", "*-00[0-4]*"]})
    try:
        _, told = second.communicate(timeout=60)
        assert second.returncode == 2
        assert "has pictures " in one_error(told)
        files = out.iterdir() if out.exists() else ()
        assert {path.name for path in files} <= {LOCK_FILE}
    finally:
        first.kill()  # as torchrun would
        first.communicate()


@pytest.mark.skipif(not os.path.exists("/proc"), reason="finds processes by /proc")
@pytest.mark.slow
def test_training_goes_on_after_a_process_was_killed(discs, tmp_path):
    from test_processes import worker_of

    out = tmp_path / "model"
    words = ["train", discs(30), *TINY, "--iters", "400", "--save-every", "1s", "-o", out]
    run_ = torchrun(2, *words, restarts=1)
    wait_until(lambda: (out / "checkpoint.safetensors").exists(), run_)
    os.kill(worker_of(run_.pid), 9)
    told = run_.communicate(timeout=180)
    assert run_.returncode == 0, told
    assert read_checkpoint(out)["step"] == 400
    steps = [int(line.split(",")[0]) for line in (out / "history.csv").read_text().split()[1:]]
    assert steps == list(range(1, 401)), "each step once"

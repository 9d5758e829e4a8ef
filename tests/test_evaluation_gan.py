"""The critic of a GAN comes from the checkpoint of the same run, or not at all."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from adgan_cli.config import ModelConfig, TrainConfig, to_dict
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.training.batches import TrainingData
from adgan_cli.engine.training.checkpoint import save_checkpoint
from adgan_cli.engine.training.state import ema_generator, new_state
from adgan_cli.engine.training.trainer import train_steps
from adgan_cli.errors import ConfigError, ModelFileError
from adgan_cli.evaluation.methods.gan import load_critic, trained_gan
from adgan_cli.evaluation.settings import Settings
from adgan_cli.evaluation.task import Cell, Task

CPU = torch.device("cpu")


def noise(count):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1), dtype=np.uint8)


@pytest.fixture
def trained(tmp_path):
    config = TrainConfig(
        objective="wgan-gp", encoder_iters=0, iters=2, batch_size=4, critic_steps=1
    )
    state = new_state(ModelConfig(16, 1, 8, 4), config, device=CPU, precision="fp32")
    list(train_steps(state, TrainingData(torch.from_numpy(noise(8)))))
    data = {"pictures": 8, "digest": "abc"}
    training = to_dict(config) | {"iters": state.step, "precision": "fp32"}
    model = Model(
        ema_generator(state), state.model_config, provenance={"training": training, "data": data}
    )
    save_model(model, tmp_path / "m")
    save_checkpoint(state, tmp_path / "m", data | {"reading": {}})
    return tmp_path / "m", state


def test_the_critic_is_the_one_the_model_was_trained_against(trained):
    folder, state = trained
    for path in (folder, folder / "model.safetensors"):
        critic = load_critic(path, load_model(path), CPU)
        assert critic is not None and not critic.training
        wanted = state.critic.state_dict()
        assert all(torch.equal(t, wanted[n]) for n, t in critic.state_dict().items())


def test_a_checkpoint_of_another_run_or_none_gives_no_critic(trained, tmp_path):
    folder, _ = trained
    model = load_model(folder)
    other = {**model.provenance, "data": {"pictures": 8, "digest": "other"}}
    assert load_critic(folder, replace(model, provenance=other), CPU) is None
    longer = {**model.provenance, "training": {**model.provenance["training"], "iters": 3}}
    assert load_critic(folder, replace(model, provenance=longer), CPU) is None
    shutil.copy(folder / "model.safetensors", tmp_path / "alone.safetensors")
    assert load_critic(tmp_path / "alone.safetensors", model, CPU) is None


def test_a_damaged_checkpoint_is_an_error(trained):
    folder, _ = trained
    file = folder / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match="truncated"):
        load_critic(folder, load_model(folder), CPU)


def test_a_model_for_other_images_is_refused(tiny_model, tmp_path):
    images = np.zeros((2, 16, 16, 3), np.uint8)
    task = Task(images, images, images[:0], np.zeros(0, bool), seed=0)
    with pytest.raises(ConfigError, match=r"16 x 16 pixels and 1 channels.* 16 x 16 and 3"):
        trained_gan(Cell(task, tmp_path, Settings(model=tiny_model)))

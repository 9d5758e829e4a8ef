"""Training stopped and resumed: a TrainState as one safetensors file, no pickle."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from adgan_cli.atomic import replacing
from adgan_cli.config import ModelConfig, TrainConfig, from_dict, to_dict
from adgan_cli.engine.models.files import load_tensors, pop_prefixed, read_tensors, state_tensors
from adgan_cli.engine.models.header import CHECKPOINT_FILE, metadata, read_header
from adgan_cli.engine.training.batches import new_rng
from adgan_cli.engine.training.optimizers import named_memory, start_memory
from adgan_cli.engine.training.state import TrainState, new_state
from adgan_cli.errors import ConfigError, ModelFileError

CUDA_STATE = 16  # bytes of a CUDA generator's state: seed and offset
VALIDATION_LOG = "checks"  # (M, 2) float64: steps, and the distance of images held out


def save_checkpoint(state: TrainState, folder: Path, data: dict[str, Any]) -> None:
    """Write checkpoint.safetensors; data: what the run was trained on, plain JSON."""
    log = torch.tensor(state.validation_log, dtype=torch.float64).reshape(-1, 2)
    tensors: dict[str, Tensor] = {"rng": state.rng.get_state(), VALIDATION_LOG: log}
    for name, network in state.named_networks().items():
        tensors |= _prefixed(name, state_tensors(network))
    for name, optimizer in state.optimizers().items():
        tensors |= _prefixed(name, _optimizer_tensors(optimizer))
    content = {
        "model": to_dict(state.model_config),
        "training": to_dict(state.train_config),
        "precision": state.precision,
        "step": state.step,
        "critic_step": state.critic_step,
        "data": data,
    }
    with replacing(folder / CHECKPOINT_FILE) as temporary:
        temporary.write_bytes(save(tensors, metadata("checkpoint", content)))


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the header of a checkpoint, as saved: model, training, precision, step, data."""
    return read_header(folder / CHECKPOINT_FILE, "checkpoint").content


def load_checkpoint(
    folder: Path,
    device: torch.device,
    *,
    iters: int | None = None,
    encoder_iters: int | None = None,
) -> TrainState:
    """Load the TrainState that save_checkpoint wrote onto `device`; the two goals can be moved."""
    file, content = folder / CHECKPOINT_FILE, read_checkpoint(folder)
    try:
        goals = {"iters": iters, "encoder_iters": encoder_iters}
        moved = {name: goal for name, goal in goals.items() if goal is not None}
        state = new_state(
            from_dict(ModelConfig, content["model"]),
            from_dict(TrainConfig, content["training"] | moved),
            device=device,
            precision=content["precision"],
            n_images=_count(content["data"], "pictures"),
        )
        state.step, state.critic_step = _count(content, "step"), _count(content, "critic_step")
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{file} is corrupt: its settings do not hold ({error})") from error
    tensors = read_tensors(file)
    for name, network in state.named_networks().items():
        load_tensors(network, pop_prefixed(tensors, f"{name}/"), file)
    begun = {
        "generator_optimizer": state.step > 0,
        "critic_optimizer": state.step > 0 or state.critic_step > 0,
    }
    try:
        for name, optimizer in state.optimizers().items():
            if begun[name]:
                _load_optimizer(optimizer, pop_prefixed(tensors, f"{name}/"))
        _restore_rng(state, tensors["rng"])
        log = tensors[VALIDATION_LOG].tolist()
        state.validation_log = [(int(step), value) for step, value in log]
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{file} is corrupt: its optimizers do not fit ({error})") from error
    return state


def _count(content: Mapping[str, Any], name: str) -> int:
    """Read a whole number of at least 0; ValueError for another."""
    value = content[name]
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def _restore_rng(state: TrainState, saved: Tensor) -> None:
    """Let random numbers go on where they stopped; on another kind of device, anew.

    The generators of the CPU and of CUDA have states of their own; an older adgan drew on the CPU
    for a run on CUDA. The new ones follow from the saved state, so that a run can be repeated.
    """
    cpu, length = torch.Generator().get_state().numel(), saved.numel()
    if length != state.rng.get_state().numel() and length in (cpu, CUDA_STATE):
        digest = hashlib.sha256(saved.numpy().tobytes()).digest()
        state.rng = new_rng(state.device, int.from_bytes(digest[:7], "little"))
        saved_on = "the CPU" if length == cpu else "CUDA"
        state.notes.append(
            f"random numbers were drawn on {saved_on} before, and are drawn anew on "
            f"{state.rng.device.type} from here on: this is not the run without a stop"
        )
        return
    state.rng.set_state(saved)


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    memory = named_memory(optimizer)
    return {name: tensor.cpu().contiguous() for name, tensor in memory.items()}


@torch.no_grad()
def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    start_memory(optimizer)  # on its device, laid out as weights are: the same kernels go on
    memory = named_memory(optimizer)
    if {name: one.shape for name, one in memory.items()} != {
        name: one.shape for name, one in tensors.items()
    }:
        raise ValueError("some of their state is missing or of another shape")
    for name, tensor in memory.items():
        tensor.copy_(tensors[name])


def _prefixed(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}/{name}": tensor for name, tensor in tensors.items()}

"""Import a generator that somebody else trained: a DCGAN as PyTorch users keep it.

Layers are recognised by their shapes, in the order of the names: names themselves differ from code
to code (main.0.weight, layers.conv1.weight, ...).
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load
from torch import Tensor

from adgan_cli.config import MAX_FLOAT, SIZES, ModelConfig
from adgan_cli.engine.models.dcgan import Generator
from adgan_cli.engine.models.header import KEY, model_path
from adgan_cli.errors import ConfigError, ModelFileError

_NORM = ("weight", "bias", "running_mean", "running_var")  # of a batch norm, in our order


def import_generator(file: str | Path) -> Generator:
    """Read a DCGAN's generator from a .safetensors file of its state_dict, PyTorch's usual layout.

    A 4 x 4 transposed convolution of the latent vector, then ones that double the side, without
    biases; batch norm and ReLU after each but the last, tanh after that. Feature maps halve from
    layer to layer. Returns it in eval mode. Raises ModelFileError, saying what does not fit.
    """
    file = Path(file)
    tensors = _tensors(file)
    convolutions = [name for name in tensors if tensors[name].dim() == 4]
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith("running_mean")]
    config = _config([tuple(tensors[name].shape) for name in convolutions], file)
    if len(norms) != len(convolutions) - 1:
        expected = f"{len(convolutions)} convolutions want {len(convolutions) - 1} batch norms"
        raise _other_layout(file, f"{expected}, it has {len(norms)}")
    generator = Generator(config)
    state: dict[str, Tensor] = {}
    for name, ours in zip(convolutions, _convolutions(generator), strict=True):
        state[ours] = tensors.pop(name)
    for index, (norm, maps) in enumerate(zip(norms, config.feature_maps(), strict=True)):
        for part in _NORM:
            tensor = tensors.pop(norm + part, None)
            if tensor is None or tensor.shape != (maps,):
                raise _other_layout(file, f"{norm}{part} is missing or not of {maps} numbers")
            state[f"norms.{index}.{part}"] = tensor
        tensors.pop(f"{norm}num_batches_tracked", None)
    if tensors:
        raise _other_layout(file, f"{next(iter(tensors))} has no place in it")
    for name, tensor in state.items():
        state[name] = _checked(name, tensor, file)
    generator.load_state_dict(state, strict=False)  # ours counts batches, and need not know
    return generator.eval().requires_grad_(False)


def _checked(name: str, tensor: Tensor, file: Path) -> Tensor:
    """Return weights as float32; ModelFileError for those that no generator computes with."""
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ModelFileError(f"{file} holds {kind} numbers, weights are float32 or float16")
    tensor = tensor.float()
    if not tensor.isfinite().all():
        raise ModelFileError(f"{file} holds NaN or infinity")
    is_variance = name.endswith("running_var")
    if is_variance and bool((tensor < 0).any()):
        raise ModelFileError(f"{file} holds a variance below 0")
    largest = float(tensor.abs().max())
    if largest > (MAX_FLOAT**2 if is_variance else MAX_FLOAT):
        raise ModelFileError(f"{file} holds {largest:.2g}: no image can be computed with that")
    return tensor


def _config(shapes: Sequence[tuple[int, ...]], file: Path) -> ModelConfig:
    """Find the settings that give these convolutions. Raises ModelFileError."""
    if len(shapes) < 2:
        raise _other_layout(file, f"it has {len(shapes)} convolutions")
    size = 4 * 2 ** (len(shapes) - 1)
    width, channels = shapes[-1][:2]
    if size not in SIZES:
        raise _other_layout(
            file, f"{len(shapes)} convolutions make {size} pixels, not one of {SIZES}"
        )
    try:
        # 1 or 3 channels: it checks that itself
        config = ModelConfig(size, channels, shapes[0][0], width)  # type: ignore[arg-type]
    except ConfigError as error:
        raise _other_layout(file, str(error).removeprefix("--")) from error
    maps = [config.latent_dim, *config.feature_maps(), channels]
    expected = [(a, b, 4, 4) for a, b in zip(maps, maps[1:], strict=False)]
    for shape, follows in zip(shapes, expected, strict=True):
        if shape != follows:
            raise _other_layout(file, f"a convolution is {shape} where {follows} would follow")
    return config


def _tensors(file: Path) -> dict[str, Tensor]:
    """Read the file's tensors in the order of their names, numbers in names by their values."""
    if file.suffix in (".pt", ".pth", ".pkl", ".ckpt", ".bin"):
        raise ModelFileError(
            f"{file} may be a pickle, which can run anything; save the state_dict with "
            "safetensors.torch.save_file where you trust it, and import that"
        )
    _refuse_ours(file)
    try:
        tensors = load(file.read_bytes())
    except FileNotFoundError as error:
        raise ModelFileError(f"{file} does not exist") from error
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{file} is not a whole safetensors file ({error})") from error

    def order(name: str) -> list[tuple[int, str]]:
        parts = re.split(r"(\d+)", name)
        return [(int(part) if part.isdecimal() else -1, part) for part in parts]

    return {name: tensors[name] for name in sorted(tensors, key=order)}


def _refuse_ours(file: Path) -> None:
    """Raise ModelFileError for what adgan itself has written, which needs no import."""
    ours = model_path(file)
    with suppress(SafetensorError, OSError), safe_open(ours, framework="numpy") as opened:
        if KEY in (opened.metadata() or {}):
            raise ModelFileError(f"{file} is adgan's own already: give it to --model as it is")
    if file.is_dir():
        raise ModelFileError(f"{file} is a folder; give the .safetensors file of a state_dict")


def _convolutions(generator: Generator) -> list[str]:
    return ["first.weight", *(f"ups.{index}.weight" for index in range(len(generator.ups)))]


def _other_layout(file: Path, why: str) -> ModelFileError:
    return ModelFileError(f"{file} is no generator of DCGAN's layout: {why}")

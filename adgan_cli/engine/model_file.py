"""A trained model as one safetensors file: the generator, and in its header how it came to be."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from adgan_cli.atomic import replacing, write_text
from adgan_cli.config import ModelConfig, SearchConfig, from_dict, to_dict
from adgan_cli.engine.header import metadata, model_path, read_header
from adgan_cli.engine.networks import Generator
from adgan_cli.errors import ConfigError, ModelFileError

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class Model:
    """A generator with what is needed to score with it."""

    generator: Generator  # (N, Z) -> (N, C, S, S) in [-1, 1]; eval mode, no gradients
    config: ModelConfig
    search: SearchConfig = SearchConfig()  # the settings `score` and `rank` start from
    provenance: Mapping[str, Any] = field(default_factory=dict)  # how it was trained, plain JSON
    digest: str = ""  # of the file it was loaded from


def save_model(model: Model, path: str | Path) -> str:
    """Write model.safetensors and config.json into the folder `path`; return the digest.

    A path that ends in .safetensors gets the one file only. Equal models give equal bytes.
    Raises OutputError when it cannot be written.
    """
    file, content = model_path(path), _content(model)
    data = save(state_tensors(model.generator), metadata("model", content))
    with replacing(file) as temporary:
        temporary.write_bytes(data)
    if file != Path(path):
        # for people and for tools that look for one; load_model goes by the header
        write_text(
            file.with_name(CONFIG_FILE), json.dumps(content, indent=2, sort_keys=True) + "\n"
        )
    return hashlib.sha256(data).hexdigest()


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Load a model folder or a .safetensors file, checking every key and shape.

    Raises ModelFileError, saying in one line what is wrong.
    """
    file = model_path(path)
    header = read_header(file, "model")
    try:
        config = from_dict(ModelConfig, header.content["model"])
        search = from_dict(SearchConfig, header.content["search"])
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{file} is corrupt: its settings do not hold ({error})") from error
    generator = Generator(config)
    load_tensors(generator, read_tensors(file), file)
    provenance = {key: header.content.get(key) for key in ("training", "data", "adgan")}
    return Model(
        generator=generator.to(device).eval().requires_grad_(False),
        config=config,
        search=search,
        provenance=provenance,
        digest=file_digest(file),
    )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a file whose header is already checked."""
    try:
        return load(file.read_bytes())  # by bytes: load_file wants its path in UTF-8
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{file} is corrupt or truncated ({error}); train again") from error


def state_tensors(network: torch.nn.Module) -> dict[str, Tensor]:
    """The state of a network as safetensors wants it: on the CPU, contiguous."""
    return {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}


def load_tensors(network: torch.nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Fill `network`, after comparing every name, shape and type with what it has.

    Raises ModelFileError naming the first that does not fit, or a weight that is not finite.
    """
    wanted = network.state_dict()
    for name in sorted({*wanted, *tensors}):
        if name not in tensors:
            raise ModelFileError(f"{file} lacks {name}: not a model this adgan can use")
        if name not in wanted:
            raise ModelFileError(f"{file} has {name}, which its settings do not call for")
        want, got = wanted[name], tensors[name]
        if (got.shape, got.dtype) != (want.shape, want.dtype):
            raise ModelFileError(
                f"{file}: {name} is {tuple(got.shape)} {got.dtype}, "
                f"its settings call for {tuple(want.shape)} {want.dtype}"
            )
        if not got.isfinite().all():
            raise ModelFileError(f"{file}: {name} holds NaN or infinity; train again")
    network.load_state_dict(tensors)


def file_digest(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _content(model: Model) -> dict[str, Any]:
    return {
        **model.provenance,
        "model": to_dict(model.config),
        "search": to_dict(model.search),
    }

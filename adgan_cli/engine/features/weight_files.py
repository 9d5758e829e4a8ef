"""Read, locate and identify the weights of pretrained networks; no pickled code is ever run."""

import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from adgan_cli.engine.features.timm_import import import_timm
from adgan_cli.errors import ConfigError

WEIGHTS_VARIABLE = "ADGAN_FEATURES_WEIGHTS"  # a file that wins over timm's cache
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# of a repository of Hugging Face, the one preferred first
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_WRAPPERS = ("state_dict_ema", "state_dict", "model")  # keys under which trainers keep weights
_COUNTS = "num_batches_tracked"  # of batch norm: files have it or not, and outputs do not change


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read a network's weights by name, from .safetensors or a state dict of torch.save.

    Raises ConfigError for a file that is missing, damaged, or holds more than tensors.
    """
    try:
        if file.suffix == ".safetensors":
            return load(file.read_bytes())  # by bytes: load_file needs its path in UTF-8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats, which are read all the same
            return _unwrapped(torch.load(file, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        # its own message advises to run the code
        if "unsupported global" not in str(error).lower():
            raise _damaged(file, ValueError("no state dict")) from error
        raise ConfigError(
            f"{file} holds pickled code beside its tensors and was not opened; "
            "save its state dict alone, as .safetensors"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except (SafetensorError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise _damaged(file, error) from error


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of weights by name, in hex: the same for every format of a file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if not name.endswith(_COUNTS):
            tensor = tensors[name].detach().cpu().float().contiguous()
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def first_mismatch(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Say what the first weight is that a network has otherwise; empty where all fit."""
    for name in [*expected, *weights]:
        if name.endswith(_COUNTS):
            continue
        if name not in weights:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} is too much"
        ours, theirs = tuple(expected[name].shape), tuple(weights[name].shape)
        if ours != theirs:
            return f"{name} is {theirs} there and {ours} in the network"
    return ""


def locate_weights(name: str, file: Path | None = None, *, download: bool = False) -> Path:
    """Find the weights of a network of timm: the file given, the environment's, or in a cache.

    Nothing touches the network but with `download`, where the weights are in none of these.
    Raises ConfigError that says where they were looked for.
    """
    if file is None and os.environ.get(WEIGHTS_VARIABLE):
        file = Path(os.environ[WEIGHTS_VARIABLE])
    if file is not None:
        if not file.is_file():
            raise ConfigError(f"{file}: no such file of weights of {name}")
        return file
    config = pretrained_config(name)
    cached = _cached(config)
    if cached is None and download:
        cached = _fetched(name, config)
    if cached is None:
        raise ConfigError(
            f"there are no weights of {name} in {_hub_cache()} nor in {_torch_cache()}; "
            f"set {WEIGHTS_VARIABLE}=FILE, or give train or evaluate --features {name}=FILE or "
            "--download"
        )
    return cached


def pretrained_config(name: str) -> dict[str, Any]:
    """Return what timm knows of a network's weights: where they are, how images are prepared."""
    config = import_timm().models.get_pretrained_cfg(name)
    return config.to_dict() if config is not None else {}


def _cached(config: Mapping[str, Any]) -> Path | None:
    """Find weights that timm or torch.hub has fetched before."""
    from huggingface_hub import try_to_load_from_cache

    repository, revision = _repository(config)
    for file in _hub_files(config) if repository else ():
        path = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(path, str):
            return Path(path)
    url = config.get("url") or ""
    path = _torch_cache() / url.rpartition("/")[2]
    return path if url and path.is_file() else None


def _fetched(name: str, config: Mapping[str, Any]) -> Path:
    """Fetch weights into the cache that timm has for them; ConfigError where that fails."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, revision = _repository(config)
    url = config.get("url") or ""
    try:
        for file in _hub_files(config) if repository else ():
            try:
                return Path(hf_hub_download(repository, file, revision=revision))
            except LocalEntryNotFoundError:
                raise  # there is no connection
            except EntryNotFoundError:
                continue  # no such file: the next one
        if url:
            path = _torch_cache() / url.rpartition("/")[2]
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, os.fspath(path), progress=False)
            return path
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"--download: the weights of {name} did not come ({reason})") from error
    raise ConfigError(f"--download: timm has no weights of {name}; give --features {name}=FILE")


def _repository(config: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the Hugging Face repository of weights, empty if none, and its revision."""
    repository, _, revision = (config.get("hf_hub_id") or "").partition("@")
    return repository, revision or None


def _hub_files(config: Mapping[str, Any]) -> tuple[str, ...]:
    own = config.get("hf_hub_filename")
    return (own,) if own else _HUB_FILES


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _unwrapped(content: Any) -> dict[str, Tensor]:
    """Take the weights out of what a trainer saved with them."""
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise ValueError("no state dict")
    weights = {str(name).removeprefix("module."): one for name, one in content.items()}
    if not all(isinstance(one, Tensor) for one in weights.values()):
        raise ValueError("no state dict")
    return weights


def _damaged(file: Path, error: Exception) -> ConfigError:
    reason = re.split(r"\n|\. ", str(error))[0]
    return ConfigError(f"{file} is no file of weights, or is damaged ({reason}); fetch it again")

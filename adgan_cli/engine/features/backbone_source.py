"""Which pretrained network --features names: a network of timm, a file of weights, or both."""

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from adgan_cli.engine.features.timm_import import import_timm
from adgan_cli.engine.features.weight_files import SUFFIXES
from adgan_cli.errors import ConfigError

CONFIG_FILE = "config.json"  # beside weights of Hugging Face: {"architecture": ..., ...}
WEIGHTS_FILE = "model.safetensors"  # in a folder


@dataclass(frozen=True)
class BackboneSource:
    """A network by its name in timm, and where its weights are."""

    name: str  # with or without a tag: resnet50, resnet50.a1_in1k
    weights: Path | None = None  # None: where timm keeps what it has fetched


def parse_backbone_source(text: str) -> BackboneSource:
    """Read --features: NAME of timm, FILE or folder of weights, or NAME=FILE.

    The architecture of a FILE is what config.json beside it says, as Hugging Face lays weights out,
    or the longest name of timm that the file's own name begins with. Raises ConfigError.
    """
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        return BackboneSource(valid_name(name), _existing(Path(path)))
    file = Path(text)
    if file.exists() or file.suffix in SUFFIXES or "/" in text or "\\" in text:
        file = _existing(file)
        return BackboneSource(_architecture(file), file)
    return BackboneSource(valid_name(text))


def valid_name(name: str) -> str:
    """Return the name of a network of timm as it is; ConfigError with the nearest for others."""
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    names = timm.list_models()
    if architecture not in names:
        near = get_close_matches(architecture, names, 3, cutoff=0.5)
        nearest = f"; the nearest names are {', '.join(near)}" if near else ""
        raise ConfigError(f"--features {name}: timm has no network of this name{nearest}")
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        near = get_close_matches(name, tagged, 3, cutoff=0.0)
        nearest = f"; it has {', '.join(near)}" if near else ""
        raise ConfigError(f"--features {name}: timm knows no such weights{nearest}")
    return name


def _existing(path: Path) -> Path:
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"--features {path}: no such file of weights")
    return file


def data_config_beside(file: Path) -> dict[str, Any]:
    """Return what config.json beside a file says of preparing images; empty where it is silent."""
    own = _config_beside(file).get("pretrained_cfg")
    return own if isinstance(own, dict) else {}


def _architecture(file: Path) -> str:
    """Tell whose weights a file has, by what lies beside it or by its name."""
    architecture = _config_beside(file).get("architecture")
    if isinstance(architecture, str):
        return valid_name(architecture)
    names = set(import_timm().list_models())
    # tf_efficientnet_lite0-0aa007d2, resnet50_a1_0-14fe96d1
    ends = [match.start() for match in re.finditer(r"[-._]|$", file.name)]
    fitting = [file.name[:end] for end in ends if file.name[:end] in names]
    if not fitting:
        raise ConfigError(
            f"--features {file}: its name does not tell whose weights these are; "
            f"give --features NAME={file}, with the network's name in timm"
        )
    return fitting[-1]


def _config_beside(file: Path) -> dict[str, Any]:
    """Read config.json as Hugging Face has it; empty if missing or something else."""
    try:
        content = json.loads(file.with_name(CONFIG_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and "architecture" in content else {}

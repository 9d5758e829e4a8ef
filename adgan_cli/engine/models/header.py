"""The header of our safetensors files: settings and provenance, read without torch.

The metadata has one key, `adgan`, that holds canonical JSON: with two or more keys safetensors
writes them in random order (safetensors issue 584) and equal runs would give unequal bytes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from adgan_cli.config import SIZES, canonical_json
from adgan_cli.errors import ModelFileError

FORMAT = 5  # raised with every change to a published one; 1 to 4 never were
KEY = "adgan"
MODEL_FILE = "model.safetensors"
CHECKPOINT_FILE = "checkpoint.safetensors"
TRAINING_FINGERPRINTS = "training.fingerprints"  # a tensor (N,) int64, of the training images


@dataclass(frozen=True)
class Header:
    """The header of a file of ours."""

    kind: str  # model, checkpoint, ...
    content: dict[str, Any]  # plain JSON
    shapes: dict[str, tuple[int, ...]]  # of the tensors, by name


def model_path(path: str | Path) -> Path:
    """Find the file of a model: `path` itself if it is a .safetensors file, else the one inside."""
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / MODEL_FILE


def metadata(kind: str, content: dict[str, Any]) -> dict[str, str]:
    """Make the metadata to save with: {"adgan": canonical JSON}."""
    return {KEY: canonical_json({"format": FORMAT, "kind": kind, **content})}


def read_header(path: Path, kind: str) -> Header:
    """Read the header of a file of ours; raise ModelFileError if it is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            written = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except FileNotFoundError as error:
        if path.parent.is_file():
            other = path.parent
            raise ModelFileError(f"{other} is no {kind}; give a model directory") from error
        raise ModelFileError(f"no {kind} at {path}; train one with `adgan train FOLDER`") from error
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelFileError(
            f"{path} is corrupt or truncated, or no safetensors file ({error}); "
            "train again or restore it"
        ) from error
    if KEY not in written:
        raise ModelFileError(f"{path} was not written by adgan; it needs a {kind} from adgan train")
    return Header(kind, _content(path, kind, written[KEY]), shapes)


def read_size(path: str | Path) -> int:
    """Read how many pixels a side a model's images have."""
    file = model_path(path)
    model = read_header(file, "model").content.get("model")
    size = model.get("size") if isinstance(model, dict) else None
    if size not in SIZES:
        raise ModelFileError(f"{file} is corrupt: it has images of {size} pixels")
    return int(size)


def _content(path: Path, kind: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is corrupt: its header is not JSON ({error})") from error
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise ModelFileError(f"{path} is corrupt: its header does not state a format")
    if content["format"] > FORMAT:
        raise ModelFileError(
            f"{path} has format {content['format']}, this adgan reads {FORMAT}; upgrade adgan"
        )
    if content["format"] < FORMAT:
        raise ModelFileError(
            f"{path} has format {content['format']} of an older adgan, this one reads {FORMAT}; "
            "train again"
        )
    if content.get("kind") != kind:
        raise ModelFileError(f"{path} is a {content.get('kind')}, not a {kind}")
    return content

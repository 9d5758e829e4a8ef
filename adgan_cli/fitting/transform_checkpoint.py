"""A network of transformations half trained, kept beside the model until it is done."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from adgan_cli.atomic import replacing
from adgan_cli.engine.features.transform_training import (
    TransformState,
    checkpoint_settings,
    checkpoint_tensors,
    state_from_checkpoint,
)
from adgan_cli.engine.models.files import read_tensors
from adgan_cli.engine.models.header import metadata, read_header
from adgan_cli.errors import ModelFileError

TRANSFORMATIONS_FILE = "transformations.safetensors"
TRANSFORMATIONS = "transformations"  # the kind that its header states


def save_transform_checkpoint(path: Path, state: TransformState, about: dict[str, Any]) -> None:
    """Write a checkpoint; about: what it is trained on and how, plain JSON."""
    content = {"about": about, "state": checkpoint_settings(state)}
    data = save(checkpoint_tensors(state), metadata(TRANSFORMATIONS, content))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_transform_checkpoint(
    path: Path, about: dict[str, Any], *, device: torch.device
) -> TransformState | None:
    """Load the checkpoint at `path`; None if there is none, or of other images or settings."""
    with suppress(ModelFileError, KeyError, TypeError, ValueError):
        content = read_header(path, TRANSFORMATIONS).content
        if content["about"] == about:
            return state_from_checkpoint(content["state"], read_tensors(path), device=device)
    return None

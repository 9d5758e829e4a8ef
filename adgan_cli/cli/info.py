"""adgan info: what a model is, from its header alone, without torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from adgan_cli.cli.console import escape_control
from adgan_cli.cli.options import DEFAULT_MODEL
from adgan_cli.config import flag


def info(
    model: Annotated[
        Path, typer.Argument(envvar="ADGAN_MODEL", help="A model directory or .safetensors file.")
    ] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what a model is: settings, how it was trained, digest.

    Example: adgan info ./adgan-model
    """
    import hashlib
    import math

    from adgan_cli.engine.models.header import TRAINING_FINGERPRINTS, model_path, read_header

    path = model_path(model)
    header = read_header(path, "model")
    shapes = {name: shape for name, shape in header.shapes.items() if name != TRAINING_FINGERPRINTS}
    content = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "numbers": sum(math.prod(shape) for shape in shapes.values()),
        **header.content,
    }
    if as_json:
        typer.echo(json.dumps(content, indent=2, sort_keys=True))
        return
    for name, value in content.items():
        if name == "calibrations":
            lines = _calibration_lines(value, content["search"], header.shapes)
        elif isinstance(value, dict):
            lines = [name, *(f"  {key.replace('_', ' '):22}{one}" for key, one in value.items())]
        else:
            lines = [f"{name:24}{value}"]
        for line in lines:
            typer.echo(escape_control(line))


def _calibration_lines(
    searches: Sequence[Mapping[str, Any]],
    default: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
) -> list[str]:
    """Describe the searches that p-values are there for, by how they differ from the model's."""
    lines = ["p-values for"]
    for index, search in enumerate(searches):
        unseen = shapes.get(f"calibration/{index}", (0,))[0]
        different = {name: value for name, value in search.items() if default.get(name) != value}
        options = ", ".join(f"{flag(name)} {value}" for name, value in different.items())
        by = f"by {unseen:,} pictures it was not trained on"
        lines.append(f"  {options or 'the search below'}, {by}")
    return lines if searches else [*lines, "  no search yet; see adgan calibrate"]

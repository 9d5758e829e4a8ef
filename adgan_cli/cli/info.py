"""adgan info: what a model is, from its header alone, without torch."""

import json
from pathlib import Path
from typing import Annotated

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
            typer.echo("p-values for")
            for number, way in enumerate(value):
                unseen = header.shapes.get(f"calibration/{number}", (0,))[0]
                own = {k: v for k, v in way.items() if content["search"].get(k) != v}
                told = ", ".join(f"{flag(k)} {v}" for k, v in own.items()) or "the search below"
                typer.echo(
                    escape_control(f"  {told}, by {unseen:,} pictures it was not trained on")
                )
            if not value:
                typer.echo("  no search yet; see adgan calibrate")
        elif isinstance(value, dict):
            typer.echo(name)
            for inner, entry in value.items():
                typer.echo(escape_control(f"  {inner.replace('_', ' '):22}{entry}"))
        else:
            typer.echo(escape_control(f"{name:24}{value}"))

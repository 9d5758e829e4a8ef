"""adgan info: what a model is, from its header alone, without torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from adgan_cli.cli.console import escape_control, output
from adgan_cli.cli.options import DEFAULT_MODEL
from adgan_cli.config import comparable_precision, flag
from adgan_cli.errors import ModelFileError


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
        output(json.dumps(content, indent=2, sort_keys=True))
        return
    try:
        lines = _lines(content, header.shapes)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelFileError(f"{path} is corrupt: its header does not hold ({error})") from error
    for line in lines:
        output(escape_control(line))


def _lines(content: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Write a header for people, a line a setting."""
    lines = []
    for name, value in content.items():
        if name == "calibrations":
            default = dict(content["search"])
            if "features" not in content:  # what `default_search` does about it
                default["by"] = "reconstruction"
            lines += _calibration_lines(value, default, shapes)
        elif name == "features":
            lines += _feature_lines(value)
        elif isinstance(value, dict):
            lines += [name, *(f"  {key.replace('_', ' '):22}{one}" for key, one in value.items())]
        elif name != "error_scales":  # which belong to the calibrations
            lines.append(f"{name.replace('_', ' '):24}{value}")
    return lines


def _calibration_lines(
    searches: Sequence[Mapping[str, Any]],
    default: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
) -> list[str]:
    """Describe the searches that p-values are there for, by how they differ from the model's."""
    lines = ["p-values for"]
    for index, search in enumerate(searches):
        unseen = shapes.get(f"calibration/{index}", (0,))[0]
        # by features nothing is searched for: all that differs is no difference
        relevant = ("by",) if search["by"] == "features" else search
        different = {name: search[name] for name in relevant if default.get(name) != search[name]}
        if comparable_precision(default["precision"]) == comparable_precision(search["precision"]):
            different.pop("precision", None)
        options = ", ".join(f"{flag(name)} {value}" for name, value in different.items())
        by = f"by {unseen:,} pictures it was not trained on"
        lines.append(f"  {options or 'the settings below'}, {by}")
    return lines if searches else [*lines, "  no settings yet; see adgan calibrate"]


def _feature_lines(features: Mapping[str, Any]) -> list[str]:
    """Describe detectors: what each counts for, and the evidence that this rests on."""
    lines = ["features"]
    for name in features["order"]:
        scale, backbone = features["scales"][name], features["detectors"][name].get("backbone")
        line = f"weight {scale['weight']:.3g}, AUC {scale['evidence']:.3f} of altered copies"
        if backbone is not None:
            line += f", {backbone['name']} ({backbone['digest'][:12]})"
        lines.append(f"  {name:22}{line}")
    if features["large_size"] is not None:
        lines.append(f"  {'read again at':22}{features['large_size']} pixels")
    return lines

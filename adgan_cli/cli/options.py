"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

MODEL, TRAINING, OUTPUT, MACHINE = "Model", "Training", "Output", "Machine"

ModelPath = Annotated[
    Path,
    typer.Option(
        "-m", "--model", envvar="ADGAN_MODEL", help="A model directory or a .safetensors file."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="ADGAN_DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MACHINE
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "-j", "--workers", min=1, help="Threads that read pictures.", rich_help_panel=MACHINE
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]

DEFAULT_MODEL = Path("adgan-model")

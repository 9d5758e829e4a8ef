"""adgan import: a generator that somebody else trained becomes a model."""

from pathlib import Path
from typing import Annotated

import typer

from adgan_cli.cli.console import status
from adgan_cli.cli.options import OUTPUT, READING, Quiet
from adgan_cli.config import PAPER_SEARCH, Fit, ReadConfig


def import_(
    file: Annotated[
        Path, typer.Argument(help="The generator's state_dict as .safetensors.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Where the model goes.", rich_help_panel=OUTPUT)
    ] = Path("adgan-model"),
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the model there.", rich_help_panel=OUTPUT),
    ] = False,
    fit: Annotated[
        Fit,
        typer.Option(
            help="How its pictures were made square: crop, pad or squash.", rich_help_panel=READING
        ),
    ] = ReadConfig.fit,
    alpha: Annotated[
        str,
        typer.Option(
            help="Behind transparency: white, black, drop or #rrggbb.", rich_help_panel=READING
        ),
    ] = ReadConfig.alpha,
    quiet: Quiet = False,
) -> None:
    """Make a model of a DCGAN generator from elsewhere, in PyTorch's usual layout.

    Example: adgan import generator.safetensors -o adgan-model
    """
    reading = ReadConfig(fit, alpha)
    from adgan_cli.engine.models.files import file_digest, save_model
    from adgan_cli.engine.models.import_dcgan import import_generator
    from adgan_cli.engine.models.model import Model
    from adgan_cli.fitting.directory import check_output_dir

    generator = import_generator(file)
    check_output_dir(out, resume=False, overwrite=overwrite)
    made = {"imported": {"file": file.name, "sha256": file_digest(file)}}
    model = Model(generator, generator.config, PAPER_SEARCH, reading=reading, provenance=made)
    digest = save_model(model, out)
    if not quiet:
        config = generator.config
        status(
            f"a generator of {config.size} px, {config.channels} channels, {config.latent_dim} "
            f"latent dimensions; model in {out} ({digest[:12]})"
        )

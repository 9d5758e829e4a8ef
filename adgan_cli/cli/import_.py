"""adgan import: a generator that somebody else trained becomes a model."""

from pathlib import Path
from typing import Annotated

import typer

from adgan_cli.cli.console import Reporter
from adgan_cli.cli.options import DEFAULT_MODEL
from adgan_cli.cli.signature import with_options
from adgan_cli.config import PAPER_SEARCH, ReadConfig


@with_options
def import_(
    *,
    file: Annotated[
        Path, typer.Argument(help="The generator's state_dict as .safetensors.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Directory to write the model to.")
    ] = DEFAULT_MODEL,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model that is there.")
    ] = False,
    reporter: Reporter,
    reading: ReadConfig,
) -> None:
    """Make a model of a DCGAN generator from elsewhere, in PyTorch's usual layout.

    Pictures are read as --fit and --alpha say, which is best as its own were in training.

    Example: adgan import generator.safetensors -o adgan-model
    """
    from adgan_cli.engine.models.files import file_digest, save_model
    from adgan_cli.engine.models.import_dcgan import import_generator
    from adgan_cli.engine.models.model import Model
    from adgan_cli.fitting.directory import check_output_dir

    generator = import_generator(file)
    check_output_dir(out, resume=False, overwrite=overwrite)
    provenance = {"imported": {"file": file.name, "sha256": file_digest(file)}}
    config = generator.config
    model = Model(generator, config, PAPER_SEARCH, reading=reading, provenance=provenance)
    digest = save_model(model, out)
    reporter.info(
        f"a generator of {config.size} px, {config.channels} channels, {config.latent_dim} "
        f"latent dimensions; model in {out} ({digest[:12]})"
    )

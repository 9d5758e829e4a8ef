"""adgan explain: how the search for a picture went, step by step."""

from pathlib import Path
from typing import Annotated

import typer

from adgan_cli.cli import scoring
from adgan_cli.cli.console import counting_bar, status
from adgan_cli.cli.options import (
    DEFAULT_MODEL,
    OUTPUT,
    Device,
    ModelPath,
    Paths,
    Quiet,
    Verbose,
)
from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.processes import is_worker


def explain(
    paths: Paths = None,
    model: ModelPath = DEFAULT_MODEL,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Where the page goes.", rich_help_panel=OUTPUT),
    ] = Path("adgan-explanation"),
    preset: scoring.Preset = None,
    n_seed: scoring.NSeed = None,
    init: scoring.Init = None,
    k: scoring.K = None,
    reduce: scoring.Reduce = None,
    lr_z: scoring.LrZ = None,
    lr_decay: scoring.LrDecay = None,
    z_radius: scoring.ZRadius = None,
    lr_theta: scoring.LrTheta = None,
    theta: scoring.Theta = None,
    precision: scoring.Precision = None,
    loss: scoring.Loss = None,
    seed: scoring.Seed = None,
    adjust: scoring.Adjust = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show how the search for a picture went, as the paper's Fig. 1.

    Writes index.html, a PNG for each picture, and losses.csv: the loss of every starting point at
    every step. Example: adgan explain ./val/001.jpg
    """
    if is_worker():
        raise typer.Exit()  # there is nothing to share
    if not paths:
        raise ConfigError("give PICTURES to explain; see adgan explain --help")
    from adgan_cli.images.selection import Selection
    from adgan_cli.reports.page import PAGE_FILE
    from adgan_cli.reports.trajectory import MAX_IMAGES, prepare_explanation, write_explanation

    listing = scoring.find(paths, None, Selection(), quiet=quiet)
    if listing.count > MAX_IMAGES:
        raise ConfigError(
            f"{listing.count:,} pictures are too many to explain; give at most {MAX_IMAGES}, or "
            "see adgan rank --top, which explains what it shows"
        )
    loaded = scoring.open_model(model, device, verbose=verbose)
    config = scoring.search_config(
        loaded, preset, n_seed=n_seed, init=init, k=k, reduce=reduce, lr_z=lr_z, lr_decay=lr_decay,
        z_radius=z_radius, lr_theta=lr_theta, theta=theta, precision=precision, loss=loss,
        seed=seed, adjust=adjust,
    )  # fmt: skip
    prepare_explanation(out, listing)
    with counting_bar(quiet=quiet) as bar:
        task = bar.add_task("explaining", total=listing.count)
        rows = write_explanation(
            out, loaded, listing, config, on_image=lambda done: bar.update(task, completed=done)
        )
    for row in rows if not quiet else ():
        known = "" if row.p_value is None else f", p = {row.p_value:#.2g}"
        status(f"{row.path}: {row.error or f'score {row.score:.4g}{known}'}")
    if not any(row.score is not None for row in rows):
        raise NoImagesError(f"no usable picture: all {len(rows)} failed; see {out / PAGE_FILE}")
    if not quiet:
        status(f"{out / PAGE_FILE}")

"""adgan explain: how the search for a picture went, step by step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adgan_cli.cli.console import VerboseReporter
from adgan_cli.cli.options import (
    DEFAULT_MODEL,
    SEARCH_PANEL,
    Device,
    InputOptions,
    ModelPath,
    Paths,
    SearchOptions,
    open_model,
)
from adgan_cli.cli.signature import Fields, Overrides, with_options
from adgan_cli.config import SearchConfig
from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.processes import is_worker


@dataclass(frozen=True)
class ExplanationSearchOptions(SearchOptions):
    """How to search; what else scores go by is not explained here."""

    settings: Annotated[Overrides[SearchConfig], Fields(panel=SEARCH_PANEL, without=("by",))] = (
        Overrides({})
    )


@with_options
def explain(
    *,
    paths: Paths = None,
    model: ModelPath = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write the page to.")] = Path(
        "adgan-explanation"
    ),
    reporter: VerboseReporter,
    search: ExplanationSearchOptions,
    device: Device = "auto",
) -> None:
    """Show how the search for a picture went, as the paper's Fig. 1.

    Writes index.html, a PNG for each picture, and losses.csv: the loss of every starting point at
    every step.

    Example: adgan explain ./val/001.jpg
    """
    if is_worker():
        raise typer.Exit()  # there is nothing to share
    if not paths:
        raise ConfigError("give PICTURES to explain; see adgan explain --help")
    from adgan_cli.reports.page import PAGE_FILE
    from adgan_cli.reports.report import prepare_folder
    from adgan_cli.reports.trajectory import EXPLANATION_FOLDER, MAX_IMAGES, write_explanation

    reporter.own(out)
    listing = InputOptions(paths).listing(reporter)
    if listing.count > MAX_IMAGES:
        raise ConfigError(
            f"{listing.count:,} pictures are too many to explain; give at most {MAX_IMAGES}, or "
            "see adgan rank --top, which explains what it shows"
        )
    loaded = open_model(model, device, reporter)
    loaded.require_generator()
    config = search.config(loaded, reporter, by="reconstruction")  # whose loss is shown
    prepare_folder(out, listing.items, EXPLANATION_FOLDER)
    with reporter.counting_bar() as bar:
        task = bar.add_task("explaining", total=listing.count)
        rows = write_explanation(
            out, loaded, listing, config, on_image=lambda done: bar.update(task, completed=done)
        )
    for row in rows:
        p_value = "" if row.p_value is None else f", p = {row.p_value:#.2g}"
        reporter.info(f"{row.path}: {row.error or f'score {row.score:.4g}{p_value}'}")
    if not any(row.score is not None for row in rows):
        raise NoImagesError(f"no usable picture: all {len(rows)} failed; see {out / PAGE_FILE}")
    reporter.info(f"{out / PAGE_FILE}")

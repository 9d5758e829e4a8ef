"""adgan calibrate: normal pictures that the model has not seen make p-values possible."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from adgan_cli.cli.console import INTERRUPTED, Reporter, status
from adgan_cli.cli.options import (
    DEFAULT_MODEL,
    SEARCH_PANEL,
    Device,
    InputOptions,
    ModelPath,
    ReaderOptions,
    SearchOptions,
    open_model,
)
from adgan_cli.cli.signature import Fields, Overrides, with_options
from adgan_cli.config import SearchConfig
from adgan_cli.processes import is_worker
from adgan_cli.text import plural

if TYPE_CHECKING:
    from adgan_cli.scoring.calibrate import CalibrationCounts


@dataclass(frozen=True)
class CalibrationSearchOptions(SearchOptions):
    """How to search; an adjustment comes after the scores that are collected here."""

    settings: Annotated[
        Overrides[SearchConfig], Fields(panel=SEARCH_PANEL, without=("adjust",))
    ] = Overrides({})


@with_options
def calibrate(
    *,
    model: ModelPath = DEFAULT_MODEL,
    default: Annotated[
        bool,
        typer.Option(
            "--default", help="Make these settings the model's own: score and rank start from them."
        ),
    ] = False,
    reporter: Reporter,
    search: CalibrationSearchOptions,
    inputs: InputOptions,
    reading: ReaderOptions,
    device: Device = "auto",
) -> None:
    """Give a model the scores of normal pictures it has not seen, for p-values.

    Training does that by itself for its own settings of the search; this does it for others, or for
    a model that held nothing out.

    Example: adgan calibrate ./more-bedrooms --by all
    """
    if is_worker():
        raise typer.Exit()  # there is nothing to share
    from adgan_cli.engine.models.files import save_model
    from adgan_cli.scoring.calibrate import calibrate as calibrate_model

    if model.exists():
        reporter.own(model if model.is_dir() else model.parent)
    listing = inputs.listing(reporter)
    loaded = open_model(model, device, reporter)
    config = replace(search.config(loaded, reporter), adjust="none")
    with (
        reporter.stop_on_signal("stopping: the model stays as it was") as stop_requested,
        reporter.counting_bar() as bar,
    ):
        task = bar.add_task("calibrating", total=len(listing.items))
        calibrated, counts = calibrate_model(
            loaded,
            listing,
            config,
            reader=reading.reader(loaded.preprocessing(), reporter),
            on_image=lambda done, total: bar.update(task, completed=done, total=total),
            should_stop=stop_requested,
        )
        if stop_requested():
            raise typer.Exit(INTERRUPTED)
    digest = save_model(replace(calibrated, search=config) if default else calibrated, model)
    if not reporter.quiet:
        _report(counts, f"{model} ({digest[:12]})", default=default)


def _report(counts: "CalibrationCounts", model: str, *, default: bool) -> None:
    from adgan_cli.scoring.calibration import ENOUGH

    if counts.in_training:
        status(f"left out {plural(counts.in_training, 'picture')} that the model was trained on")
    if counts.copies:
        noun = "exact copy" if counts.copies == 1 else "exact copies"
        status(f"left out {counts.copies:,} {noun} of others, which would count twice")
    if counts.failed:
        status(f"warning: left out {plural(counts.failed, 'file')} that cannot be read")
    status(f"p-values of {model} now go by {plural(counts.unseen, 'picture')}")
    if default:
        status("score, rank and explain now start from these settings unless options say otherwise")
    if counts.unseen < ENOUGH:
        least = 1 / (counts.unseen + 1)
        status(f"note: below {ENOUGH} p-values are coarse: none is below {least:.2g}")

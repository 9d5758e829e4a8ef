"""What `score` and `rank` share: the search's options, the model, the progress of rows."""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from adgan_cli.cli.console import (
    INTERRUPTED,
    counting_bar,
    duration,
    plural,
    status,
    stop_on_signal,
)
from adgan_cli.cli.options import opened_list
from adgan_cli.config import LOSSES, SEARCHES, SearchConfig
from adgan_cli.errors import ConfigError
from adgan_cli.processes import join

if TYPE_CHECKING:
    from rich.progress import Progress

    from adgan_cli.engine.models.model import Model
    from adgan_cli.images.find import Listing
    from adgan_cli.images.selection import Selection
    from adgan_cli.scoring.run import ScoringRun

Row = TypeVar("Row")

SEARCH = "Search"
LINE_EVERY = 60.0  # seconds between lines where there is no terminal to draw a bar on

Preset = Annotated[
    str | None,
    typer.Option(
        help=f"Instead of the model's own settings: {' or '.join(SEARCHES)}; options beside it "
        "win.",
        rich_help_panel=SEARCH,
    ),
]
NSeed = Annotated[
    int | None, typer.Option(help="Starting points a picture.", rich_help_panel=SEARCH)
]
Init = Annotated[
    str | None,
    typer.Option(
        help="Where they are: prior; encoder, one alone; both, one more.", rich_help_panel=SEARCH
    ),
]
K = Annotated[int | None, typer.Option(help="Steps from each.", rich_help_panel=SEARCH)]
LrZ = Annotated[
    float | None, typer.Option(help="Step size of the latent vector.", rich_help_panel=SEARCH)
]
LrTheta = Annotated[
    float | None,
    typer.Option(
        help="Step size of the generator's weights; 0 is --theta none.", rich_help_panel=SEARCH
    ),
]
Theta = Annotated[
    str | None,
    typer.Option(
        help="Whose weights move: per-point, per-image (faster), none (fastest).",
        rich_help_panel=SEARCH,
    ),
]
Reduce = Annotated[
    str | None, typer.Option(help="mean or min over the starting points.", rich_help_panel=SEARCH)
]
LrDecay = Annotated[
    float | None,
    typer.Option(help="Factor of both step sizes after each step.", rich_help_panel=SEARCH),
]
ZRadius = Annotated[
    float | None,
    typer.Option(
        help="Keep |z| within this share of its expected value; 0: let it go.",
        rich_help_panel=SEARCH,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(help="fp32, or with --theta none bf16, faster still.", rich_help_panel=SEARCH),
]
Loss = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(LOSSES)}, or a sum like l2+0.5*ssim.", rich_help_panel=SEARCH),
]
Seed = Annotated[int | None, typer.Option(help="Of the starting points.", rich_help_panel=SEARCH)]
Adjust = Annotated[
    str | None,
    typer.Option(
        help="complexity takes out of the score what brightness, contrast and detail explain.",
        rich_help_panel=SEARCH,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option("-b", "--batch-size", min=1, help="Pictures at once; default: what fits."),
]

Resume = Annotated[
    bool,
    typer.Option("--resume", help="Score only what is new or changed since the last time."),
]


def open_model(path: Path, device: str, *, verbose: bool) -> "Model":
    """Load a model onto the device that `--device` names."""
    from adgan_cli.engine.device import pick_device
    from adgan_cli.engine.models.files import load_model

    where = pick_device(device, join().local_rank)
    model = load_model(path, where)
    if verbose:
        status(f"model {path} ({model.digest[:12]}), {model.config.size} px, on {where.type}")
    return model


def find(
    paths: list[Path] | None, files_from: str | None, chosen: "Selection", *, quiet: bool
) -> "Listing":
    """List what there is to score, and mention links that were left alone."""
    from adgan_cli.images.find import list_inputs

    with opened_list(files_from) as stream:
        listing = list_inputs(paths or [], chosen, files_from=stream)
    if listing.links and not quiet:
        left = plural(listing.links, "symbolic link")
        status(f"note: left {left} alone; --follow-links reads them")
    return listing


def cache_off(quiet: bool) -> Callable[[str], None]:
    """What says that decoded pictures are not kept, and why."""
    return lambda why: None if quiet else status(f"note: no cache of decoded pictures: {why}")


def search_config(model: "Model", preset: str | None, **given: Any) -> SearchConfig:
    """The model's own search settings, or the preset's, but for the options that were given."""
    known = {field.name for field in fields(SearchConfig)}
    assert known == set(given), "every field is an option"
    if preset is not None and preset not in SEARCHES:
        raise ConfigError(f"--preset must be one of {', '.join(SEARCHES)}, got {preset}")
    base = model.default_search(None if preset is None else SEARCHES[preset])
    return replace(base, **{n: v for n, v in given.items() if v is not None})


def score_share(run: "ScoringRun", *, quiet: bool) -> None:
    """Score this process's share, if there are several; the main one goes on, the others end."""
    # before signals are only noted: waiting for others, this process has to end at once
    shares = run.score_share()
    with (
        stop_on_signal("stopping...", quiet=quiet) as asked,
        counting_bar("{task.fields[speed]}", quiet=quiet) as shown,
    ):
        progress = _Progress(shown, quiet)
        for done, total in shares:
            progress(done, total)
            if asked():
                status(f"stopped after {done:,} of {total:,} pictures; --resume goes on")
                raise typer.Exit(INTERRUPTED)
    if not join().is_main:
        raise typer.Exit()


class _Progress:
    """How many pictures of how many: a bar on a terminal, a line a minute elsewhere."""

    def __init__(self, bar: "Progress", quiet: bool) -> None:
        self.bar, self.quiet = bar, quiet
        self.started = self.said = time.monotonic()
        self.done = self.total = 0
        self.task = bar.add_task("scoring", total=None, speed="")

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        self.done, self.total = done, total
        speed = f"{done / (now - self.started):.2g} images/s"
        self.bar.update(self.task, completed=done, total=total, speed=speed)
        if done and self.bar.disable and not self.quiet and now - self.said >= LINE_EVERY:
            self.said = now
            left = (total - done) * (now - self.started) / done
            status(f"{done:,} of {plural(total, 'picture')}, {speed}, {duration(left)} left")


def follow(
    rows: Iterator[Row],
    total: int,
    *,
    keep: Callable[[Row], None],
    should_stop: Callable[[], bool],
    quiet: bool,
) -> int:
    """Hand each row to `keep` under a bar; returns how many came before `should_stop`."""
    done = 0
    with counting_bar("{task.fields[speed]}", quiet=quiet) as shown:
        progress = _Progress(shown, quiet)
        for row in rows:
            keep(row)
            done += 1
            progress(done, total)
            if should_stop():
                break
    return done

"""What `score` and `rank` share: the search's options, the model, the progress of rows."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.cli.console import counted, counting_bar, duration, say
from adgan_cli.cli.options import opened_list
from adgan_cli.config import LOSSES, SEARCHES, SearchConfig
from adgan_cli.errors import ConfigError

if TYPE_CHECKING:
    from adgan_cli.engine.model_file import Model
    from adgan_cli.images.find import Listing
    from adgan_cli.images.selection import Selection
    from adgan_cli.results.scores import ScoreRow

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
    from adgan_cli.engine.model_file import load_model

    where = pick_device(device)
    model = load_model(path, where)
    if verbose:
        say(f"model {path} ({model.digest[:12]}), {model.config.size} px, on {where.type}")
    return model


def find(
    paths: list[Path] | None, files_from: str | None, chosen: "Selection", *, quiet: bool
) -> "Listing":
    """List what there is to score, and mention links that were left alone."""
    from adgan_cli.images.find import list_inputs

    with opened_list(files_from) as stream:
        listing = list_inputs(paths or [], chosen, files_from=stream)
    if listing.links and not quiet:
        left = counted(listing.links, "symbolic link")
        say(f"note: left {left} alone; --follow-links reads them")
    return listing


def cache_off(quiet: bool) -> Callable[[str], None]:
    """What says that decoded pictures are not kept, and why."""
    return lambda why: None if quiet else say(f"note: no cache of decoded pictures: {why}")


def search_config(model: "Model", preset: str | None, **given: Any) -> SearchConfig:
    """The model's own search settings, or the preset's, but for the options that were given."""
    known = {field.name for field in fields(SearchConfig)}
    assert known == set(given), "every field is an option"
    if preset is not None and preset not in SEARCHES:
        raise ConfigError(f"--preset must be one of {', '.join(SEARCHES)}, got {preset}")
    base = model.search if preset is None else SEARCHES[preset]
    return replace(base, **{n: v for n, v in given.items() if v is not None})


@contextmanager
def journalled(
    folder: Path | None, model: "Model", config: SearchConfig, root: Path, *, resume: bool
) -> Iterator[dict[str, Any]]:
    """What makes score_inputs go on from a journal in `folder`, and keep one there.

    Nothing is kept where there is no folder for it.
    """
    from adgan_cli.pipeline.journal import about, clear_journal, read_journal, writing_journal

    if folder is None:
        yield {}
        return
    wanted = about(model, config)
    if not resume:
        clear_journal(folder)
    known = read_journal(folder, wanted)
    with writing_journal(folder, wanted, root) as keep:
        yield {"known": known, "keep": keep}


def require_p_values(
    model: "Model", config: SearchConfig, fdr: float | None, *, trained_anew: bool
) -> None:
    """Refuse what the scores could not be used for, before any is computed."""
    from adgan_cli.pipeline.adjust import held_out_scores

    if trained_anew:
        return  # those models calibrate themselves
    if held_out_scores(model, config) is None and fdr is not None:
        raise ConfigError(
            f"--fdr {fdr:g} needs p-values; adgan calibrate gives the model scores of ordinary "
            "pictures for these settings"
        )


def follow(
    rows: Iterator["ScoreRow"],
    total: int,
    *,
    keep: Callable[["ScoreRow"], None],
    should_stop: Callable[[], bool],
    quiet: bool,
) -> int:
    """Hand each row to `keep` under a bar; returns how many came before `should_stop`."""
    done, started, said = 0, time.monotonic(), time.monotonic()
    with counting_bar("{task.fields[speed]}", quiet=quiet) as shown:
        task = shown.add_task("scoring", total=total, speed="")
        for row in rows:
            keep(row)
            done += 1
            speed = f"{done / (time.monotonic() - started):.2g} images/s"
            shown.update(task, completed=done, speed=speed)
            if shown.disable and not quiet and time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                left = (total - done) * (said - started) / done
                say(f"{done:,} of {counted(total, 'picture')}, {speed}, {duration(left)} left")
            if should_stop():
                break
    return done

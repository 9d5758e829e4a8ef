"""adgan calibrate: normal pictures that the model has not seen make p-values possible."""

from dataclasses import replace
from typing import Annotated

import typer

from adgan_cli.cli import scoring
from adgan_cli.cli.console import INTERRUPTED, counting_bar, plural, status, stop_on_signal
from adgan_cli.cli.options import (
    DEFAULT_LIMIT,
    DEFAULT_MODEL,
    CacheDir,
    CacheLimit,
    Device,
    Exclude,
    FilesFrom,
    FollowLinks,
    Include,
    ModelPath,
    NoCache,
    Paths,
    Quiet,
    Recursive,
    Workers,
    cache_config,
    selection,
)
from adgan_cli.processes import is_worker


def calibrate(
    paths: Paths = None,
    model: ModelPath = DEFAULT_MODEL,
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
    default: Annotated[
        bool,
        typer.Option(
            "--default",
            help="Make these settings the model's own: score and rank start from them.",
            rich_help_panel=scoring.SEARCH,
        ),
    ] = False,
    recursive: Recursive = True,
    include: Include = None,
    exclude: Exclude = None,
    files_from: FilesFrom = None,
    follow_links: FollowLinks = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    cache_limit: CacheLimit = DEFAULT_LIMIT,
    device: Device = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Give a model the scores of normal pictures it has not seen, for p-values.

    Training does that by itself for its own settings of the search; this does it for others, or for
    a model that held nothing out. Example: adgan calibrate ./more-bedrooms --k 25
    """
    if is_worker():
        raise typer.Exit()  # there is nothing to share
    place = cache_config(cache_dir, no_cache, cache_limit)
    chosen = selection(recursive, include, exclude, follow_links)
    from adgan_cli.engine.models.files import save_model
    from adgan_cli.images.reader import Reader
    from adgan_cli.scoring.calibrate import calibrate as add
    from adgan_cli.scoring.calibration import ENOUGH

    listing = scoring.find(paths, files_from, chosen, quiet=quiet)
    loaded = scoring.open_model(model, device, verbose=False)
    config = scoring.search_config(
        loaded, preset, n_seed=n_seed, init=init, k=k, reduce=reduce, lr_z=lr_z, lr_decay=lr_decay,
        z_radius=z_radius, lr_theta=lr_theta, theta=theta, precision=precision, loss=loss,
        seed=seed, adjust="none",
    )  # fmt: skip
    with (
        stop_on_signal("stopping: the model stays as it was", quiet=quiet) as asked,
        counting_bar(quiet=quiet) as shown,
    ):
        task = shown.add_task("calibrating", total=len(listing.items))
        done, used = add(
            loaded,
            listing,
            config,
            reader=Reader(loaded.preprocessing(), workers, place, scoring.cache_off(quiet)),
            on_image=lambda done, total: shown.update(task, completed=done, total=total),
            should_stop=asked,
        )
        if asked():
            raise typer.Exit(INTERRUPTED)
    digest = save_model(replace(done, search=config) if default else done, model)
    if quiet:
        return
    if used.in_training:
        status(f"left out {plural(used.in_training, 'picture')} that the model was trained on")
    if used.failed:
        status(f"warning: left out {plural(used.failed, 'file')} that cannot be read")
    status(f"p-values of {model} ({digest[:12]}) now go by {plural(used.unseen, 'picture')}")
    if default:
        status("score, rank and explain now search with these settings unless told otherwise")
    if used.unseen < ENOUGH:
        status(
            f"note: below {ENOUGH} p-values are coarse: none is below {1 / (used.unseen + 1):.2g}"
        )

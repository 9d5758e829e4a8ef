"""adgan train: learn what a folder of pictures looks like."""

import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adgan_cli.cli import scoring
from adgan_cli.cli.console import (
    INTERRUPTED,
    bar,
    counting_bar,
    duration,
    escape_control,
    parse_duration,
    plural,
    size,
    status,
    stop_on_signal,
)
from adgan_cli.cli.options import (
    DEFAULT_LIMIT,
    DEFAULT_MODEL,
    MACHINE,
    MODEL,
    OUTPUT,
    READING,
    TRAINING,
    CacheDir,
    CacheLimit,
    Device,
    Exclude,
    FilesFrom,
    FollowLinks,
    Include,
    NoCache,
    Paths,
    Quiet,
    Recursive,
    Verbose,
    Workers,
    cache_config,
    selection,
)
from adgan_cli.config import (
    OBJECTIVES,
    PRESETS,
    SIZES,
    Config,
    ReadConfig,
    to_dict,
)
from adgan_cli.errors import ConfigError
from adgan_cli.processes import is_restart, join

if TYPE_CHECKING:
    from rich.progress import Progress

    from adgan_cli.engine.training.trainer import StepMetrics
    from adgan_cli.fitting.run import FinishProgress, TrainingRun
    from adgan_cli.images.find import Listing
    from adgan_cli.images.pixels import PixelSet
    from adgan_cli.images.reader import Reader

AUTO_ITERS, AUTO_PATIENCE = 1_000_000, 0.4  # of --iters auto
FEW_STEPS = 1000  # below, even digits are told apart clearly worse
LINE_EVERY = 60.0  # seconds between lines where there is no terminal to draw a bar on


def train(
    paths: Paths = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Where the model goes.", rich_help_panel=OUTPUT)
    ] = DEFAULT_MODEL,
    preset: Annotated[
        str, typer.Option(help=f"Defaults: {', '.join(PRESETS)}.", rich_help_panel=TRAINING)
    ] = "default",
    size: Annotated[
        int | None,
        typer.Option(help=f"Pixels: {', '.join(map(str, SIZES))}.", rich_help_panel=MODEL),
    ] = None,
    channels: Annotated[
        str,
        typer.Option(help="1, 3, or auto: 1 if every picture is grey.", rich_help_panel=MODEL),
    ] = "auto",
    latent_dim: Annotated[
        int | None, typer.Option(help="Latent dimensions, d'.", rich_help_panel=MODEL)
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(help="Feature maps next to the picture.", rich_help_panel=MODEL),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help=f"{', '.join(OBJECTIVES)}.", rich_help_panel=TRAINING)
    ] = None,
    iters: Annotated[
        str | None,
        typer.Option(
            help="Generator steps, at most, or auto: until it gets no better.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(help="Stop after 90s, 30m, 2h, or none.", rich_help_panel=TRAINING),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("-b", "--batch-size", help="Pictures a step.", rich_help_panel=TRAINING),
    ] = None,
    critic_steps: Annotated[
        int | None,
        typer.Option(
            help="Critic steps a generator step (wgan, wgan-gp).", rich_help_panel=TRAINING
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Bound on the critic's weights (wgan).", rich_help_panel=TRAINING),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(help="Weight of the gradient penalty (wgan-gp).", rich_help_panel=TRAINING),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(help="Decay of the averaged generator; 0: none.", rich_help_panel=TRAINING),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(help="Mirror pictures at random, or not.", rich_help_panel=TRAINING),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            help="Share not trained on, to judge by and for p-values.", rich_help_panel=TRAINING
        ),
    ] = None,
    patience: Annotated[
        float | None,
        typer.Option(
            help="Share of the steps without improvement that ends it; 0: none does.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of every random number.", rich_help_panel=TRAINING)
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="How a picture becomes a square: crop, pad or squash.", rich_help_panel=READING
        ),
    ] = None,
    alpha: Annotated[
        str | None,
        typer.Option(
            help="Behind transparency: white, black, #rrggbb, or drop.", rich_help_panel=READING
        ),
    ] = None,
    recursive: Recursive = True,
    include: Include = None,
    exclude: Exclude = None,
    files_from: FilesFrom = None,
    follow_links: FollowLinks = False,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    cache_limit: CacheLimit = DEFAULT_LIMIT,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on exactly where OUT stopped.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model in OUT.")
    ] = False,
    keep_critic: Annotated[
        bool,
        typer.Option(
            "--keep-critic",
            help="Into the model too, for --loss critic-features.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    encoder_iters: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps of an encoder afterwards, where the search starts too; 0: none.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Print the plan and exit.")
    ] = False,
    save_every: Annotated[
        str,
        typer.Option(help="Time between checkpoints and samples.", rich_help_panel=OUTPUT),
    ] = "2m",
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32 or bf16.", rich_help_panel=MACHINE)
    ] = "auto",
    workers: Workers = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learn what the pictures in a folder look like, without labels.

    Trains a DCGAN and an approximate inverse of it, and writes a model directory. Ctrl-C saves and
    stops; --resume goes on.

    Example: adgan train ./bedrooms
    """
    given = {
        "size": size, "latent_dim": latent_dim, "width": width, "objective": objective,
        **_goal(iters), "batch_size": batch_size, "critic_steps": critic_steps, "clip": clip,
        "penalty": penalty, "ema": ema, "flip": flip, "holdout": holdout, "seed": seed,
        "fit": fit, "alpha": alpha,
        **({} if patience is None else {"patience": patience}), "encoder_iters": encoder_iters,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    if preset not in PRESETS:
        raise ConfigError(f"--preset must be one of {', '.join(PRESETS)}, got {preset}")
    if resume and overwrite:
        raise ConfigError("--resume goes on and --overwrite starts anew; give one of them")
    limit = parse_duration(max_time or PRESETS[preset].max_time, "--max-time")
    save_seconds = parse_duration(save_every, "--save-every")
    model_config = _with(PRESETS[preset].model, {**given, **_channels(channels)})
    train_config = _with(PRESETS[preset].train, given)
    reading = _with(ReadConfig(), given)
    place = cache_config(cache_dir, no_cache, cache_limit)
    chosen = selection(recursive, include, exclude, follow_links)
    if not paths and files_from is None:
        raise ConfigError("give a folder, or a list with --files-from; see adgan train --help")

    from adgan_cli.engine.device import pick_device, pick_precision
    from adgan_cli.engine.models.header import CHECKPOINT_FILE
    from adgan_cli.fitting.directory import check_output_dir
    from adgan_cli.fitting.run import TrainingRun
    from adgan_cli.fitting.settings import TrainingSettings, resumed_settings
    from adgan_cli.images.reader import Reader

    processes = join()
    where = pick_device(device, processes.local_rank)
    exact = pick_precision(precision, where)
    settings = TrainingSettings(
        model_config,
        train_config,
        reading,
        PRESETS[preset].search,
        max_time=limit,
        save_every=save_seconds,
        keep_critic=keep_critic,
    )
    if is_restart() and not dry_run:  # by torchrun: whatever it was to do, it has begun
        resume = (out / CHECKPOINT_FILE).exists()
        overwrite = True
    if resume:
        given |= _channels(channels) | ({} if precision == "auto" else {"precision": exact})
        settings = resumed_settings(out, settings, given)
        channels = str(settings.model.channels)
    if not dry_run and processes.is_main:
        check_output_dir(out, resume=resume, overwrite=overwrite)
    listing = scoring.find(paths, files_from, chosen, quiet=quiet)

    reader = Reader(settings.preprocessing(), workers, place, scoring.cache_off(quiet))

    def load() -> "PixelSet":
        return _load(listing, reader, detect_grey=channels == "auto", quiet=quiet)

    pictures = load() if place is None else processes.main_first("decoded", load)
    if resume:
        run = TrainingRun.resume(out, pictures, settings, device=where, processes=processes)
    else:
        run = TrainingRun.start(
            pictures, settings, out=out, device=where, precision=exact, processes=processes
        )
    if dry_run and not processes.is_main:
        raise typer.Exit()
    if dry_run:
        _print_plan(run, len(pictures.failures), listing.root)
        return
    if not quiet:
        _warn(run.images, run.held_out)
    _train(run, quiet, verbose)


def _train(run: "TrainingRun", quiet: bool, verbose: bool) -> None:
    from adgan_cli.engine.training.objectives import objective
    from adgan_cli.fitting.verdict import verdict_numbers

    state, processes, out = run.state, run.processes, run.out
    first, goal, started = state.step, state.train_config.iters, time.monotonic()
    auto, limit = state.train_config.patience > 0, run.settings.max_time
    if not quiet:
        until = "it gets no better" if auto else f"{goal:,} steps"
        until += f" or {duration(limit)}" if limit is not None else ""
        several = f" in {processes.count} processes" if processes.count > 1 else ""
        status(
            f"training {state.train_config.objective} at {state.model_config.size} px on "
            f"{state.device.type} ({state.precision}){several}, until {until}; Ctrl-C saves and "
            "stops"
        )
    with (
        stop_on_signal("stopping: saving the model, a moment...", quiet=quiet) as asked,
        bar("{task.fields[told]}", quiet=quiet) as shown,
    ):
        distance_name = objective(state.train_config).distance_name
        report = _Report(shown, distance_name, first, None if auto else goal, limit)
        saved = run.saved_step
        for metrics in run.steps(asked):
            if not quiet:
                report.step(metrics)
            if verbose and run.saved_step != saved:
                saved = run.saved_step
                status(f"saved step {saved:,}")
        if not processes.is_main:
            raise typer.Exit(INTERRUPTED if run.stopped else 0)
        model = run.finish(asked, on_progress=report.finishing)
    stopped, digest = run.stopped, model.digest
    if not quiet:
        spent = duration(time.monotonic() - started)
        of = "" if auto else f" of {goal:,}"
        status(f"{state.step:,}{of} steps in {spent}; model in {out} ({digest[:12]})")
        told = model.provenance["verdict"]
        if state.step == 0:
            status("warning: not one step was taken; this model has learnt nothing")
        else:
            status(f"verdict: {told['verdict']}; {told['advice']}")
            status(f"it goes by: {verdict_numbers(told)}")
            if not model.calibrations:
                status("no p-values yet: adgan calibrate FOLDER makes them possible")
        if state.step < min(goal, FEW_STEPS) and state.step and not stopped:
            status("warning: so few steps make a weak model; go on, or see --preset quick (32 px)")
        if state.step < goal and not auto:
            status("go on: the same command with --resume")
        if stopped and state.step:
            status("or finish what there is, encoder and p-values: with --resume --max-time 0s")
        samples = Path(out or "") / "samples"
        status(f"look at {samples}: the less they look like real.png, the longer to train")
    if stopped:
        raise typer.Exit(INTERRUPTED)


class _Report:
    """Progress of training: a bar on a terminal, a line a minute elsewhere."""

    def __init__(
        self, bar: "Progress", measure: str, first: int, goal: int | None, limit: float | None
    ) -> None:
        self.bar, self.first, self.goal, self.limit = bar, first, goal, limit
        self.measure = measure  # what the distance is called
        self.held_out = ""  # what was said of pictures held out, last
        self.smooth: float | None = None  # the estimate, averaged over some 20 steps
        self.task = bar.add_task(f"step {first:,}", total=1.0, told="starting")
        self.said = self.started = time.monotonic()
        self.stage = ""

    def step(self, told: "StepMetrics") -> None:
        seconds = time.monotonic() - self.started
        old = told.distance if self.smooth is None else self.smooth
        self.smooth = old + 0.05 * (told.distance - old)
        done = (told.step - self.first) / max(1, self.goal - self.first) if self.goal else 0.0
        if self.limit:
            done = max(done, seconds / self.limit)
        line = f"{told.images / seconds:,.0f} images/s  {self.measure} {self.smooth:.3g}"
        if told.held_out is not None:
            self.held_out = f", {told.held_out:.3g} held out"
        line += self.held_out
        if done:
            line += f"  {duration(max(0.0, seconds * (1 - done) / done))} left"
        step = f"step {told.step:,}"
        self.bar.update(self.task, completed=min(done, 1.0), description=step, told=line)
        if self.bar.disable and time.monotonic() - self.said >= LINE_EVERY:
            self.said = time.monotonic()
            status(f"{step}  {line}")

    def finishing(self, progress: "FinishProgress") -> None:
        if progress.stage != self.stage:
            self.stage = progress.stage
            self.task = self.bar.add_task(progress.stage, total=progress.total, told="")
        told = "scores for p-values"
        if progress.loss is not None:
            told = f"step {progress.done:,}  loss {progress.loss:.3g}"
        self.bar.update(self.task, completed=progress.done, told=told)


def _load(listing: "Listing", reader: "Reader", *, detect_grey: bool, quiet: bool) -> "PixelSet":
    from adgan_cli.fitting.data import load_training_images

    with counting_bar(quiet=quiet) as shown:
        task = shown.add_task("reading pictures", total=len(listing.items))
        pictures = load_training_images(
            listing,
            reader,
            detect_grey=detect_grey,
            on_progress=lambda done: shown.update(task, completed=done),
        )
    if not quiet:
        kind = "grey" if pictures.pixels.shape[-1] == 1 else "colour"
        count, size = plural(len(pictures), "picture"), reader.preprocessing.size
        status(f"{count} in {listing.root}, read as {size} px {kind}")
    for name, reason in pictures.failures[:5]:
        status(f"warning: left out {name}: {reason}")
    if len(pictures.failures) > 5:
        status(f"warning: left out {len(pictures.failures) - 5} more files that cannot be read")
    return pictures


def _warn(trained_on: "PixelSet", held_out: "PixelSet") -> None:
    """Of too few pictures, to learn from or to go by."""
    from adgan_cli.fitting.verdict import MIN_TRAIN
    from adgan_cli.scoring.calibration import ENOUGH

    if len(held_out):
        status(f"{plural(len(held_out), 'picture')} of them held out, to judge by and for p-values")
    if len(trained_on) < MIN_TRAIN:
        status(f"warning: that is few; below {MIN_TRAIN} a generator learns them by heart")
    elif len(held_out) < ENOUGH:
        status(f"note: below {ENOUGH} held out, p-values are coarse; --holdout 0.2 holds out more")


def _goal(text: str | None) -> dict[str, Any]:
    """The settings that --iters names: so many steps, or as many as help."""
    if text is None:
        return {}
    if text == "auto":
        return {"iters": AUTO_ITERS, "patience": AUTO_PATIENCE}
    if not text.isdecimal():
        raise ConfigError(f"--iters must be a number or auto, got {text}")
    return {"iters": int(text)}


def _print_plan(run: "TrainingRun", failed: int, folder: Path) -> None:
    state, limit = run.state, run.settings.max_time
    need = run.estimate()
    left = state.train_config.iters - state.step
    full = need.seconds_per_step * left
    plan: dict[str, Any] = {
        "folder": folder,
        "out": run.out,
        "pictures": f"{len(run.images):,} to train on, {len(run.held_out):,} held out",
        "left out": f"{failed:,}",
        **to_dict(state.model_config),
        **to_dict(run.settings.reading),
        **to_dict(state.train_config),
        "device": state.device,
        "precision": state.precision,
        "memory": f"about {size(need.memory)}",
        "speed": f"{1 / need.seconds_per_step:.2g} generator steps a second",
        "time for all steps": f"about {duration(full)}",
        "time limit": "none" if limit is None else duration(limit),
    }
    if limit is not None and full > limit:
        reached = int(limit / need.seconds_per_step) + state.step
        plan["steps within the limit"] = f"about {reached:,}"
    for name, value in plan.items():
        typer.echo(escape_control(f"{name.replace('_', ' '):24}{value}"))


def _with(config: Config, given: dict[str, Any]) -> Config:
    mine = {field.name for field in fields(config)}
    return replace(config, **{name: value for name, value in given.items() if name in mine})


def _channels(text: str) -> dict[str, int]:
    if text not in ("auto", "1", "3"):
        raise ConfigError(f"--channels must be auto, 1 or 3, got {text}")
    return {} if text == "auto" else {"channels": int(text)}

"""adgan train: learn what a folder of pictures looks like."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adgan_cli.cli.console import (
    INTERRUPTED,
    Reporter,
    VerboseReporter,
    escape_control,
    format_duration,
    output,
    status,
)
from adgan_cli.cli.options import (
    DEFAULT_MODEL,
    InputOptions,
    ReaderOptions,
    warn_of_bf16,
    warn_of_ranges,
)
from adgan_cli.cli.progress import FeatureProgressBar, TrainingProgress
from adgan_cli.cli.signature import with_options
from adgan_cli.cli.train_lines import (
    choice_line,
    plan_line,
    print_plan,
    result_lines,
    sample_lines,
    start_line,
    weights_line,
)
from adgan_cli.cli.train_options import TrainingOptions
from adgan_cli.config import to_dict
from adgan_cli.errors import ConfigError
from adgan_cli.processes import is_restart, is_worker, join
from adgan_cli.text import plural

if TYPE_CHECKING:
    import torch

    from adgan_cli.fitting.run import TrainingRun
    from adgan_cli.fitting.settings import TrainingSettings
    from adgan_cli.images.find import Listing
    from adgan_cli.images.pixels import PixelSet
    from adgan_cli.images.reader import Reader


@with_options
def train(
    *,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Directory to write the model to.")
    ] = DEFAULT_MODEL,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on exactly where the run in --out stopped.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model in --out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Print the plan with its time, and exit.")
    ] = False,
    options: TrainingOptions,
    reporter: VerboseReporter,
    inputs: InputOptions,
    reading: ReaderOptions,
) -> None:
    """Learn what the pictures in a folder look like, without labels.

    Trains a DCGAN and an approximate inverse of it, and writes a model directory. Ctrl-C saves and
    stops; --resume goes on.

    Example: adgan train ./bedrooms
    """
    started = time.monotonic()
    _check_usage(inputs, resume=resume, overwrite=overwrite)
    settings = options.settings()
    if not dry_run:
        reporter.own(out)
    from adgan_cli.engine.device import pick_device, pick_precision
    from adgan_cli.engine.models.header import CHECKPOINT_FILE
    from adgan_cli.fitting.data import large_reader
    from adgan_cli.fitting.directory import check_output_dir
    from adgan_cli.fitting.settings import resumed_settings

    device = pick_device(options.device, (processes := join()).local_rank)
    precision = pick_precision(options.precision, device)
    if is_restart() and not dry_run:  # by torchrun: whatever it was to do, it has begun
        resume, overwrite = (out / CHECKPOINT_FILE).exists(), True
    if resume and settings.gan:
        insisted = {} if options.precision == "auto" else {"precision": precision}
        settings = resumed_settings(out, settings, {**options.given(), **insisted})
    if not dry_run and processes.is_main:
        check_output_dir(out, resume=resume, overwrite=overwrite)
    if not resume and processes.world_size == 1:  # several would each choose by their own clock
        settings = _chosen(
            settings, options, device, precision=precision, started=started, reporter=reporter
        )
    listing, reader = inputs.listing(reporter), reading.reader(settings.preprocessing(), reporter)
    backbone = options.load_backbone(device)
    detect_grey = options.channels == "auto" and not (resume and settings.gan)
    images = _load(listing, reader, reporter, detect_grey=detect_grey)
    if backbone is not None:
        large = large_reader(listing, reader, images, backbone.config.side)
        settings = settings.with_backbone(backbone, large)
    spent = time.monotonic() - started
    if not settings.gan:
        settings = settings.after(spent)
        return _train_features(images, settings, out, reporter, resume=resume, dry_run=dry_run)
    run = _prepared(images, settings, out, device=device, precision=precision, resume=resume)
    run.limit_time(settings.after(spent).max_time)
    warn_of_bf16(run.state.precision, device)
    if not dry_run:
        _report_counts(run, reporter)
        _train(run, out, reporter, spent)
    elif processes.is_main:
        print_plan(run, listing, len(images.failures), spent)


def _chosen(
    settings: "TrainingSettings",
    options: TrainingOptions,
    device: "torch.device",
    *,
    precision: str,
    started: float,
    reporter: Reporter,
) -> "TrainingSettings":
    """Choose what is not given of size, width and batch, and say so."""
    from adgan_cli.fitting.choice import chosen_settings

    spent = time.monotonic() - started
    settings, choice = chosen_settings(
        settings, options.fixed(), spent=spent, device=device, precision=precision
    )
    if choice is not None:
        reporter.info(choice_line(choice, settings))
    return settings


def _prepared(
    images: "PixelSet",
    settings: "TrainingSettings",
    out: Path,
    *,
    device: "torch.device",
    precision: str,
    resume: bool,
) -> "TrainingRun":
    """Prepare a run, new or gone on with."""
    from adgan_cli.fitting.run import TrainingRun

    if resume:
        return TrainingRun.resume(out, images, settings, device=device, processes=join())
    return TrainingRun.start(
        images, settings, out=out, device=device, precision=precision, processes=join()
    )


def _check_usage(inputs: InputOptions, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise ConfigError("--resume goes on and --overwrite starts anew; give one of them")
    if not inputs:
        raise ConfigError("give a folder, or a list with --files-from; see adgan train --help")


def _load(
    listing: "Listing", reader: "Reader", reporter: Reporter, *, detect_grey: bool
) -> "PixelSet":
    """Decode the images, and say what was left out."""
    from adgan_cli.fitting.data import load_training_images
    from adgan_cli.images.value_ranges import describe_ranges

    def load() -> "PixelSet":
        with reporter.counting_bar() as bar:
            task = bar.add_task("reading pictures", total=len(listing.items))
            return load_training_images(
                listing,
                reader,
                detect_grey=detect_grey,
                on_progress=lambda done: bar.update(task, completed=done),
            )

    images = load() if reader.cache is None else join().main_first("decoded", load)
    size, _, channels = images.pixels.shape[1:]
    kind = "grey" if channels == 1 else "colour"
    count = plural(len(images), "picture")
    reporter.info(f"{count} in {listing.root}, read as {size} px {kind}")
    _note_contents(images, reporter)
    for line in describe_ranges(images.ranges):
        reporter.info(f"values that became black to white: {line}")
    warn_of_ranges(images.value_ranges)
    for name, reason in images.failures[:5]:
        status(f"warning: left out {name}: {reason}")
    if len(images.failures) > 5:
        status(f"warning: left out {len(images.failures) - 5} more files that cannot be read")
    return images


def _note_contents(images: "PixelSet", reporter: Reporter) -> None:
    """Say how many images are copies of others, or nothing but the colour behind them."""
    if copies := images.count_copies():
        reporter.info(f"note: exact copies of others: {copies:,}; held out they count once")
    if clear := int(images.clear.sum()):
        status(
            f"warning: fully transparent, and so read as one colour: {clear:,}; --alpha drop reads "
            "the colours underneath"
        )


def _report_counts(run: "TrainingRun", reporter: Reporter) -> None:
    """Say how many images are held out, and whether there are too few to learn from or to go by."""
    from adgan_cli.fitting.verdict import MIN_TRAIN
    from adgan_cli.scoring.calibration import ENOUGH

    if n_held_out := len(run.held_out):
        held_out = plural(n_held_out, "picture")
        reporter.info(f"{held_out} of them held out, to judge by and for p-values")
    if len(run.images) < MIN_TRAIN:
        few = f"warning: that is few; below {MIN_TRAIN} a generator learns them by heart"
        reporter.info(few)
    elif n_held_out < ENOUGH:
        coarse = f"note: below {ENOUGH} held out, p-values are coarse; "
        reporter.info(coarse + "--holdout 0.2 holds out more")


def _train(run: "TrainingRun", out: Path, reporter: VerboseReporter, spent: float) -> None:
    """Train under a bar, and say what came of it; spent: seconds of the command till now."""
    started = time.monotonic()
    reporter.info(start_line(run))
    if run.processes.is_main and (plan := run.plan()):
        reporter.info(plan_line(plan, run, spent + time.monotonic() - started))
    with (
        reporter.stop_on_signal("stopping: saving the model, a moment...") as stop_requested,
        reporter.progress_bar("{task.fields[text]}") as bar,
    ):
        run.fit_features(stop_requested, on_progress=FeatureProgressBar(bar, reporter))
        progress = TrainingProgress(bar, run, reporter)
        saved_step = run.saved_step
        for metrics in run.steps(stop_requested):
            progress.step(metrics)
            if run.saved_step != saved_step:
                saved_step = run.saved_step
                reporter.detail(f"saved step {saved_step:,}")
        if not run.processes.is_main:
            raise typer.Exit(INTERRUPTED if run.stopped else 0)
        model = run.finish(stop_requested, on_progress=progress.finish)
    for line in result_lines(run, model, out, spent + time.monotonic() - started):
        reporter.info(line)
    if run.stopped:
        raise typer.Exit(INTERRUPTED)


def _train_features(
    images: "PixelSet",
    settings: "TrainingSettings",
    out: Path,
    reporter: Reporter,
    *,
    resume: bool,
    dry_run: bool,
) -> None:
    """Train features alone under a bar, and say what came of it."""
    from adgan_cli.fitting.feature_run import train_features
    from adgan_cli.fitting.stages import StageCallbacks

    if is_worker():
        raise typer.Exit()  # there is nothing to share
    if dry_run:
        plan = {"pictures": f"{len(images):,}", "out": out, **to_dict(settings.features)}
        for name, value in plan.items():
            output(escape_control(f"{name.replace('_', ' '):24}{value}"))
        return
    started = time.monotonic()
    limit = settings.max_time
    until = f", for {format_duration(limit)} at most" if limit is not None else ""
    reporter.info(f"learning features without a generator{until}; Ctrl-C saves and stops")
    with (
        reporter.stop_on_signal("stopping: saving, a moment...") as stop_requested,
        reporter.progress_bar("{task.fields[text]}") as bar,
    ):
        callbacks = StageCallbacks(FeatureProgressBar(bar, reporter), stop_requested)
        model = train_features(images, settings, out=out, resume=resume, callbacks=callbacks)
    if model is None:
        reporter.info("go on: the same command with --resume")
        raise typer.Exit(INTERRUPTED)
    spent = format_duration(time.monotonic() - started)
    reporter.info(f"features learned in {spent}; model in {out} ({model.digest[:12]})")
    reporter.info(weights_line(model))
    for line in sample_lines(model, len(settings.split(images)[1])):
        reporter.info(line)

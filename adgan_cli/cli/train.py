"""adgan train: learn what a folder of pictures looks like."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from adgan_cli.cli.options import DEFAULT_MODEL, InputOptions, ReaderOptions, warn_of_ranges
from adgan_cli.cli.progress import FeatureProgressBar, TrainingProgress
from adgan_cli.cli.signature import with_options
from adgan_cli.cli.train_options import TrainingOptions
from adgan_cli.config import to_dict
from adgan_cli.errors import ConfigError
from adgan_cli.processes import is_restart, is_worker, join
from adgan_cli.text import format_bytes, format_number, plural

if TYPE_CHECKING:
    from adgan_cli.engine.models.model import Model
    from adgan_cli.fitting.run import TrainingRun
    from adgan_cli.fitting.settings import TrainingSettings
    from adgan_cli.images.find import Listing
    from adgan_cli.images.pixels import PixelSet
    from adgan_cli.images.reader import Reader

FEW_STEPS = 1000  # below, even digits are separated clearly worse


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
    _check_usage(inputs, resume=resume, overwrite=overwrite)
    settings = options.settings()
    if not dry_run:
        reporter.own(out)
    from adgan_cli.engine.device import pick_device, pick_precision
    from adgan_cli.engine.models.header import CHECKPOINT_FILE
    from adgan_cli.fitting.data import large_reader
    from adgan_cli.fitting.directory import check_output_dir
    from adgan_cli.fitting.run import TrainingRun
    from adgan_cli.fitting.settings import resumed_settings

    started, processes = time.monotonic(), join()
    device = pick_device(options.device, processes.local_rank)
    precision = pick_precision(options.precision, device)
    if is_restart() and not dry_run:  # by torchrun: whatever it was to do, it has begun
        resume, overwrite = (out / CHECKPOINT_FILE).exists(), True
    if resume and settings.gan:
        insisted = {} if options.precision == "auto" else {"precision": precision}
        settings = resumed_settings(out, settings, {**options.given(), **insisted})
    if not dry_run and processes.is_main:
        check_output_dir(out, resume=resume, overwrite=overwrite)
    listing, reader = inputs.listing(reporter), reading.reader(settings.preprocessing(), reporter)
    backbone = options.load_backbone(device)
    detect_grey = options.channels == "auto" and not (resume and settings.gan)
    images = _load(listing, reader, reporter, detect_grey=detect_grey)
    if backbone is not None:
        large = large_reader(listing, reader, images, backbone.config.side)
        settings = settings.with_backbone(backbone, large)
    settings = settings.after(time.monotonic() - started)
    if not settings.gan:
        return _train_features(images, settings, out, reporter, resume=resume, dry_run=dry_run)
    if resume:
        run = TrainingRun.resume(out, images, settings, device=device, processes=processes)
    else:
        run = TrainingRun.start(
            images, settings, out=out, device=device, precision=precision, processes=processes
        )
    if not dry_run:
        _report_counts(run, reporter)
        _train(run, out, reporter)
    elif processes.is_main:
        _print_plan(run, listing, len(images.failures))


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


def _train(run: "TrainingRun", out: Path, reporter: VerboseReporter) -> None:
    """Train under a bar, and say what came of it."""
    started = time.monotonic()
    reporter.info(_plan_line(run))
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
    for line in _result_lines(run, model, out, time.monotonic() - started):
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
    reporter.info(_weights_line(model))


def _weights_line(model: "Model") -> str:
    """Say what each detector counts for, the most important first."""
    assert model.features is not None
    scales = sorted(model.features.scales.items(), key=lambda pair: -pair[1].weight)
    return "what counts: " + ", ".join(f"{name} {scale.weight:.0%}" for name, scale in scales)


def _plan_line(run: "TrainingRun") -> str:
    state, limit, count = run.state, run.settings.max_time, run.processes.world_size
    config = state.train_config
    until = "it gets no better" if config.patience else f"{config.iters:,} steps"
    until += f" or {format_duration(limit)}" if limit is not None else ""
    several = f" in {count} processes" if count > 1 else ""
    return (
        f"training {config.objective} at {state.model_config.size} px on {state.device.type} "
        f"({state.precision}){several}, until {until}; Ctrl-C saves and stops"
    )


def _result_lines(run: "TrainingRun", model: "Model", out: Path, seconds: float) -> list[str]:
    """Say how far training came, what the verdict is, and what to do next."""
    from adgan_cli.fitting.verdict import verdict_numbers

    step, config = run.state.step, run.state.train_config
    goal, auto = config.iters, config.patience > 0
    of_goal = "" if auto else f" of {goal:,}"
    spent, digest = format_duration(seconds), model.digest[:12]
    lines = [f"{step:,}{of_goal} steps in {spent}; model in {out} ({digest})"]
    verdict = model.provenance["verdict"]
    if step == 0:
        lines.append("warning: not one step was taken; this model has learnt nothing")
    else:
        lines.append(f"verdict: {verdict['verdict']}; {verdict['advice']}")
        lines.append(f"it goes by: {verdict_numbers(verdict)}")
        if not model.calibrations:
            lines.append("no p-values yet: adgan calibrate FOLDER makes them possible")
    if 0 < step < min(goal, FEW_STEPS) and not run.stopped:
        lines.append(
            "warning: so few steps make a weak model; go on, or see --preset quick (32 px)"
        )
    if step < goal and not auto:
        lines.append("go on: the same command with --resume")
    if run.stopped and step:
        lines.append("or finish what there is, encoder and p-values: with --resume --max-time 0s")
    samples = out / "samples"
    lines.append(f"look at {samples}: the less they look like real.png, the longer to train")
    return lines


def _print_plan(run: "TrainingRun", listing: "Listing", failed: int) -> None:
    """Print what the run would do, and how long it would take."""
    state, limit = run.state, run.settings.max_time
    cost = run.estimate()
    seconds = cost.seconds_per_step * (state.train_config.iters - state.step)
    plan: dict[str, Any] = {
        "folder": listing.root,
        "out": run.out,
        "pictures": f"{len(run.images):,} to train on, {len(run.held_out):,} held out",
        "left out": f"{failed:,}",
        **to_dict(state.model_config),
        **to_dict(run.settings.reading),
        **to_dict(state.train_config),
        "device": state.device,
        "precision": state.precision,
        "memory": f"about {format_bytes(cost.memory)}",
        "speed": f"{format_number(1 / cost.seconds_per_step)} generator steps a second",
        "time for all steps": f"about {format_duration(seconds)}",
        "time limit": "none" if limit is None else format_duration(limit),
    }
    if limit is not None and seconds > limit:
        reached = int(limit / cost.seconds_per_step) + state.step
        plan["steps within the limit"] = f"about {reached:,}"
    for name, value in plan.items():
        output(escape_control(f"{name.replace('_', ' '):24}{value}"))

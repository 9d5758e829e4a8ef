"""adgan evaluate: the paper's experiments, on its data sets or on labelled folders."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from adgan_cli.atomic import writing
from adgan_cli.cli import scoring
from adgan_cli.cli.console import (
    INTERRUPTED,
    bar,
    counting_bar,
    duration,
    escape_control,
    parse_duration,
    status,
    with_table,
)
from adgan_cli.cli.options import (
    DEFAULT_LIMIT,
    MACHINE,
    OUTPUT,
    READING,
    TRAINING,
    CacheDir,
    CacheLimit,
    Device,
    NoCache,
    Quiet,
    Workers,
    cache_config,
)
from adgan_cli.config import (
    OBJECTIVES,
    PAPER_SEARCH,
    SIZES,
    Fit,
    ModelConfig,
    Objective,
    ReadConfig,
    TrainConfig,
)
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.settings import PAPER_GAN, AutoencoderConfig, GanConfig, Settings
from adgan_cli.processes import Processes, join

if TYPE_CHECKING:
    from adgan_cli.evaluation.datasets import DataConfig
    from adgan_cli.evaluation.datasets.labelled import LabelledDataset
    from adgan_cli.evaluation.protocol import Plan, Result
    from adgan_cli.images.reader import Reader

DATA = "Data"


def evaluate(
    dataset: Annotated[
        str,
        typer.Option(
            help="mnist, fashion-mnist, cifar10, cifar100, lsun, digits, or a folder of classes.",
            rich_help_panel=DATA,
        ),
    ] = "",
    normal_class: Annotated[
        str,
        typer.Option(
            help="Index or name of the normal class, several with commas, or all.",
            rich_help_panel=DATA,
        ),
    ] = "",
    normal: Annotated[
        Path | None,
        typer.Option(help="Folder of normal pictures, instead of --dataset.", rich_help_panel=DATA),
    ] = None,
    anomalous: Annotated[
        Path | None,
        typer.Option(help="Folder of anomalous pictures, with --normal.", rich_help_panel=DATA),
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Names with commas between, or all; see README.")
    ] = "",
    model: Annotated[
        Path | None,
        typer.Option("-m", "--model", help="Score with this model instead of training one."),
    ] = None,
    n_test: Annotated[
        str, typer.Option(help="Test items drawn at random, or all.", rich_help_panel=DATA)
    ] = "5000",
    runs: Annotated[int, typer.Option(min=1, help="Repetitions, each with its own seed.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of every random number.")] = 0,
    data_root: Annotated[
        Path | None,
        typer.Option(
            envvar="ADGAN_DATA_ROOT", help="Where data sets are; ./data.", rich_help_panel=DATA
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download", help="Fetch a data set that is not there.", rich_help_panel=DATA
        ),
    ] = False,  # fmt: skip
    alexnet_weights: Annotated[
        Path | None, typer.Option(help="AlexNet's weights as .safetensors.", rich_help_panel=DATA)
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Where everything goes.", rich_help_panel=OUTPUT)
    ] = Path("adgan-evaluation"),
    size: Annotated[
        int | None,
        typer.Option(
            help=f"Pixels: {', '.join(map(str, SIZES))}; default: the set's own, folders 64.",
            rich_help_panel=READING,
        ),
    ] = None,
    fit: Annotated[
        Fit, typer.Option(help="Folders: crop, pad or squash.", rich_help_panel=READING)
    ] = ReadConfig.fit,
    latent_dim: Annotated[
        int,
        typer.Option(help="Latent dimensions, d'; not of adgan-tuned.", rich_help_panel=TRAINING),
    ] = PAPER_GAN.latent_dim,
    width: Annotated[
        int, typer.Option(help="Feature maps next to the picture.", rich_help_panel=TRAINING)
    ] = ModelConfig.width,
    objective: Annotated[
        Objective,
        typer.Option(
            help=f"{', '.join(OBJECTIVES)}; not of adgan-tuned.", rich_help_panel=TRAINING
        ),
    ] = PAPER_GAN.train.objective,
    iters: Annotated[
        int | None, typer.Option(help="Generator steps, at most.", rich_help_panel=TRAINING)
    ] = None,
    max_time: Annotated[
        str,
        typer.Option(help="For each model trained: 10m, 2h, or none.", rich_help_panel=TRAINING),
    ] = "30m",
    flip: Annotated[
        bool,
        typer.Option("--flip", help="Mirror pictures at random.", rich_help_panel=TRAINING),
    ] = False,
    encoder_iters: Annotated[
        int | None,
        typer.Option(min=0, help="Steps of adgan-tuned's encoder.", rich_help_panel=TRAINING),
    ] = None,
    k: scoring.K = None,
    lr_z: scoring.LrZ = None,
    lr_theta: scoring.LrTheta = None,
    theta: scoring.Theta = None,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    cache_limit: CacheLimit = DEFAULT_LIMIT,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="Of training: auto, fp32 or bf16.", rich_help_panel=MACHINE)
    ] = "auto",
    workers: Workers = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Classes side by side, each in a process of its own; default: 1, on a GPU 4.",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure how well ADGAN and others tell one class from the rest, as the paper does.

    Trains on one class, scores test items of all, prints a table of AUCs. Interrupted, the same
    command goes on where it was.

    Example: adgan evaluate --dataset cifar10 --normal-class 0
    """
    if not dataset and normal is None and anomalous is None:
        raise ConfigError("give --dataset NAME or FOLDER, or --normal DIR with --anomalous DIR")
    limit = parse_duration(max_time, "--max-time")
    reading, cache = ReadConfig(fit=fit), cache_config(cache_dir, no_cache, cache_limit)
    # nothing is held out: the paper trains on all of a class
    training: dict[str, Any] = {"flip": flip, "holdout": 0.0}
    if iters is not None:
        training["iters"] = iters
    train = replace(PAPER_GAN.train, objective=objective, **training)
    tuned_train = TrainConfig(**training)
    if encoder_iters is not None:
        tuned_train = replace(tuned_train, encoder_iters=encoder_iters)
    given: dict[str, Any] = {"k": k, "lr_z": lr_z, "lr_theta": lr_theta, "theta": theta}
    search = replace(PAPER_SEARCH, **{n: v for n, v in given.items() if v is not None})
    ModelConfig(latent_dim=latent_dim, width=width)  # refuses what cannot be, before any work

    from adgan_cli.engine.device import pick_device, pick_precision
    from adgan_cli.evaluation.datasets import FOLDER_SIZE, DataConfig
    from adgan_cli.evaluation.protocol import Plan
    from adgan_cli.images.read import Preprocessing
    from adgan_cli.images.reader import Reader

    processes = join()
    chosen_device = pick_device(device, processes.local_rank)
    settings = Settings(
        gan=GanConfig(train, latent_dim),
        search=search,
        tuned_gan=GanConfig(tuned_train),
        autoencoder=AutoencoderConfig(latent_dim=latent_dim, width=width),
        width=width,
        max_seconds=float("inf") if limit is None else limit,
        precision=pick_precision(precision, chosen_device),
        device=str(chosen_device),
        model=model,
        alexnet_weights=alexnet_weights,
    )
    plan = Plan((), _methods(methods), settings, n_test=_n_test(n_test), runs=runs, seed=seed)
    data = DataConfig(
        dataset,
        normal,
        anomalous,
        normal_class=_only_class(normal_class),
        size=size,
        seed=seed,
        root=data_root,
        download=download,
    )
    preprocessing = Preprocessing(FOLDER_SIZE, 3, reading.fit, reading.alpha)
    reader = Reader(preprocessing, workers, cache, scoring.cache_off(quiet))
    labelled = processes.main_first(
        "decoded",
        lambda: _load(data, reader, quiet),
    )
    plan = replace(plan, classes=_classes(labelled, normal_class, bool(dataset)))
    if not quiet:
        status(
            f"{labelled.name}: {len(plan.classes)} of {len(labelled.classes)} classes normal in "
            f"turn, {len(plan.methods)} methods, on {chosen_device.type}; "
            f"{labelled.note or 'as it is'}"
        )
    if jobs is None:
        jobs = 4 if chosen_device.type == "cuda" else 1
    _run(labelled, plan, out, jobs=jobs, processes=processes, quiet=quiet)


def _run(
    labelled: "LabelledDataset",
    plan: "Plan",
    out: Path,
    *,
    jobs: int,
    processes: Processes,
    quiet: bool,
) -> None:
    """Evaluate with a bar and a growing table, then write and print what came of it."""
    from adgan_cli.evaluation import protocol, report

    total = len(plan.cells) * len(plan.methods)
    results: list[Result] = []
    shown = bar("{task.fields[what]}", quiet=quiet)
    task = shown.add_task(f"0/{total}", total=1.0, what="")

    def progress(now: protocol.Progress) -> None:
        doing = f"{len(results) + 1}/{total} {now.class_name} {now.method}"
        shown.update(task, completed=now.done, description=escape_control(doing), what=now.what)

    try:
        with writing(out), with_table(shown, lambda: _grid(results) if results else None):
            for result in protocol.evaluate(
                labelled, plan, out, jobs=jobs, processes=processes, on_progress=progress
            ):
                is_news = result.note and (result.method, result.note) not in {
                    (other.method, other.note) for other in results
                }
                results.append(result)
                if jobs > 1:
                    finished = len(results) / total
                    shown.update(task, completed=finished, description=f"{len(results)}/{total}")
                if not quiet and (shown.disable or is_news):
                    status(_line(result))
    except KeyboardInterrupt:
        if results:
            _write(labelled, plan, out, results)
        status(f"stopped after {len(results)} of {total}; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    if not processes.is_main:
        raise typer.Exit()
    _write(labelled, plan, out, results)
    header, rows = report.table(results)
    for row in _aligned([header, *rows]):
        typer.echo(escape_control(row))
    if not quiet:
        status(f"{out / 'table.md'}, roc.png, results.csv, results.json, scores/")


def _grid(results: Sequence["Result"]) -> Table:
    """Draw the table of what is finished, as a terminal shows it."""
    from adgan_cli.evaluation.report import table

    header, rows = table(results)
    grid = Table(*map(escape_control, header), box=None, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        grid.add_row(*map(escape_control, row))
    return grid


def _write(
    labelled: "LabelledDataset", plan: "Plan", out: Path, results: Sequence["Result"]
) -> None:
    from adgan_cli.evaluation.protocol import plain_settings, read_curves
    from adgan_cli.evaluation.report import write_results, write_roc

    about = {
        "dataset": labelled.name,
        "note": labelled.note,
        "command": shlex.join(["adgan", *sys.argv[1:]]),
        "n_test": plan.n_test,
        "runs": plan.runs,
        "seed": plan.seed,
        "settings": plain_settings(plan.settings),
    }
    write_results(out, results, about)
    write_roc(out / "roc.png", read_curves(out, results), labelled.name)


def _only_class(normal_class: str) -> str | None:
    """Name the one class whose training images are needed; None where it may be several."""
    return None if normal_class in ("", "all") or "," in normal_class else normal_class


def _load(data: "DataConfig", reader: "Reader", quiet: bool) -> "LabelledDataset":
    from adgan_cli.evaluation.datasets import load_labelled

    with counting_bar(quiet=quiet) as shown:
        task = shown.add_task("reading pictures", total=None)
        return load_labelled(
            data,
            reader,
            on_progress=lambda done, total: shown.update(task, completed=done, total=total),
        )


def _classes(labelled: "LabelledDataset", normal_class: str, named: bool) -> tuple[int, ...]:
    from adgan_cli.evaluation.datasets.labelled import class_index

    if normal_class == "all":
        return tuple(class_index(labelled, name) for name in labelled.classes)
    if normal_class:
        whole = normal_class in labelled.classes  # a folder's name may hold a comma
        names = [normal_class] if whole else normal_class.split(",")
        indices = [class_index(labelled, name.strip()) for name in names if name.strip()]
        if indices:
            return tuple(dict.fromkeys(indices))
    if not named:
        return (class_index(labelled, "normal"),)
    raise ConfigError(
        f"--normal-class: give one of {', '.join(labelled.classes[:12])}, its index, or all"
    )


def _methods(text: str) -> tuple[str, ...]:
    from adgan_cli.evaluation.methods import DEFAULT_METHODS, METHODS

    if not text:
        return DEFAULT_METHODS
    if text == "all":
        return tuple(METHODS)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in METHODS:
            near = get_close_matches(name, METHODS, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"--methods: no method {name}{hint} All: {', '.join(METHODS)}")
    if not names:
        raise ConfigError("--methods names none; leave it out, or say all")
    return names


def _n_test(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise ConfigError(f"--n-test must be a number or all, got {text}")
    return int(text)


def _line(result: "Result") -> str:
    from adgan_cli.evaluation.paper import paper_auc

    cell = f"{result.name}  {result.method}"
    if result.auc is None or result.auc_low is None or result.auc_high is None:
        return f"{cell}: not done: {result.note}"
    paper = paper_auc(result.dataset, result.method, result.index, result.name)
    in_paper = f" (paper {paper:.3f})" if paper is not None else ""
    interval = f"[{result.auc_low:.3f}, {result.auc_high:.3f}]"
    return f"{cell}: AUC {result.auc:.3f} {interval}{in_paper}, {duration(result.seconds)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]

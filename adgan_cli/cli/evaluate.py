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

from adgan_cli import __version__
from adgan_cli.atomic import writing
from adgan_cli.cli import scoring
from adgan_cli.cli.console import (
    INTERRUPTED,
    bar,
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
    PRESETS,
    SIZES,
    Fit,
    ModelConfig,
    Objective,
    ReadConfig,
)
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation.settings import PAPER_GAN, AutoencoderConfig, GanConfig, Settings
from adgan_cli.processes import Processes, join

if TYPE_CHECKING:
    from adgan_cli.evaluation.labels import LabelledDataset
    from adgan_cli.evaluation.protocol import Plan, Result

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
    reading, place = ReadConfig(fit=fit), cache_config(cache_dir, no_cache, cache_limit)
    # nothing is held out: the paper trains on all of a class
    both: dict[str, Any] = {"flip": flip, "holdout": 0.0}
    both |= {} if iters is None else {"iters": iters}
    train = replace(PAPER_GAN.train, objective=objective, **both)
    default = PRESETS["default"]
    tuned_train = replace(default.train, **both)
    if encoder_iters is not None:
        tuned_train = replace(tuned_train, encoder_iters=encoder_iters)
    given: dict[str, Any] = {"k": k, "lr_z": lr_z, "lr_theta": lr_theta, "theta": theta}
    search = replace(PAPER_SEARCH, **{n: v for n, v in given.items() if v is not None})
    ModelConfig(latent_dim=latent_dim, width=width)  # refuses what cannot be, before any work

    from adgan_cli.engine.device import pick_device, pick_precision
    from adgan_cli.evaluation.protocol import Plan
    from adgan_cli.images.reader import default_workers

    processes = join()
    where = pick_device(device, processes.local_rank)
    names = _methods(methods)
    settings = Settings(
        gan=GanConfig(train, latent_dim),
        search=search,
        tuned_gan=GanConfig(tuned_train, default.model.latent_dim),
        autoencoder=AutoencoderConfig(latent_dim=latent_dim, width=width),
        width=width,
        max_seconds=float("inf") if limit is None else limit,
        precision=pick_precision(precision, where),
        device=str(where),
        model=model,
        alexnet_weights=alexnet_weights,
    )
    items = None if n_test == "all" else _count(n_test)
    plan = Plan((), names, settings, n_test=items, runs=runs, seed=seed)
    labelled = processes.main_first("decoded", lambda: _load(
        dataset, normal, anomalous, normal_class, size, seed, data_root, download, reading,
        workers or default_workers(), place, quiet,
    ))  # fmt: skip
    plan = replace(plan, classes=_classes(labelled, normal_class, bool(dataset)))
    if not quiet:
        about = f"{labelled.name}: {len(plan.classes)} of {len(labelled.classes)} classes normal"
        status(
            f"{about} in turn, {len(names)} methods, on {where.type}; {labelled.note or 'as it is'}"
        )
    if processes.count > 1:
        _share(labelled, plan, out, processes, quiet)
        jobs = 1  # all of it is there
    if jobs is None:
        jobs = 4 if where.type == "cuda" else 1
    _run(labelled, plan, out, jobs, quiet)


def _share(
    labelled: "LabelledDataset", plan: "Plan", out: Path, processes: Processes, quiet: bool
) -> None:
    """Let the processes share the work out; the first goes on from there, the others end."""
    from adgan_cli.evaluation.autoencoders import pictures_digest
    from adgan_cli.evaluation.protocol import evaluate_share

    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    processes.require_equal({
        "adgan": __version__,
        **_plain(replace(plan.settings, device=plan.settings.device.partition(":")[0])),
        "plan": [plan.classes, plan.methods, plan.n_test, plan.runs, plan.seed],
        "pictures": [pictures_digest(part) for part in (labelled.train, labelled.test)],
    })  # fmt: skip
    processes.require_shared(out)
    with bar("{task.fields[told]}", quiet=quiet) as shown:
        task = shown.add_task("", total=1.0, told="")

        def start(index: int, run: int, method: str) -> None:
            doing = f"{labelled.classes[index]} {method}, others in {processes.count - 1} processes"
            shown.update(task, completed=0.0, description=escape_control(doing), told="")

        evaluate_share(
            labelled, plan, out, processes, on_start=start,
            on_progress=lambda what, done: shown.update(task, completed=min(1.0, done), told=what),
        )  # fmt: skip
    if not processes.is_main:
        raise typer.Exit()


def _run(labelled: "LabelledDataset", plan: "Plan", out: Path, jobs: int, quiet: bool) -> None:
    from adgan_cli.evaluation.protocol import evaluate as cells
    from adgan_cli.evaluation.report import table

    total = len(plan.classes) * plan.runs * len(plan.methods)
    results: list[Result] = []
    noted: set[tuple[str, str]] = set()
    shown = bar("{task.fields[told]}", quiet=quiet)
    task = shown.add_task(f"0/{total}", total=1.0 if jobs == 1 else total, told="")

    def progress(what: str, done: float) -> None:
        shown.update(task, completed=min(1.0, done), told=what)

    def start(index: int, run: int, method: str) -> None:
        doing = f"{len(results) + 1}/{total} {labelled.classes[index]} {method}"
        shown.update(task, completed=0.0, description=escape_control(doing), told="")

    try:
        with writing(out), with_table(shown, lambda: _grid(table(results)) if results else None):
            found = cells(labelled, plan, out, jobs=jobs, on_start=start, on_progress=progress)
            for result in found:
                results.append(result)
                if jobs > 1:
                    shown.update(
                        task, completed=len(results), description=f"{len(results)}/{total}"
                    )
                news = result.note and (result.method, result.note) not in noted
                noted.add((result.method, result.note))
                if not quiet and (shown.disable or news):
                    status(_line(result))
    except KeyboardInterrupt:
        if results:
            _write(labelled, plan, out, results)
        status(f"stopped after {len(results)} of {total}; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    _write(labelled, plan, out, results)
    header, rows = table(results)
    for row in _aligned([header, *rows]):
        typer.echo(escape_control(row))
    if not quiet:
        status(f"{out / 'table.md'}, roc.png, results.csv, results.json, scores/")


def _grid(told: tuple[Sequence[str], Sequence[Sequence[str]]]) -> Table:
    """The table of what is finished, as a terminal shows it."""
    header, rows = told
    grid = Table(*map(escape_control, header), box=None, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        grid.add_row(*map(escape_control, row))
    return grid


def _write(
    labelled: "LabelledDataset", plan: "Plan", out: Path, results: Sequence["Result"]
) -> None:
    from adgan_cli.evaluation.protocol import kept_curves
    from adgan_cli.evaluation.report import write_results, write_roc

    about = {
        "dataset": labelled.name,
        "note": labelled.note,
        "command": shlex.join(["adgan", *sys.argv[1:]]),
        "n_test": plan.n_test,
        "runs": plan.runs,
        "seed": plan.seed,
        "settings": _plain(plan.settings),
    }
    write_results(out, results, about)
    write_roc(out / "roc.png", kept_curves(out, results), labelled.name)


def _load(
    dataset: str,
    normal: Path | None,
    anomalous: Path | None,
    normal_class: str,
    size: int | None,
    seed: int,
    data_root: Path | None,
    download: bool,
    reading: ReadConfig,
    workers: int,
    place: Any,
    quiet: bool,
) -> "LabelledDataset":
    from adgan_cli.cli.console import counting_bar
    from adgan_cli.evaluation.labelled import load_labelled

    # of several classes each needs pictures to train on; of one, the others' are not even read
    one = None if normal_class in ("", "all") or "," in normal_class else normal_class
    with counting_bar(quiet=quiet) as shown:
        task = shown.add_task("reading pictures", total=None)
        return load_labelled(
            dataset,
            size=size,
            channels=None,
            seed=seed,
            data_root=data_root,
            download=download,
            reading=reading,
            workers=workers,
            place=place,
            normal=normal,
            anomalous=anomalous,
            normal_class=one,
            on_picture=lambda done, total: shown.update(task, completed=done, total=total),
            on_cache_disabled=scoring.cache_off(quiet),
        )


def _classes(labelled: "LabelledDataset", normal_class: str, named: bool) -> tuple[int, ...]:
    from adgan_cli.evaluation.labelled import class_index

    if normal_class == "all":
        return tuple(class_index(labelled, name) for name in labelled.classes)
    if normal_class:
        whole = normal_class in labelled.classes  # a folder's name may hold a comma
        names = [normal_class] if whole else normal_class.split(",")
        found = [class_index(labelled, name.strip()) for name in names if name.strip()]
        if found:
            return tuple(dict.fromkeys(found))
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


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"--n-test must be a number or all, got {text}")
    return int(text)


def _line(result: "Result") -> str:
    from adgan_cli.evaluation.paper import paper_auc

    cell = f"{result.name}  {result.method}"
    if result.auc is None or result.auc_low is None or result.auc_high is None:
        return f"{cell}: not done: {result.note}"
    paper = paper_auc(result.dataset, result.method, result.index, result.name)
    told = f" (paper {paper:.3f})" if paper is not None else ""
    interval = f"[{result.auc_low:.3f}, {result.auc_high:.3f}]"
    return f"{cell}: AUC {result.auc:.3f} {interval}{told}, {duration(result.seconds)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _plain(settings: Settings) -> dict[str, Any]:
    from dataclasses import asdict

    told = asdict(settings) | {"max_seconds": str(settings.max_seconds)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}

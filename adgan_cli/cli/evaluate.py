"""adgan evaluate: the paper's experiments, on its data sets or on labelled folders."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from adgan_cli.atomic import writing
from adgan_cli.cli.console import (
    INTERRUPTED,
    Reporter,
    escape_control,
    format_duration,
    output,
    status,
    with_table,
)
from adgan_cli.cli.evaluate_options import DataOptions, MethodOptions
from adgan_cli.cli.options import MACHINE, ReaderOptions
from adgan_cli.cli.parse import parse_count
from adgan_cli.cli.signature import field_option, option, with_options
from adgan_cli.config import SEED_LIMIT, By, SearchConfig
from adgan_cli.errors import ConfigError
from adgan_cli.processes import join

if TYPE_CHECKING:
    from adgan_cli.evaluation.datasets import DataConfig
    from adgan_cli.evaluation.datasets.labelled import LabelledDataset
    from adgan_cli.evaluation.protocol import Plan, Result
    from adgan_cli.evaluation.settings import Settings
    from adgan_cli.images.reader import Reader

MAX_SEED = SEED_LIMIT // 2  # that of the first repetition, which leaves room for the others'


@with_options
def evaluate(
    *,
    methods: Annotated[
        str,
        typer.Option(help="Methods, with commas between, or all: examples/guides/evaluation.md."),
    ] = "",
    by: Annotated[
        By, field_option(SearchConfig, "by", note="Without --methods: those of these kinds.")
    ] = "all",
    runs: Annotated[
        int, typer.Option(min=1, max=10_000, help="Repetitions, each with its own seed.")
    ] = 1,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_SEED, help="Seed of all random numbers of the first repetition."
        ),
    ] = 0,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for tables, figures, scores and models.")
    ] = Path("adgan-evaluation"),
    reporter: Reporter,
    data: DataOptions,
    options: MethodOptions,
    reading: ReaderOptions,
    jobs: Annotated[
        int | None,
        option(
            MACHINE,
            "Classes evaluated side by side, each in a process of its own; default: 1, on a GPU 4.",
            min=1,
            max=1_024,
        ),
    ] = None,
) -> None:
    """Measure how well ADGAN and others tell one class from the rest, as the paper does.

    Trains on one class, scores test items of all, prints a table of AUCs. Interrupted, the same
    command goes on where it was.

    Example: adgan evaluate --dataset cifar10 --normal-class 0
    """
    if not data.dataset and data.normal is None and data.anomalous is None:
        raise ConfigError("give --dataset NAME or FOLDER, or --normal DIR with --anomalous DIR")
    settings = replace(options.settings(), download=data.download)
    from adgan_cli.evaluation.protocol import Plan

    names = _parse_methods(methods, by, settings)
    n_test = parse_count(data.n_test, "--n-test", "all")
    plan = Plan((), names, settings, n_test=n_test, runs=runs, seed=seed)
    reporter.own(out)
    config, reader = data.config(seed, options.model), data.reader(reading, reporter)
    labelled = join().main_first("decoded", lambda: _load(config, reader, reporter))
    plan = replace(plan, classes=_classes(labelled, data.normal_class, bool(data.dataset)))
    device = settings.device.partition(":")[0]
    reporter.info(
        f"{labelled.name}: {len(plan.classes)} of {len(labelled.classes)} classes normal in "
        f"turn, {len(plan.methods)} methods, on {device}; {labelled.note or 'as it is'}"
    )
    if jobs is None:
        jobs = 4 if device == "cuda" else 1
    _run(labelled, plan, out, jobs=jobs, reporter=reporter)


def _run(
    labelled: "LabelledDataset", plan: "Plan", out: Path, *, jobs: int, reporter: Reporter
) -> None:
    """Evaluate with a bar and a growing table, then write and print what came of it."""
    from adgan_cli.evaluation import protocol, report

    total = len(plan.cells) * len(plan.methods)
    results: list[Result] = []
    bar = reporter.progress_bar("{task.fields[what]}")
    task = bar.add_task(f"0/{total}", total=1.0, what="")

    def progress(now: protocol.Progress) -> None:
        doing = f"{len(results) + 1}/{total} {now.class_name} {now.method}"
        bar.update(task, completed=now.done, description=escape_control(doing), what=now.what)

    try:
        with writing(out), with_table(bar, lambda: _grid(results) if results else None):
            for result in protocol.evaluate(
                labelled, plan, out, jobs=jobs, processes=join(), on_progress=progress
            ):
                is_news = result.note and (result.method, result.note) not in {
                    (other.method, other.note) for other in results
                }
                results.append(result)
                if jobs > 1:
                    finished = len(results) / total
                    bar.update(task, completed=finished, description=f"{len(results)}/{total}")
                if bar.disable or is_news:
                    reporter.info(_line(result))
    except KeyboardInterrupt:
        if results:
            _write(labelled, plan, out, results)
        status(f"stopped after {len(results)} of {total}; the same command goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    if not join().is_main:
        raise typer.Exit()
    _write(labelled, plan, out, results)
    header, rows = report.table(results)
    for row in _aligned([header, *rows]):
        output(escape_control(row))
    reporter.info(f"{out / 'table.md'}, roc.png, results.csv, results.json, scores/")


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


def _load(data: "DataConfig", reader: "Reader", reporter: Reporter) -> "LabelledDataset":
    from adgan_cli.evaluation.datasets import load_labelled

    with reporter.counting_bar() as bar:
        task = bar.add_task("reading pictures", total=None)
        return load_labelled(
            data,
            reader,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
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


def _parse_methods(text: str, by: By, settings: "Settings") -> tuple[str, ...]:
    from adgan_cli.evaluation.methods import METHODS, default_methods

    if not text:
        return default_methods(by, settings)
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


def _line(result: "Result") -> str:
    from adgan_cli.evaluation.paper import paper_auc

    cell = f"{result.name}  {result.method}"
    if result.auc is None or result.auc_low is None or result.auc_high is None:
        return f"{cell}: not done: {result.note}"
    paper = paper_auc(result.dataset, result.method, result.index, result.name)
    in_paper = f" (paper {paper:.3f})" if paper is not None else ""
    interval = f"[{result.auc_low:.3f}, {result.auc_high:.3f}]"
    return f"{cell}: AUC {result.auc:.3f} {interval}{in_paper}, {format_duration(result.seconds)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]

"""One class against the rest, section 4.3: which items are scored, by what, and how well.

Every finished method of a cell is kept under the output folder: its scores, item by item, and how
they came about. What is there and was made in the same way is not made again.
"""

import csv
import io
import json
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adgan_cli.atomic import write_text
from adgan_cli.config import canonical_json
from adgan_cli.errors import ConfigError, DivergedError
from adgan_cli.evaluation.autoencoders import pictures_digest
from adgan_cli.evaluation.labels import LabelledDataset
from adgan_cli.evaluation.methods import (
    METHODS,
    Cell,
    group_by_shared_model,
    pictures_of,
    settings_of,
)
from adgan_cli.evaluation.metrics import auc_interval, average_precision, fpr_at_tpr, roc_auc
from adgan_cli.evaluation.settings import Settings
from adgan_cli.evaluation.task import MethodResult, NotApplicableError, Task
from adgan_cli.processes import Processes

HOLDOUT = 1000  # items, section 4.2
FORMAT = 1  # of the kept scores; raised when methods or protocol change what they amount to


@dataclass(frozen=True)
class Plan:
    """What is evaluated: classes by index, methods by name, runs by seed."""

    classes: tuple[int, ...]
    methods: tuple[str, ...]
    settings: Settings
    n_test: int | None = 5000  # items, section 4.3; None is all
    runs: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_test is not None and self.n_test < 2:
            raise ConfigError(f"--n-test must be at least 2, or all, got {self.n_test}")
        if self.runs < 1:
            raise ConfigError(f"--runs must be at least 1, got {self.runs}")


@dataclass(frozen=True)
class Result:
    """One method on one class in one run; the numbers are None where `note` says why."""

    dataset: str
    index: int  # of the class
    name: str
    run: int
    method: str
    auc: float | None = None
    auc_low: float | None = None  # 95% bootstrap interval over the test items
    auc_high: float | None = None
    average_precision: float | None = None
    fpr_at_95_tpr: float | None = None
    n_train: int = 0
    n_test: int = 0
    n_anomalous: int = 0
    seconds: float = 0.0  # training included, for the method that was first to need it
    tuned_with_labels: bool = False
    settings: str = "{}"  # JSON
    note: str = ""


def chosen_items(count: int, n_test: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the test items, and the hold-out from the others: two arrays of indices, sorted.

    Both depend on the seed and the number of items alone. The hold-out is empty where nothing is
    left, and never smaller than 1,000 otherwise.
    """
    order = np.random.default_rng(seed).permutation(count)
    n_test = count if n_test is None else min(n_test, count)
    holdout = order[n_test : n_test + HOLDOUT]
    return np.sort(order[:n_test]), np.sort(holdout if len(holdout) == HOLDOUT else holdout[:0])


def evaluate(
    labelled: LabelledDataset,
    plan: Plan,
    out: Path,
    *,
    jobs: int = 1,
    on_start: Callable[[int, int, str], None] = lambda index, run, method: None,
    on_progress: Callable[[str, float], None] = lambda what, done: None,
) -> Iterator[Result]:
    """Run every method on every class and run that `plan` names, and yield results as they come.

    Scores, and models where some are trained, are kept below `out`. A method that cannot do a cell
    gives a result that says so. Raises OutputError, and ConfigError where a test set has one kind.
    jobs: classes (and runs) side by side, each in a process of its own; the results are the same
    ones in the same order, but nobody is told of their progress.
    """
    cells = [(run, index) for run in range(plan.runs) for index in plan.classes]
    if jobs == 1 or len(cells) < 2:
        for run, index in cells:
            yield from _results(labelled, plan, out, run, index, on_start, on_progress)
        return
    jobs = min(jobs, len(cells))
    given = labelled, plan, out, max(1, torch.get_num_threads() // jobs)
    # spawned, because a process that has used a GPU cannot be forked
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, given)
    try:
        for found in pool.map(_results_here, cells):
            yield from found
    except BrokenProcessPool as error:
        raise ConfigError(
            "a process of the evaluation was killed, perhaps for want of memory; try fewer --jobs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def evaluate_share(
    labelled: LabelledDataset,
    plan: Plan,
    out: Path,
    processes: Processes,
    *,
    on_start: Callable[[int, int, str], None] = lambda index, run, method: None,
    on_progress: Callable[[str, float], None] = lambda what, done: None,
) -> None:
    """Do of the plan what no other process has begun, until all is done by one or another.

    Then `evaluate` finds all scores below `out`, which the processes must share, but for those of
    methods that could not do a cell.
    """
    cells = [(run, index) for run in range(plan.runs) for index in plan.classes]
    work = [(cell, methods) for methods in group_by_shared_model(plan.methods) for cell in cells]
    while (number := processes.add("begun") - 1) < len(work):
        (run, index), methods = work[number]
        part = replace(plan, methods=methods)
        for _ in _results(labelled, part, out, run, index, on_start, on_progress):
            pass
    processes.barrier("evaluated")


_given: tuple[LabelledDataset, Plan, Path]  # of a process of its own: sent once, not with each cell


def _begin(labelled: LabelledDataset, plan: Plan, out: Path, threads: int) -> None:
    global _given
    _given = labelled, plan, out
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at Ctrl-C the parent talks, this one just ends


def _results_here(cell: tuple[int, int]) -> list[Result]:
    return list(_results(*_given, *cell))


def _results(
    labelled: LabelledDataset,
    plan: Plan,
    out: Path,
    run: int,
    index: int,
    on_start: Callable[[int, int, str], None] = lambda index, run, method: None,
    on_progress: Callable[[str, float], None] = lambda what, done: None,
) -> Iterator[Result]:
    """Of one class in one run, method after method."""
    seed, name = plan.seed + run, labelled.classes[index]
    test, holdout = chosen_items(len(labelled.test), plan.n_test, seed)
    task = Task(
        train=pictures_of(labelled.train, labelled.train_labels, index),
        test=labelled.test[test],
        holdout=labelled.test[holdout],
        holdout_labels=labelled.test_labels[holdout] != index,
        seed=seed,
    )
    place = _place(index, name, run)
    cell = Cell(task, out / "models" / place, plan.settings.with_seed(seed), on_progress)
    truth = labelled.test_labels[test] != index
    of = _data_of(labelled, task, test, index)
    for method in plan.methods:
        on_start(index, run, method)
        yield _result(
            Result(labelled.name, index, name, run, method, n_train=len(task.train),
                   n_test=len(truth), n_anomalous=int(truth.sum())),
            cell, truth, out / "scores" / place, of,
            [labelled.test_names[item] for item in test],
            [labelled.classes[label] for label in labelled.test_labels[test]],
        )  # fmt: skip


def kept_curves(
    out: Path, results: Sequence[Result]
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """The truth and the scores behind results that have an AUC, by method."""
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for result in results:
        if result.auc is not None:
            folder = out / "scores" / _place(result.index, result.name, result.run)
            curves.setdefault(result.method, []).append(
                read_kept_scores(folder / f"{result.method}.csv")
            )
    return curves


def read_kept_scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The truth (M,) bool and the scores (M,) that a method left in scores/.../<method>.csv."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = np.array([row["anomalous"] == "true" for row in rows])
    return truth, np.array([float(row["score"]) for row in rows])


def _result(
    empty: Result,
    cell: Cell,
    truth: np.ndarray,
    folder: Path,
    of: dict[str, Any],
    items: Sequence[str],
    labels: Sequence[str],
) -> Result:
    table, told = folder / f"{empty.method}.csv", folder / f"{empty.method}.json"
    wanted = canonical_json(of | settings_of(empty.method, cell.settings))
    kept = _kept(told, wanted)
    if kept is None or not table.exists():
        started = time.monotonic()
        try:
            outcome = METHODS[empty.method](cell)
        except (NotApplicableError, DivergedError) as error:
            return replace(empty, note=str(error), seconds=round(time.monotonic() - started, 1))
        seconds = round(time.monotonic() - started, 1)
        kept = {"made_by": json.loads(wanted), "settings": dict(outcome.settings),
                "seconds": seconds}  # fmt: skip
        # the table first: without the other file it counts for nothing
        told.unlink(missing_ok=True)
        write_text(table, _table(items, labels, truth, outcome))
        write_text(told, json.dumps(kept, indent=2) + "\n")
    _, scores = read_kept_scores(table)
    low, high = auc_interval(truth, scores)
    return replace(
        empty,
        auc=roc_auc(truth, scores),
        auc_low=low,
        auc_high=high,
        average_precision=average_precision(truth, scores),
        fpr_at_95_tpr=fpr_at_tpr(truth, scores),
        seconds=kept["seconds"],
        tuned_with_labels=bool(kept["settings"].get("tuned_with_labels")),
        settings=canonical_json(kept["settings"]),
    )


def _place(index: int, name: str, run: int) -> str:
    return f"{index:02}-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}/run-{run}"


def _data_of(labelled: LabelledDataset, task: Task, test: np.ndarray, index: int) -> dict[str, Any]:
    """What scores depend on besides the method: equal ones are of the same cell."""
    return {
        "format": FORMAT,
        "dataset": labelled.name,
        "class": labelled.classes[index],
        "seed": task.seed,
        "items": pictures_digest(test.reshape(-1, 1, 1, 1)),
        "train": pictures_digest(task.train),
        "test": pictures_digest(task.test),
        "holdout": pictures_digest(task.holdout),
    }


def _kept(path: Path, wanted: str) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept if canonical_json(kept["made_by"]) == wanted else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _table(
    items: Sequence[str], labels: Sequence[str], truth: np.ndarray, outcome: MethodResult
) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["item", "class", "anomalous", "score"])
    for item, label, anomalous, score in zip(
        items, labels, truth.tolist(), outcome.scores.tolist(), strict=True
    ):
        writer.writerow([item, label, str(anomalous).lower(), repr(score)])
    return stream.getvalue()

"""One class against the rest, section 4.3: which items are scored, by what, and how well.

Every finished method of a cell is kept under the output folder: its scores, item by item, and how
they came about. What is there and came from the same inputs is not computed again.
"""

import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adgan_cli import __version__
from adgan_cli.atomic import write_text, writing
from adgan_cli.config import canonical_json
from adgan_cli.errors import ConfigError, DivergedError
from adgan_cli.evaluation.datasets.labelled import LabelledDataset
from adgan_cli.evaluation.items import CellItems, draw_items, read_kept_scores
from adgan_cli.evaluation.methods import METHODS, group_by_shared_model, method_settings
from adgan_cli.evaluation.metrics import auc_interval, average_precision, fpr_at_tpr, roc_auc
from adgan_cli.evaluation.settings import Settings
from adgan_cli.evaluation.task import Cell, NotApplicableError, Task, pixels_digest
from adgan_cli.processes import SINGLE, Processes
from adgan_cli.store import KeyedStore

FORMAT = 1  # of the kept scores; raised when methods or protocol change what they amount to


@dataclass(frozen=True)
class Plan:
    """What to evaluate: classes by index, methods by name, runs by seed."""

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

    @property
    def cells(self) -> list[tuple[int, int]]:
        """The (run, class) pairs, in the order of the results."""
        return [(run, index) for run in range(self.runs) for index in self.classes]


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

    @property
    def cell_folder(self) -> str:
        """The folder of the cell below models/ and scores/."""
        return f"{self.index:02}-{re.sub(r'[^A-Za-z0-9.-]', '_', self.name)}/run-{self.run}"


@dataclass(frozen=True)
class Progress:
    """What an evaluation does at the moment."""

    class_name: str
    method: str
    what: str = ""  # training the GAN, searching, ...; empty when a method begins
    done: float = 0.0  # of that, in [0, 1]


OnProgress = Callable[[Progress], None]


def evaluate(
    labelled: LabelledDataset,
    plan: Plan,
    out: Path,
    *,
    jobs: int = 1,
    processes: Processes = SINGLE,
    on_progress: OnProgress | None = None,
) -> Iterator[Result]:
    """Run every method on every class and run that `plan` names, and yield results as they come.

    Scores, and models where some are trained, are kept below `out`. A method that cannot do a cell
    gives a result that says so. Raises OutputError, and ConfigError where a test set has one kind.
    jobs: classes (and runs) side by side, each in a process of its own, without progress.
    processes: those of torchrun share the work; only the first of them yields. Either way the
    results are the same ones in the same order.
    """
    evaluation = _Evaluation(labelled, plan, out)
    if processes.world_size > 1:
        evaluation.do_share(processes, on_progress)
        if not processes.is_main:
            return
    elif jobs > 1 and len(plan.cells) > 1:
        yield from _in_parallel(evaluation, min(jobs, len(plan.cells)))
        return
    for run, index in plan.cells:
        yield from evaluation.results(run, index, on_progress)


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """A plan for labelled images, and the folder for what comes of it."""

    labelled: LabelledDataset
    plan: Plan
    out: Path

    def results(
        self, run: int, index: int, on_progress: OnProgress | None = None
    ) -> Iterator[Result]:
        """Yield the result of each method for one class in one run."""
        seed = self.plan.seed + run
        test, holdout = draw_items(len(self.labelled.test.labels), self.plan.n_test, seed)
        items = CellItems.of(self.labelled, test, index)
        task = Task(
            train=self.labelled.train.of_class(index),
            test=self.labelled.test.pixels[test],
            holdout=self.labelled.test.pixels[holdout],
            holdout_labels=self.labelled.test.labels[holdout] != index,
            seed=seed,
        )
        data = self._data_key(task, test, index)
        settings = self.plan.settings.with_seed(seed)
        for method in self.plan.methods:
            empty = Result(
                self.labelled.name,
                index,
                self.labelled.classes[index],
                run,
                method,
                n_train=len(task.train),
                n_test=len(test),
                n_anomalous=int(items.anomalous.sum()),
            )
            cell = Cell(
                task,
                self.out / "models" / empty.cell_folder,
                settings,
                _reporter(on_progress, empty),
            )
            store = KeyedStore(
                self.out / "scores" / empty.cell_folder, data | method_settings(method, settings)
            )
            yield _result(empty, cell, items, store)

    def do_share(self, processes: Processes, on_progress: OnProgress | None) -> None:
        """Do what no other process has begun, until all of it is done and kept below `out`."""
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        processes.require_equal(self._agreement())
        processes.require_shared(self.out)
        groups = group_by_shared_model(self.plan.methods)
        work = [(cell, methods) for methods in groups for cell in self.plan.cells]
        while (number := processes.add("begun") - 1) < len(work):
            (run, index), methods = work[number]
            part = replace(self, plan=replace(self.plan, methods=methods))
            for _ in part.results(run, index, on_progress):
                pass
        processes.barrier("evaluated")

    def _data_key(self, task: Task, test: np.ndarray, index: int) -> dict[str, Any]:
        """List what scores depend on besides the method."""
        return {
            "format": FORMAT,
            "dataset": self.labelled.name,
            "class": self.labelled.classes[index],
            "seed": task.seed,
            "items": pixels_digest(test.reshape(-1, 1, 1, 1)),
            "train": pixels_digest(task.train),
            "test": pixels_digest(task.test),
            "holdout": pixels_digest(task.holdout),
        }

    def _agreement(self) -> dict[str, Any]:
        """List what all processes must have in common."""
        settings, plan = self.plan.settings, self.plan
        device = settings.device.partition(":")[0]  # each may take another GPU
        return {
            "adgan": __version__,
            **plain_settings(replace(settings, device=device)),
            "plan": [plan.classes, plan.methods, plan.n_test, plan.runs, plan.seed],
            "pictures": [
                pixels_digest(part.pixels) for part in (self.labelled.train, self.labelled.test)
            ],
        }


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Write settings as plain JSON values, paths and an infinite time limit as text."""
    values = asdict(settings) | {"max_seconds": str(settings.max_seconds)}
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def read_curves(
    out: Path, results: Sequence[Result]
) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Read the truth and the scores behind the results that have an AUC, by method."""
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for result in results:
        if result.auc is not None:
            table = out / "scores" / result.cell_folder / f"{result.method}.csv"
            curves.setdefault(result.method, []).append(read_kept_scores(table))
    return curves


def _result(empty: Result, cell: Cell, items: CellItems, store: KeyedStore) -> Result:
    """Fill in a result from its kept scores, or from scores that are computed and kept now."""
    table, record_name = store.folder / f"{empty.method}.csv", f"{empty.method}.json"
    record = store.load(record_name)
    if record is None or not table.exists():
        started = time.monotonic()
        try:
            computed = METHODS[empty.method](cell)
        except (NotApplicableError, DivergedError) as error:
            return replace(empty, note=str(error), seconds=round(time.monotonic() - started, 1))
        seconds = round(time.monotonic() - started, 1)
        record = {"settings": dict(computed.settings), "seconds": seconds}
        # the table first: without the record it counts for nothing
        (store.folder / record_name).unlink(missing_ok=True)
        write_text(table, items.table(computed.scores))
        store.save(record_name, record)
    _, scores = read_kept_scores(table)
    low, high = auc_interval(items.anomalous, scores)
    return replace(
        empty,
        auc=roc_auc(items.anomalous, scores),
        auc_low=low,
        auc_high=high,
        average_precision=average_precision(items.anomalous, scores),
        fpr_at_95_tpr=fpr_at_tpr(items.anomalous, scores),
        seconds=record["seconds"],
        tuned_with_labels=bool(record["settings"].get("tuned_with_labels")),
        settings=canonical_json(record["settings"]),
    )


def _reporter(on_progress: OnProgress | None, empty: Result) -> Callable[[str, float], None] | None:
    if on_progress is None:
        return None
    on_progress(Progress(empty.name, empty.method))
    return lambda what, done: on_progress(Progress(empty.name, empty.method, what, min(1.0, done)))


_evaluation: _Evaluation  # of a process of --jobs: sent once, not with each cell


def _in_parallel(evaluation: _Evaluation, jobs: int) -> Iterator[Result]:
    threads = max(1, torch.get_num_threads() // jobs)
    # spawned, because a process that has used a GPU cannot be forked
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_job, (evaluation, threads))
    try:
        for results in pool.map(_run_job, evaluation.plan.cells):
            yield from results
    except BrokenProcessPool as error:
        raise ConfigError(
            "a process of the evaluation was killed, perhaps for want of memory; try fewer --jobs"
        ) from error
    except KeyboardInterrupt:
        for child in active_children():  # which Ctrl-C ends, and a signal to this process does not
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_job(evaluation: _Evaluation, threads: int) -> None:
    global _evaluation
    _evaluation = evaluation
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at Ctrl-C the parent talks, this one just ends


def _run_job(cell: tuple[int, int]) -> list[Result]:
    return list(_evaluation.results(*cell))

"""Write what an evaluation came to: results.csv, results.json, table.md and roc.png (Fig. 2)."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from adgan_cli.atomic import replacing, write_text
from adgan_cli.evaluation.metrics import roc_auc, roc_curve
from adgan_cli.evaluation.paper import CLASSES, paper_auc, paper_mean
from adgan_cli.evaluation.protocol import Result
from adgan_cli.scoring.rows import csv_cell, csv_line

_GRID = np.linspace(0, 1, 501)  # false positive rates at which curves are averaged
_MOST_COLUMNS = 12  # classes side by side; of more there is only the mean
TUNED = "*"


def write_results(out: Path, results: Sequence[Result], about: Mapping[str, Any]) -> None:
    """Write results.csv, a row a method, class and run; results.json, with `about`; table.md."""
    lines = [csv_line(field.name for field in fields(Result))]
    lines += [csv_line(map(csv_cell, asdict(result).values())) for result in results]
    write_text(out / "results.csv", "".join(lines))
    rows = [asdict(result) | {"settings": json.loads(result.settings)} for result in results]
    record = {**about, "results": rows}
    write_text(out / "results.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "table.md", markdown(results, about))


def markdown(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    """Write the table for people: AUC by method and class, the paper's number in brackets."""
    lines = [f"# {about.get('dataset', '')}: AUC, anomalies positive", ""]
    header, rows = table(results)
    lines.append("| " + " | ".join(header) + " |")
    lines.append("|" + "---|" * len(header))
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines.append("")
    lines += _notes(results, about)
    return "\n".join(lines) + "\n"


def table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Arrange header and rows: a method each, in the order given; then the mean of classes."""
    classes = {result.index: result.name for result in results}
    wide = len(classes) <= _MOST_COLUMNS
    several = len(classes) > 1
    header = ["method", *(classes.values() if wide else ()), *(["mean"] if several else ())]
    by_method: dict[str, dict[int, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        by_method[result.method][result.index].append(result)
    rows = []
    for method, cells in by_method.items():
        every = [result for runs in cells.values() for result in runs]
        tuned = TUNED if any(result.tuned_with_labels for result in every) else ""
        row = [method + tuned]
        if wide:
            row += [_format_cell(cells.get(index, []), not several) for index in classes]
        if several:
            row.append(_format_mean(cells, classes, every[0].dataset, method))
        rows.append(row)
    return header, rows


def write_roc(
    path: Path, curves: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], title: str
) -> None:
    """Draw a ROC curve a method, averaged vertically over its (truth, scores) pairs: Fig. 2."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), dpi=150, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    styles = ["-", "--", ":", "-."]
    auc = {
        method: float(np.mean([roc_auc(*pair) for pair in pairs]))
        for method, pairs in curves.items()
        if pairs
    }
    for number, method in enumerate(sorted(auc, key=lambda method: -auc[method])):
        tpr, label = averaged(curves[method]), f"{auc[method]:.3f}  {method}"
        axes.plot(_GRID, tpr, styles[number // 10 % 4], color=f"C{number % 10}", label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="false positive rate", ylabel="true positive rate")
    axes.set_title(title, fontsize=10)
    axes.set_aspect("equal")
    if auc:
        axes.legend(loc="lower right", fontsize=7, frameon=False, title="mean AUC")
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves print_png untyped
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        canvas.print_png(stream, metadata={"Software": None})


def averaged(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Average the true positive rates of several tests at 501 false positive rates: (501,)."""
    rates = []
    for truth, scores in pairs:
        fpr, tpr = roc_curve(truth, scores)
        rates.append(np.interp(_GRID, fpr, tpr))
    return np.mean(rates, 0)  # type: ignore[no-any-return]


def _notes(results: Sequence[Result], about: Mapping[str, Any]) -> list[str]:
    lines = ["In brackets: the paper's own number for the same cell."]
    if any(result.tuned_with_labels for result in results):
        lines.append(
            f"{TUNED} tuned with labels: chose dimension or kernel by the AUC on 1,000 labelled "
            "items that are not among the test items, as the paper did. Nothing else saw a label."
        )
    notes = {(result.method, result.note) for result in results if result.note}
    lines += [f"{method}: {note}." for method, note in sorted(notes)]
    if about.get("note"):
        lines.append(f"Pictures: {about['note']}.")
    if about.get("command"):
        lines.append(f"Command: `{about['command']}`")
    return [f"- {line}" for line in lines]


def _format_cell(runs: Sequence[Result], with_interval: bool) -> str:
    aucs = [result.auc for result in runs if result.auc is not None]
    if not aucs:
        return "–"
    first = runs[0]
    text = f"{np.mean(aucs):.3f}"
    if len(aucs) > 1:
        text += f" ± {np.std(aucs, ddof=1):.3f}"
    elif with_interval and first.auc_low is not None and first.auc_high is not None:
        text += f" [{first.auc_low:.3f}, {first.auc_high:.3f}]"
    paper = paper_auc(first.dataset, first.method, first.index, first.name)
    return text if paper is None else f"{text} ({paper:.3f})"


def _format_mean(
    cells: Mapping[int, Sequence[Result]], classes: Mapping[int, str], dataset: str, method: str
) -> str:
    means = []
    for index in classes:
        aucs = [result.auc for result in cells.get(index, ()) if result.auc is not None]
        if not aucs:
            return "–"  # a mean over fewer classes would be of something else
        means.append(float(np.mean(aucs)))
    all_ten = tuple(classes.values()) == CLASSES.get(dataset)
    paper = paper_mean(dataset, method) if all_ten else None
    text = f"{np.mean(means):.3f}"
    return text if paper is None else f"{text} ({paper:.3f})"

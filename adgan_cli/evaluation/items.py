"""The test items of a cell, and the table of their scores."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adgan_cli.evaluation.datasets.labelled import LabelledDataset
from adgan_cli.scoring.rows import csv_cell, csv_line

HOLDOUT = 1000  # items, section 4.2


@dataclass(frozen=True, eq=False)
class CellItems:
    """The test items of a cell, as its table of scores lists them."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    anomalous: np.ndarray  # (M,) bool

    @classmethod
    def of(cls, labelled: LabelledDataset, test: np.ndarray, index: int) -> "CellItems":
        labels = labelled.test.labels[test]
        names = tuple(labelled.test.names[item] for item in test)
        return cls(names, tuple(labelled.classes[label] for label in labels), labels != index)

    def table(self, scores: np.ndarray) -> str:
        """Write CSV: item,class,anomalous,score."""
        columns = self.names, self.classes, self.anomalous.tolist(), scores.tolist()
        rows = [csv_line(map(csv_cell, row)) for row in zip(*columns, strict=True)]
        return "".join([csv_line(("item", "class", "anomalous", "score")), *rows])


def draw_items(count: int, n_test: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the test items, and the hold-out from the others: two arrays of indices, sorted.

    Both depend on the seed and the number of items alone. The hold-out is empty where nothing is
    left, and never smaller than 1,000 otherwise.
    """
    order = np.random.default_rng(seed).permutation(count)
    n_test = count if n_test is None else min(n_test, count)
    holdout = order[n_test : n_test + HOLDOUT]
    return np.sort(order[:n_test]), np.sort(holdout if len(holdout) == HOLDOUT else holdout[:0])


def read_kept_scores(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the truth (M,) bool and the scores (M,) of a method from scores/.../<method>.csv."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = np.array([row["anomalous"] == "true" for row in rows])
    return truth, np.array([float(row["score"]) for row in rows])

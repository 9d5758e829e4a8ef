"""Tables and curves: what they hold, what they mark, and what they never average."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from adgan_cli.evaluation.paper import PAPER, paper_auc, paper_mean
from adgan_cli.evaluation.protocol import Result
from adgan_cli.evaluation.report import averaged, markdown, table, write_results, write_roc

RESULT = Result("mnist", 0, "0", 0, "adgan", 0.9, 0.88, 0.92, 0.99, 0.4, 100, 50, 40, 3.5)


def test_one_class_shows_its_interval_and_the_papers_number():
    header, rows = table([RESULT])
    assert header == ["method", "0"]
    assert rows == [["adgan", "0.900 [0.880, 0.920] (0.995)"]]


def test_runs_show_their_spread():
    other = replace(RESULT, run=1, auc=0.8)
    assert table([RESULT, other])[1] == [["adgan", "0.850 ± 0.071 (0.995)"]]


def test_a_mean_over_missing_classes_is_not_shown():
    results = [RESULT, replace(RESULT, index=1, name="1", auc=None, note="why not")]
    results += [replace(r, method="pca", auc=0.5, note="") for r in results]
    header, rows = table(results)
    assert header == ["method", "0", "1", "mean"]
    assert [row[-1] for row in rows] == ["–", "0.500"]
    assert "adgan: why not." in markdown(results, {})


def test_the_papers_mean_stands_beside_all_ten_classes_only():
    ten = [replace(RESULT, index=i, name=str(i)) for i in range(10)]
    assert table(ten)[1][0][-1] == "0.900 (0.947)"
    assert table(ten[:9])[1][0][-1] == "0.900"


def test_more_classes_than_fit_are_told_by_their_mean():
    many = [replace(RESULT, dataset="cifar100", index=i, name=str(i)) for i in range(100)]
    assert table(many) == (["method", "mean"], [["adgan", "0.900"]])


def test_methods_tuned_with_labels_are_marked_and_explained():
    text = markdown([replace(RESULT, method="kde", tuned_with_labels=True)], {"dataset": "mnist"})
    assert "| kde* |" in text and "* tuned with labels: " in text
    assert "tuned with labels" not in markdown([RESULT], {})


def test_files_hold_every_result_and_how_it_was_made(tmp_path):
    failed = replace(RESULT, method="vae", auc=None, auc_low=None, auc_high=None, note='a "b", c')
    write_results(tmp_path, [RESULT, failed], {"dataset": "mnist", "command": "adgan evaluate"})
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text("utf-8").splitlines()))
    assert [(row["method"], row["auc"], row["note"]) for row in rows] == [
        ("adgan", "0.9", ""), ("vae", "", 'a "b", c'),
    ]  # fmt: skip
    record = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert record["command"] == "adgan evaluate" and record["results"][0]["auc"] == 0.9
    assert "`adgan evaluate`" in (tmp_path / "table.md").read_text("utf-8")


def test_curves_are_averaged_at_equal_false_positive_rates():
    truth = np.array([False] * 10 + [True] * 10)
    perfect, reversed_ = (truth, truth.astype(float)), (truth, 1.0 - truth)
    assert averaged([perfect]).mean() == 1
    half = averaged([perfect, reversed_])
    assert half[0] == 0.5 and half[-1] == 1 and (half[:-1] == 0.5).all()
    guess = averaged([(truth, np.zeros(20))])
    np.testing.assert_allclose(guess, np.linspace(0, 1, 501))


def test_the_figure_is_a_picture_and_equal_results_give_equal_bytes(tmp_path):
    truth = np.arange(20) % 2 == 0
    curves = {f"method-{i}": [(truth, np.arange(20.0) * i)] for i in range(25)} | {"none": []}
    for name in ("a.png", "b.png"):
        write_roc(tmp_path / name, curves, "greys")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as figure:
        assert min(figure.size) > 500


@pytest.mark.parametrize("dataset", PAPER)
def test_the_papers_means_are_those_of_its_columns_but_for_the_two_that_are_not(dataset):
    odd = {("mnist", "ocsvm"), ("cifar10", "dcae")}
    for method, column in PAPER[dataset].items():
        assert len(column) == 11
        close = bool(abs(np.mean(column[:-1]) - column[-1]) < 0.0016)
        assert close is ((dataset, method) not in odd), method


def test_cells_the_paper_does_not_have_are_none():
    assert paper_auc("mnist", "adgan", 8, "8") == 0.854
    assert paper_auc("lsun", "adgan", 3, "bedroom") == 0.641
    assert paper_auc("lsun", "adgan", 3, "bridge") is None
    assert paper_auc("cifar100", "adgan", 0, "apple") is None
    assert paper_auc("mnist", "pca", 0, "0") is None
    assert paper_auc("mnist", "adgan", 0, "zero") is None, "a folder that happens to be called so"
    assert paper_mean("cifar10", "latent-prior") == 0.554
    assert paper_mean("digits", "adgan") is None

"""Who is scored, what is kept, what is never done twice, and what a cell without an answer says."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adgan_cli.config import PAPER_SEARCH, TrainConfig
from adgan_cli.engine.models.files import load_model
from adgan_cli.errors import ConfigError
from adgan_cli.evaluation import protocol
from adgan_cli.evaluation.datasets.labelled import LabelledDataset, Split, numbered
from adgan_cli.evaluation.items import HOLDOUT, draw_items, read_kept_scores
from adgan_cli.evaluation.methods import METHODS, default_methods
from adgan_cli.evaluation.metrics import roc_auc
from adgan_cli.evaluation.protocol import Plan, evaluate
from adgan_cli.evaluation.settings import AnoganConfig, AutoencoderConfig, GanConfig, Settings
from adgan_cli.evaluation.task import Cell, Method, MethodResult, NotApplicableError

FAST = Settings(
    gan=GanConfig(
        TrainConfig(objective="wgan-gp", encoder_iters=0, iters=2, batch_size=4), latent_dim=4
    ),
    tuned_gan=GanConfig(TrainConfig(objective="gan", iters=2, batch_size=4, encoder_iters=2), 3),
    search=replace(PAPER_SEARCH, n_seed=2, k=1),
    anogan=AnoganConfig(steps=2),
    autoencoder=AutoencoderConfig(iters=2, batch_size=4, latent_dim=4, width=4),
    width=4,
)
GAN_METHODS = (
    "adgan", "adgan-1", "adgan-tuned", "latent-prior", "discriminator", "anogan", "dcae", "vae",
)  # fmt: skip


def labelled(count: int = 30, classes: int = 3) -> LabelledDataset:
    """Noise around another grey for each class: 16 pixels, one channel."""
    rng = np.random.default_rng(0)

    def split() -> Split:
        labels = np.arange(count) % classes
        levels = 40 + 70 * labels[:, None, None, None] + rng.normal(0, 25, (count, 16, 16, 1))
        return numbered(np.clip(levels, 0, 255).astype(np.uint8), labels)

    return LabelledDataset("greys", ("dark", "mid grey", "light")[:classes], split(), split())


def run(out: Path, methods: tuple[str, ...], **plan: object) -> list[protocol.Result]:
    settings = {"classes": (0,), "methods": methods, "settings": FAST, **plan}
    return list(evaluate(labelled(), Plan(**settings), out))  # type: ignore[arg-type]


@pytest.mark.slow
def test_classes_side_by_side_give_the_same_results_in_the_same_order(tmp_path):
    plan = Plan((2, 0), ("pca", "adgan", "dcae"), FAST, runs=2)
    one, two = (list(evaluate(labelled(), plan, tmp_path / str(n), jobs=n)) for n in (1, 2))
    assert len(one) == 12

    def comparable(results: list[protocol.Result]) -> list[protocol.Result]:
        return [replace(result, seconds=0.0, settings="") for result in results]

    assert comparable(one) == comparable(two)


def die(cell: tuple[int, int]) -> None:
    """Stands in for the system that kills a process which takes too much memory."""
    os._exit(9)


@pytest.mark.slow
def test_a_killed_process_of_several_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "_run_job", die)
    with pytest.raises(ConfigError, match="--jobs"):
        list(evaluate(labelled(), Plan((0, 1), ("pca",), FAST), tmp_path, jobs=2))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that ran, where two that need no training stand in for all."""
    names: list[str] = []

    def counting(name: str, method: Method) -> Method:
        return lambda cell: names.append(name) or method(cell)  # type: ignore[func-returns-value]

    plural = {name: counting(name, METHODS[name]) for name in ("mean-image", "pca")}
    monkeypatch.setattr(protocol, "METHODS", {**METHODS, **plural})
    return names


@pytest.mark.parametrize(
    ("count", "n_test", "tested", "held_out"),
    [(10_000, 5000, 5000, HOLDOUT), (10_000, None, 10_000, 0), (5999, 5000, 5000, 0),
     (6000, 5000, 5000, HOLDOUT), (300, 5000, 300, 0)],
)  # fmt: skip
def test_items_and_holdout_are_drawn_apart(count, n_test, tested, held_out):
    test, holdout = draw_items(count, n_test, seed=3)
    assert (len(test), len(holdout)) == (tested, held_out)
    together = np.concatenate([test, holdout])
    assert len(np.unique(together)) == len(together) and together.max() < count
    assert (np.diff(test) > 0).all()
    again, _ = draw_items(count, n_test, seed=3)
    np.testing.assert_array_equal(test, again)
    if tested < count:
        assert (draw_items(count, n_test, seed=4)[0] != test).any()


def test_a_result_is_what_its_kept_scores_say(tmp_path):
    (result,) = run(tmp_path, ("mean-image",))
    table = tmp_path / "scores" / "00-dark" / "run-0" / "mean-image.csv"
    truth, scores = read_kept_scores(table)
    assert result.auc == roc_auc(truth, scores) > 0.9
    assert (result.n_train, result.n_test, result.n_anomalous) == (10, 30, 20)
    assert result.auc_low is not None and result.auc_high is not None
    assert result.auc_low <= result.auc <= result.auc_high
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["item"] for row in rows[:3]] == ["0", "1", "2"]
    assert {row["class"] for row in rows if row["anomalous"] == "false"} == {"dark"}


def test_what_is_there_is_not_made_again(tmp_path, calls):
    first = run(tmp_path, ("mean-image", "pca"))
    assert run(tmp_path, ("mean-image", "pca")) == first
    assert calls == ["mean-image", "pca"]


@pytest.mark.parametrize("plan", [{"seed": 1}, {"n_test": 20}, {"classes": (1,)}])
def test_another_plan_is_another_result(tmp_path, calls, plan):
    run(tmp_path, ("pca",))
    run(tmp_path, ("pca",), **plan)
    assert calls == ["pca", "pca"]


@pytest.mark.parametrize("spoil", ["", "{", '{"made_by": {}}', "[]"])
def test_scores_without_a_sound_record_count_for_nothing(tmp_path, calls, spoil):
    first = run(tmp_path, ("pca",))
    folder = tmp_path / "scores" / "00-dark" / "run-0"
    (folder / "pca.json").write_text(spoil)
    assert [result.auc for result in run(tmp_path, ("pca",))] == [result.auc for result in first]
    (folder / "pca.csv").unlink()
    run(tmp_path, ("pca",))
    assert calls == ["pca"] * 3


def test_a_method_that_cannot_says_why_and_the_others_run(tmp_path):
    results = run(tmp_path, ("kde", "kde-alexnet", "mean-image"))
    assert [result.auc is None for result in results] == [True, True, False]
    assert "1,000 test items left over" in results[0].note
    assert "--alexnet-weights" in results[1].note
    assert not (tmp_path / "scores" / "00-dark" / "run-0" / "kde.csv").exists()


def test_every_method_that_trains_leaves_models_that_serve_again(tmp_path):
    results = run(tmp_path, GAN_METHODS)
    assert [result.note for result in results] == [""] * len(GAN_METHODS)
    models = tmp_path / "models" / "00-dark" / "run-0"

    def kept() -> dict[str, int]:
        files = models.rglob("*.safetensors")
        return {path.relative_to(models).as_posix(): path.stat().st_mtime_ns for path in files}

    first = kept()
    assert set(first) == {
        "gan/model.safetensors", "gan/checkpoint.safetensors", "search.safetensors",
        "gan-tuned/model.safetensors", "gan-tuned/checkpoint.safetensors",
        "search-tuned.safetensors", "dcae.safetensors", "vae.safetensors",
    }  # fmt: skip
    for table in (tmp_path / "scores").rglob("*.csv"):
        table.unlink()  # scores are lost, models are not
    again = run(tmp_path, GAN_METHODS)
    assert [result.auc for result in again] == [result.auc for result in results]
    assert first == kept()


def test_one_gan_serves_all_that_need_one(tmp_path):
    results = run(tmp_path, ("adgan", "discriminator", "anogan"))
    assert len({json.loads(result.settings)["gan"] for result in results}) == 1


def test_the_tuned_gan_is_its_own(tmp_path):
    paper, tuned = run(tmp_path, ("adgan", "adgan-tuned"))
    models = tmp_path / "models" / "00-dark" / "run-0"
    cpu = torch.device("cpu")
    assert load_model(models / "gan", cpu).config.latent_dim == 4
    assert load_model(models / "gan-tuned", cpu).config.latent_dim == 3
    assert json.loads(paper.settings)["gan"] != json.loads(tuned.settings)["gan"]


def test_runs_differ_by_their_seed(tmp_path):
    results = run(tmp_path, ("adgan",), runs=2)
    assert [result.run for result in results] == [0, 1]
    folders = [tmp_path / "scores" / "00-dark" / f"run-{index}" for index in (0, 1)]
    first, second = (read_kept_scores(folder / "adgan.csv")[1] for folder in folders)
    assert (first != second).all()
    seeds = [json.loads(result.settings)["seed"] for result in results]
    assert seeds == [0, 1]


def test_methods_see_labels_only_in_the_holdout(tmp_path, monkeypatch):
    seen: list[Cell] = []

    def spy(cell: Cell) -> MethodResult:
        seen.append(cell)
        raise NotApplicableError("it only looks")

    monkeypatch.setattr(protocol, "METHODS", {"spy": spy})
    run(tmp_path, ("spy",))
    (cell,) = seen
    given = labelled()
    np.testing.assert_array_equal(cell.task.train, given.train.of_class(0))
    assert len(cell.task.holdout) == len(cell.task.holdout_labels) == 0


@pytest.mark.parametrize("by", ["reconstruction", "features", "all"])
def test_the_methods_of_a_first_look_exist_and_need_nothing_that_is_not_given(by):
    names, more = (default_methods(by, replace(FAST, backbone=given)) for given in ("", "resnet18"))
    assert set(names) <= set(more) <= set(METHODS)
    assert not any("pretrained" in name for name in names)
    assert any("pretrained" in name for name in more) == (by != "reconstruction")


@pytest.mark.parametrize("wrong", [{"n_test": 1}, {"runs": 0}])
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="must be at least"):
        Plan((0,), ("pca",), FAST, **wrong)  # type: ignore[arg-type]

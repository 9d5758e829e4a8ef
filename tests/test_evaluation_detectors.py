"""Methods of features: one fit serves all, each detector alone, joined, and joined without it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adgan_cli.config import FeatureConfig, TrainConfig
from adgan_cli.engine.features.ensemble import Scale
from adgan_cli.evaluation.methods import METHODS, detectors, group_by_shared_model
from adgan_cli.evaluation.methods.detectors import FEATURES_FILE, MemberScores
from adgan_cli.evaluation.settings import GanConfig, Settings
from adgan_cli.evaluation.task import Cell, NotApplicableError, Task

FAST = Settings(
    features=FeatureConfig(transform_iters=10),
    tuned_gan=GanConfig(TrainConfig(iters=2, batch_size=4, encoder_iters=2), 3),
    width=4,
)
OWN = [name for name in detectors.DETECTORS if name != "pretrained"]


@pytest.fixture(scope="module")
def task() -> Task:
    """Stripes to learn from; to test on, more of them and noise of the same grey levels."""
    rng = np.random.default_rng(0)

    def stripes(count: int) -> np.ndarray:
        phases = rng.integers(0, 4, count)
        rows = (np.arange(16)[None, :, None] + phases[:, None, None]) // 2 % 2
        noisy = 80 + 80 * np.broadcast_to(rows, (count, 16, 16)) + rng.normal(0, 8, (count, 16, 16))
        return np.clip(noisy, 0, 255).astype(np.uint8)[..., None]

    odd = rng.permuted(stripes(8).reshape(8, -1), axis=1).reshape(8, 16, 16, 1)
    test = np.concatenate([stripes(8), odd])
    empty = np.empty((0, 16, 16, 1), np.uint8)
    return Task(stripes(40), test, empty, np.empty(0, bool), seed=0)


@pytest.fixture(scope="module")
def cell(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return Cell(task, tmp_path_factory.mktemp("cell"), FAST)


def test_one_fit_serves_all_methods_and_is_kept(cell, monkeypatch):
    first = detectors.features(cell)
    assert (cell.folder / FEATURES_FILE).exists()
    monkeypatch.setattr(detectors, "fit_features", None)
    again = detectors.features(cell)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert first.scores[:8].max() < first.scores[8:].min()
    assert sum(first.settings["weights"].values()) == pytest.approx(1)
    assert sorted(first.settings["weights"]) == sorted(OWN)


def test_other_test_images_or_settings_are_scored_anew(cell, task, monkeypatch):
    detectors.features(cell)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(detectors, "fit_features", refuse)
    fewer = replace(task, test=task.test[:5])
    other = replace(FAST, features=FeatureConfig(transform_iters=11))
    for changed in (replace(cell, task=fewer), replace(cell, settings=other)):
        with pytest.raises(AssertionError, match="fitted again"):
            detectors.features(changed)


@pytest.mark.parametrize("name", OWN)
def test_each_detector_scores_alone_and_is_left_out(cell, name):
    alone = METHODS[name](cell)
    assert alone.scores.shape == (16,) and np.isfinite(alone.scores).all()
    assert list(alone.settings["weights"]) == [name]
    others = METHODS[f"features-without-{name}"](cell)
    assert name not in others.settings["weights"]
    assert sum(others.settings["weights"].values()) == pytest.approx(1)


def test_without_a_pretrained_network_its_methods_say_what_they_need(cell):
    for name in ("pretrained", "features-without-pretrained"):
        with pytest.raises(NotApplicableError, match="--features"):
            METHODS[name](cell)


def test_a_joined_score_is_a_weighted_mean():
    z = {"patches": np.array([1.0, 2.0]), "scattering": np.array([0.0, -4.0])}
    scales = {"patches": Scale(0, 1, 0, 0.9), "scattering": Scale(0, 1, 0, 0.8)}
    members = MemberScores(z, {name: np.arange(3.0) ** 2 for name in z}, scales)
    shares = members.weights(list(z))
    expected = sum(shares[name] * np.log1p(np.exp(z[name])) for name in z)
    np.testing.assert_allclose(members.joined(["patches", "scattering"]).scores, expected)
    assert members.joined(["scattering"]).scores.tolist() == np.logaddexp(0, [0.0, -4.0]).tolist()


def test_reconstruction_joins_as_one_more_member(cell):
    result = METHODS["all-joined"](cell)
    assert set(result.settings["weights"]) == {*OWN, "reconstruction"}
    assert result.settings["gan"] and np.isfinite(result.scores).all()


def test_a_model_without_features_says_so(cell, tmp_path: Path, monkeypatch):
    class Featureless:
        features = None

    monkeypatch.setattr(detectors, "load_model", lambda path, device: Featureless())
    with_model = replace(FAST, model=tmp_path / "model.safetensors")
    with pytest.raises(NotApplicableError, match="no features"):
        detectors.features(replace(cell, settings=with_model))


def test_what_shares_a_fit_stays_in_one_group():
    groups = group_by_shared_model(["pca", "features", "adgan", "all-joined", "patches", "anogan"])
    assert groups == [("adgan", "anogan"), ("features", "all-joined", "patches"), ("pca",)]

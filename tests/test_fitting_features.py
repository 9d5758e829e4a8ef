"""Features are fitted to drawn images, resumed exactly, and weighed without a label."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from adgan_cli.config import FeatureConfig, ModelConfig, TrainConfig
from adgan_cli.engine.models.files import load_model
from adgan_cli.fitting import features as features_module
from adgan_cli.fitting.feature_run import train_features
from adgan_cli.fitting.features import fit_features, share_in_time, split_for_features
from adgan_cli.fitting.settings import TrainingSettings
from adgan_cli.fitting.stages import StageCallbacks, StageProgress
from adgan_cli.images.pixels import PixelSet

CPU = torch.device("cpu")
CONFIG = FeatureConfig(transform_iters=3)


def pictures(count=24, *, seed=0, copies=1, size=16):
    """Gradients from left to right, so that turns can be told."""
    rng = np.random.default_rng(seed)
    slopes = rng.uniform(4, 12, (count, 1, 1, 3))
    pixels = np.arange(size)[None, None, :, None] * slopes + rng.uniform(0, 50, (count, size, 1, 3))
    pixels = np.repeat(pixels.astype(np.uint8), copies, axis=0)
    names = tuple(f"{index:04}.png" for index in range(len(pixels)))
    fingerprints = np.repeat(rng.integers(2**62, size=count, dtype=np.uint64), copies)
    return PixelSet(pixels, names, (), None, fingerprints)


def tensors_of(model):
    return {
        f"{name}/{key}": tensor
        for name, one in model.detectors.items()
        for key, tensor in one.tensors().items()
    }


def stop_after(calls):
    asked = iter(range(calls))
    return lambda: next(asked, None) is None


def assert_equal(first, second):
    first, second = tensors_of(first), tensors_of(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_copies_of_a_file_stay_on_one_side():
    images = pictures(40, copies=3)
    split = split_for_features(images, seed=0)
    validation = set(images.fingerprints[split.validation])
    assert len(split.validation) == len(validation) == 4
    assert not validation & set(images.fingerprints[split.learned])
    assert not validation & set(images.fingerprints[split.references])
    assert len(split.learned) == 36 * 3 and len(split.references) == 36


def test_what_is_drawn_is_drawn_from_everywhere(monkeypatch):
    monkeypatch.setattr(features_module, "MAX_STORED", 50)
    split = split_for_features(pictures(1000), seed=0)
    assert len(split.references) == 50 and len(split.validation) == 100
    strides = {int(step) for step in np.diff(split.references)}
    assert len(strides) > 5 and split.references[-1] > 800, "neither the first nor every n-th"
    again = split_for_features(pictures(1000), seed=1)
    assert set(again.validation) != set(split.validation)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_so_few_that_none_can_be_spared_are_fitted_all_the_same(count):
    images = pictures(count)
    split = split_for_features(images, seed=0)
    assert len(split.references) == len(split.validation) == len(split.learned) == count
    model = fit_features(images, CONFIG, device=CPU)
    assert np.isfinite(model.joined(model.z_scores(images.pixels))).all()


def test_every_detector_is_fitted_and_their_weights_add_up_to_one():
    model = fit_features(pictures(), CONFIG, device=CPU)
    quick = ("patches", "scattering", "histograms", "components", "local")
    assert {*quick, "transformations"} <= {*model.names}
    assert sum(scale.weight for scale in model.scales.values()) == pytest.approx(1)
    without = fit_features(pictures(), FeatureConfig(transform_iters=0), device=CPU)
    assert "transformations" not in without.names


def test_identical_pictures_are_scored_without_a_division_by_zero():
    images = pictures(1, copies=12)
    images = replace(images, fingerprints=np.arange(12, dtype=np.uint64))
    model = fit_features(images, CONFIG, device=CPU)
    z = model.z_scores(np.concatenate([images.pixels, pictures(2, seed=5).pixels]))
    assert np.isfinite(z).all()
    joined = model.joined(z)
    assert joined[:12].max() < joined[12:].min()


@pytest.mark.parametrize("calls", [1, 6, 7])
def test_a_fit_that_was_stopped_goes_on_to_the_same_bytes(calls, tmp_path):
    whole = fit_features(pictures(), CONFIG, device=CPU)
    checkpoint = tmp_path / "transformations.safetensors"
    stopped = fit_features(
        pictures(),
        CONFIG,
        device=CPU,
        checkpoint=checkpoint,
        callbacks=StageCallbacks(should_stop=stop_after(calls)),
    )
    assert stopped is None
    assert checkpoint.exists() == (calls > 1)
    again = fit_features(pictures(), CONFIG, device=CPU, checkpoint=checkpoint)
    assert_equal(whole, again)
    assert whole.scales == again.scales


def test_a_checkpoint_of_other_images_is_not_gone_on_with(tmp_path):
    checkpoint = tmp_path / "transformations.safetensors"
    stop = StageCallbacks(should_stop=stop_after(7))
    fit_features(pictures(), CONFIG, device=CPU, checkpoint=checkpoint, callbacks=stop)
    others = pictures(seed=1)
    again = fit_features(others, CONFIG, device=CPU, checkpoint=checkpoint)
    assert_equal(again, fit_features(others, CONFIG, device=CPU))


def transformation_steps(until):
    steps = []

    def count(progress):
        if progress.stage == "transformations":
            steps.append((progress.done, progress.total))

    model = fit_features(
        pictures(),
        FeatureConfig(transform_iters=10**6),
        device=CPU,
        until=until,
        callbacks=StageCallbacks(on_progress=count),
    )
    return model, steps


def test_with_little_time_the_network_takes_only_its_first_steps(monkeypatch):
    monkeypatch.setattr(features_module._Fit, "seconds_left", lambda *_: 1e-9)
    monkeypatch.setattr(features_module, "LATE", 10**12)
    model, steps = transformation_steps(time.monotonic() + 100)
    assert steps[-1][0] == steps[-1][1] < 50
    assert "transformations" in model.names


def test_a_network_that_takes_longer_than_it_was_to_ends_as_it_is(monkeypatch):
    monkeypatch.setattr(features_module._Fit, "seconds_left", lambda *_: 1e-9)
    monkeypatch.setattr(features_module, "affordable_steps", lambda *_, **__: 10**6)
    model, steps = transformation_steps(time.monotonic() + 100)
    assert len(steps) == 1 and "transformations" in model.names


def test_without_time_there_is_no_network_and_the_others_count():
    model, steps = transformation_steps(0.0)
    assert not steps and "transformations" not in model.names
    assert sum(scale.weight for scale in model.scales.values()) == pytest.approx(1)


def test_where_time_is_short_fewer_are_compared_with_and_said(monkeypatch):
    monkeypatch.setattr(features_module, "PILOT", 8)
    monkeypatch.setattr(features_module, "MIN_VALIDATION", 3)
    images, said, kept = pictures(60), [], []
    model = fit_features(
        images,
        FeatureConfig(transform_iters=0),
        device=CPU,
        until=0.0,
        on_fewer=kept.append,
        callbacks=StageCallbacks(on_progress=said.append),
    )
    whole = split_for_features(images, 0)
    (indices,) = kept
    assert len(indices) == 8 and set(indices) < set(whole.references)
    assert StageProgress("fewer", 8, len(whole.references)) in said
    distances = model.detectors["scattering"].reference_distances(images.pixels[0])
    assert len(distances) == 8, "of the same pictures that are kept as neighbours"


def test_with_time_enough_features_are_those_without_a_limit(monkeypatch):
    images, fewer = pictures(40), []
    monkeypatch.setattr(features_module, "PILOT", 8)
    config = FeatureConfig(transform_iters=0)
    limited = fit_features(
        images, config, device=CPU, until=time.monotonic() + 10**6, on_fewer=fewer.append
    )
    assert_equal(limited, fit_features(images, config, device=CPU))
    assert not fewer


def test_a_smaller_split_keeps_a_few_of_each_and_all_when_asked():
    split = split_for_features(pictures(1000), seed=0)
    least, half = split.smaller(0.0, 0), split.smaller(0.5, 0)
    assert len(least.references) == features_module.PILOT
    assert len(least.validation) == features_module.MIN_VALIDATION
    assert least.n_altered == features_module.MIN_ALTERED
    assert len(half.references) == len(split.references) // 2
    assert len(half.validation) == len(split.validation) // 2
    assert set(half.references) < set(split.references)
    assert half.n_weighed < split.n_weighed
    assert np.array_equal(half.learned, split.learned)


def test_a_share_of_time_is_between_none_and_all():
    assert share_in_time(5, 10) == 0.5 and share_in_time(20, 10) == 1
    assert share_in_time(-1, 10) == 0 and share_in_time(0, 0) == 1


SETTINGS = TrainingSettings(
    ModelConfig(16, 3, 4, 4), TrainConfig(holdout=0.2), features=CONFIG, gan=False
)


def test_a_model_of_features_alone_is_saved_calibrated_and_resumed(tmp_path):
    whole = train_features(pictures(30), SETTINGS, out=tmp_path / "whole", device=CPU)
    assert whole.generator is None and whole.default_search().by == "features"
    calibration = whole.calibration(whole.default_search())
    assert len(calibration.scores) == 6
    assert load_model(tmp_path / "whole").digest == whole.digest
    parts = tmp_path / "parts"
    stop = StageCallbacks(should_stop=stop_after(7))
    assert train_features(pictures(30), SETTINGS, out=parts, device=CPU, callbacks=stop) is None
    again = train_features(pictures(30), SETTINGS, out=parts, resume=True, device=CPU)
    assert again.digest == whole.digest
    assert not (parts / "transformations.safetensors").exists()
    once_more = train_features(pictures(30), SETTINGS, out=parts, resume=True, device=CPU)
    assert once_more.digest == whole.digest

"""Images unlike those trained on lie far from them in the features of a pretrained network."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pretrained_networks import TINY, save_tiny_weights

from adgan_cli.engine.features import pretrained
from adgan_cli.engine.features.backbone import load_backbone
from adgan_cli.engine.features.backbone_source import BackboneSource
from adgan_cli.engine.features.pretrained import (
    fit_pretrained,
    pretrained_from,
    principal_components,
    stored_indices,
)
from adgan_cli.errors import ConfigError

pytest.importorskip("huggingface_hub", reason="comes with timm")

SIDE = 64


def spots(count, seed=0, side=16, channels=3, contrast=60):
    """Noise around a grey that is the same for all."""
    rng = np.random.default_rng(seed)
    return (100 + rng.integers(0, contrast, (count, side, side, channels))).astype(np.uint8)


@pytest.fixture(scope="module")
def detector(backbone):
    return fit_pretrained(backbone, spots(40), spots(20, 1), side=SIDE)


def test_what_is_unlike_the_training_images_scores_higher(detector):
    like, unlike = spots(10, 2), spots(10, 3)
    unlike[:, :, 8:] = 255
    scores = [[detector.score(one) for one in images] for images in (like, unlike)]
    assert max(scores[0]) < min(scores[1])


def test_validation_images_are_ordinary_in_every_part(detector):
    parts = np.log(detector.part_scores(detector.features(spots(20, 1))))
    z = (parts - detector.scale[:, 0]) / detector.scale[:, 1]
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-3)


def test_a_fit_takes_images_in_batches_and_at_any_side(backbone, detector):
    batches = (spots(40)[start : start + 7] for start in range(0, 40, 7))
    other = fit_pretrained(backbone, batches, iter([spots(20, 1)]), side=SIDE)
    for image in spots(3, 5):
        assert other.score(image) == pytest.approx(detector.score(image), rel=1e-3)


def test_a_saved_detector_scores_to_the_last_bit_as_before(detector, weights_file):
    settings = json.loads(json.dumps(detector.settings()))
    loaded = pretrained_from(settings, detector.tensors())
    with pytest.raises(ConfigError, match=f"{TINY} is not at hand"):
        loaded.score(spots(1)[0])
    image = spots(1, 7)[0]
    assert loaded.with_backbone().score(image) == detector.score(image)  # the file is remembered
    assert loaded.with_backbone(weights_file).score(image) == detector.score(image)


def test_weights_that_are_gone_are_missed_by_name(detector, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ConfigError, match=f"no weights of {TINY}"):
        replace(detector, weights=str(tmp_path / "gone.pth")).with_backbone()


@pytest.mark.parametrize("name", ["references", "center", "components", "classes", "local.places"])
def test_tensors_that_do_not_fit_are_refused(detector, name):
    tensors = detector.tensors()
    for other in (tensors[name][..., None, None, None], tensors[name] * torch.nan):
        with pytest.raises(ValueError):
            pretrained_from(detector.settings(), tensors | {name: other})
    with pytest.raises(KeyError):
        pretrained_from({}, tensors)
    with pytest.raises(ValueError):
        pretrained_from(detector.settings() | {"side": 10**9}, tensors)


def test_without_classes_two_distances_are_left(tmp_path):
    path = save_tiny_weights(tmp_path, num_classes=0)
    headless = fit_pretrained(
        load_backbone(BackboneSource(TINY, path)), spots(8), spots(6, 1), side=SIDE
    )
    assert headless.scale.shape == (2, 2) and "classes" not in headless.tensors()
    loaded = pretrained_from(headless.settings(), headless.tensors()).with_backbone()
    assert loaded.score(spots(1, 9)[0]) == headless.score(spots(1, 9)[0])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_few_and_identical_images_give_finite_scores(backbone, count, channels):
    same = np.repeat(spots(1, channels=channels), count, 0)
    plain = np.full_like(same, 255)
    for images in (same, plain, spots(count, channels=channels)):
        fitted = fit_pretrained(backbone, images, images, side=SIDE)
        for image in (same[0], plain[0], np.zeros_like(same[0])):
            assert 0 < fitted.score(image) < np.inf


def test_the_nearest_training_image_of_itself_is_itself(detector):
    for index in (0, 17, 39):
        order, distances = detector.nearest(spots(40)[index], 3)
        assert order[0] == index and 10 * distances[0] < distances[1] <= distances[2]
    assert len(detector.nearest(spots(1)[0], 100)[0]) == 40


def test_the_map_is_highest_where_an_image_is_unlike_all(detector):
    image = spots(1, 11, side=SIDE)[0]
    ordinary = detector.anomaly_map(image).max()
    image[40:56, 8:24] = [255, 0, 0]
    places = detector.anomaly_map(image)
    assert places.shape == (4, 4) and places.max() > ordinary
    assert np.unravel_index(places.argmax(), places.shape) in {(2, 0), (2, 1), (3, 0), (3, 1)}


def test_a_weights_file_of_the_environment_wins_over_the_one_remembered(
    detector, monkeypatch, tmp_path
):
    monkeypatch.setenv("ADGAN_FEATURES_WEIGHTS", str(tmp_path / "other.pth"))
    with pytest.raises(ConfigError, match="other.pth: no such file"):
        detector.with_backbone()


def test_no_more_than_a_bounded_number_of_images_is_kept(backbone, monkeypatch):
    monkeypatch.setattr(pretrained, "MAX_STORED", 10)
    assert len(fit_pretrained(backbone, spots(40), spots(5, 1), side=SIDE).references) == 10
    kept = stored_indices(1000, 64, seed=0)
    assert len(kept) == len(set(kept)) == 10 and kept.max() > 500 and (np.diff(kept) > 0).all()
    assert len(stored_indices(1000, 10**9, 0)) == pretrained.NEIGHBOURS
    assert not np.array_equal(kept, stored_indices(1000, 64, seed=1))


def test_components_are_those_of_the_variance():
    rng = np.random.default_rng(0)
    strong = rng.normal(size=(200, 1)) @ np.array([[1.0, 2.0, 3.0]])
    x = np.concatenate([strong, rng.normal(size=(200, 1)), np.full((200, 1), 4.0)], 1)
    center, deviation, components = principal_components(x.astype(np.float32))
    np.testing.assert_allclose(center, x.mean(0), atol=1e-5)
    assert components.shape == (5, 2)
    assert deviation.min() > 0
    assert principal_components(np.ones((3, 4), np.float32))[2].shape == (4, 0)

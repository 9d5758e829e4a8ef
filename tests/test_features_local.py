"""The Gaussian of patches: its distances, where it sees a defect, and what it is kept as."""

import json

import numpy as np
import pytest
from textures import stripes

from adgan_cli.engine.features import local, references
from adgan_cli.engine.features.ensemble import score_images
from adgan_cli.engine.features.local import LocalPatches, fit_local, local_from
from adgan_cli.engine.features.patches import PATCH, all_patches


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(local, "MAX_PATCHES", 2000)


@pytest.fixture(scope="module")
def fitted() -> LocalPatches:
    return fit_local(stripes(20, side=32), 0)


def scratched(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """A copy with a light line of 10 pixels downwards."""
    copy = image.copy()
    copy[row : row + 10, column : column + 2] = 250
    return copy


def test_a_distance_is_mahalanobis_over_the_root_of_the_number_of_values(fitted):
    image = stripes(1, side=32, seed=1)[0]
    patch = (all_patches(image)[0] - fitted.mean).double().numpy()
    covariance = np.linalg.inv((fitted.whitening @ fitted.whitening).double().numpy())
    expected = np.sqrt(patch @ np.linalg.solve(covariance, patch) / PATCH**2 / 3)
    assert float(fitted._distances(image)[0, 0]) == pytest.approx(float(expected), rel=1e-3)


def test_distances_of_the_training_set_are_about_1(fitted):
    distances = [float(fitted._distances(image).mean()) for image in stripes(5, side=32, seed=1)]
    assert distances == pytest.approx([1] * 5, abs=0.3)


def test_a_scratch_raises_the_score_and_is_where_the_map_is_brightest(fitted):
    image = stripes(1, side=32, seed=1)[0]
    for row, column in [(1, 1), (15, 20), (20, 29)]:
        copy = scratched(image, row, column)
        assert fitted.score(copy) > 1.5 * fitted.score(image)
        seen = fitted.anomaly_map(copy)
        assert seen.shape == (32, 32) and seen.min() >= 0
        y, x = np.unravel_index(int(seen.argmax()), seen.shape)
        assert row - 3 <= y < row + 13 and column - 3 <= x < column + 5


def test_the_page_takes_the_map(fitted):
    assert isinstance(fitted, references.SeesPlaces)


def test_a_score_does_not_depend_on_company(fitted):
    images = stripes(4, side=32, seed=1)
    together = score_images({"local": fitted}, images)["local"]
    assert [fitted.score(image) for image in images[::-1]] == [*together[::-1]]


@pytest.mark.parametrize("channels,side", [(1, 16), (3, 16), (3, 128)])
def test_few_flat_and_identical_images_divide_nothing_by_zero(channels, side):
    images = stripes(2, side=side, channels=channels)
    flat = np.zeros_like(images)
    for training in (images, images[[0, 0]], flat):
        fitted = fit_local(training, 0)
        for image in (*images, flat[0], 255 - flat[0]):
            assert 0 <= fitted.score(image) < np.inf
            seen = fitted.anomaly_map(image)
            assert seen.shape == (side, side) and np.isfinite(seen).all()
        assert fitted.score(training[0]) < fitted.score(255 - training[0])


def test_what_is_kept_gives_the_same_score_to_the_last_bit(fitted):
    settings, tensors = json.loads(json.dumps(fitted.settings())), fitted.tensors()
    image = stripes(1, side=32, seed=1)[0]
    assert local_from(settings, tensors).score(image) == fitted.score(image)
    for broken in ({"mean": tensors["mean"][1:]}, {"whitening": tensors["whitening"].double()}):
        with pytest.raises(ValueError, match="expected"):
            local_from(settings, tensors | broken)
    for wrong in ({"size": 3}, {"channels": 1}):
        with pytest.raises(ValueError):
            local_from(settings | wrong, tensors)
    with pytest.raises(KeyError):
        local_from(settings, {})

"""The trivial methods are what they say, to the last digit."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from adgan_cli.evaluation.methods.baselines import deviation, file_complexity, mean_image, pca
from adgan_cli.evaluation.task import MethodResult, NotApplicableError, Task

Method = Callable[[Task], MethodResult]
RELATIVE: list[Method] = [partial(mean_image, relative=True), partial(pca, relative=True)]
ALL: list[Method] = [mean_image, pca, *RELATIVE, file_complexity]


def make_task(train: np.ndarray, test: np.ndarray, *, seed: int = 0) -> Task:
    return Task(train, test, test[:0], np.zeros(0, dtype=bool), seed)


def near_grey(count: int, *, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Low contrast: levels 107 to 148, so that five times the contrast still fits."""
    rng = np.random.default_rng(seed)
    return rng.integers(107, 149, (count, 6, 6, channels), dtype=np.uint8)


def with_contrast(pictures: np.ndarray, factor: int) -> np.ndarray:
    """`factor` times as far from 127.5, the middle: odd factors lead from level to level."""
    scaled = 127.5 + (pictures - 127.5) * factor
    assert scaled.min() >= 0 and scaled.max() <= 255
    return scaled.astype(np.uint8)


def test_mean_image_is_the_squared_distance_to_the_mean():
    train = np.array([0, 255], dtype=np.uint8).reshape(2, 1, 1, 1)  # mean 0 in [-1, 1]
    test = np.array([0, 255, 153], dtype=np.uint8).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(mean_image(make_task(train, test)).scores, [1, 1, 0.04], rtol=1e-6)


def test_relative_mean_image_divides_by_the_deviation_from_the_channel_means():
    train, test = near_grey(20), near_grey(5, seed=1)
    mean = (train / 127.5 - 1).mean(0)
    x = test / 127.5 - 1
    expected = np.square(x - mean).sum((1, 2, 3)) / np.square(
        x - x.mean((1, 2), keepdims=True)
    ).sum((1, 2, 3))
    got = mean_image(make_task(train, test), relative=True).scores
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_pca_has_no_error_in_the_span_and_all_of_it_outside():
    rng = np.random.default_rng(0)
    train = np.full((60, 8, 8, 1), 128, dtype=np.uint8)
    train[:, :2, :8, 0] = rng.integers(0, 256, (60, 2, 8))  # 16 pixels vary: 16 components
    test = train[:2].copy()
    test[1, 5, 5, 0] += 51  # 0.4 in [-1, 1], in a pixel that never moves
    outcome = pca(make_task(train, test))
    np.testing.assert_allclose(outcome.scores, [0, 0.16], atol=1e-5)
    assert outcome.settings["components"] == 16


def test_pca_of_a_few_pictures_takes_the_components_there_are():
    outcome = pca(make_task(near_grey(5), near_grey(3, seed=1)))
    assert outcome.settings["components"] == 4
    assert np.all(outcome.scores > 0)


@pytest.mark.parametrize("method", [mean_image, pca])
def test_an_outlier_scores_above_the_inliers(method):
    test = near_grey(10, seed=1)
    test[7, :, :3] = 20
    assert method(make_task(near_grey(40), test)).scores.argmax() == 7


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("method", [mean_image, pca])
def test_contrast_cancels_where_the_error_is_relative(method, relative):
    train, test = near_grey(40), near_grey(8, seed=1)
    flat = method(make_task(train, test), relative=relative).scores
    bold = method(
        make_task(with_contrast(train, 5), with_contrast(test, 5)), relative=relative
    ).scores
    np.testing.assert_allclose(bold, flat * (1 if relative else 25), rtol=1e-4)


def test_deviation_ignores_the_channels_means_and_grows_with_contrast():
    pictures = near_grey(4)
    tinted = pictures + np.array([0, 40, 90], dtype=np.uint8)
    np.testing.assert_allclose(deviation(tinted), deviation(pictures), rtol=1e-9)
    np.testing.assert_allclose(
        deviation(with_contrast(pictures, 3)), 9 * deviation(pictures), rtol=1e-9
    )


@pytest.mark.parametrize("method", RELATIVE)
def test_a_constant_picture_has_a_finite_relative_score(method):
    test = np.full((1, 6, 6, 3), 30, dtype=np.uint8)
    np.testing.assert_allclose(deviation(test), 6 * 6 * 3 / 127.5**2)
    score = method(make_task(near_grey(40), test)).scores[0]
    assert np.isfinite(score) and score > 1


def test_file_complexity_counts_bytes_of_a_png():
    flat = np.full((1, 32, 32, 1), 9, dtype=np.uint8)
    ramp = np.arange(32, dtype=np.uint8).repeat(32).reshape(1, 32, 32, 1)
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1), dtype=np.uint8)
    test = np.concatenate([noise, flat, ramp])
    scores = file_complexity(make_task(flat, test)).scores
    assert scores[1] < scores[2] < scores[0]
    assert 1024 < scores[0] < 1024 + 32 + 100  # 1,024 random bytes do not shrink; headers
    np.testing.assert_array_equal(scores, np.round(scores))


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_repeat_and_follow_the_order_of_the_pictures(method, channels):
    train, test = near_grey(30, channels=channels), near_grey(9, channels=channels, seed=1)
    first = method(make_task(train, test)).scores
    assert first.dtype == np.float64 and first.shape == (9,)
    np.testing.assert_array_equal(method(make_task(train, test)).scores, first)
    np.testing.assert_allclose(method(make_task(train, test[::-1])).scores, first[::-1], rtol=1e-5)


@pytest.mark.parametrize("method", [mean_image, pca])
def test_nothing_to_learn_from_is_said(method):
    with pytest.raises(NotApplicableError, match="training pictures"):
        method(make_task(near_grey(0), near_grey(2)))

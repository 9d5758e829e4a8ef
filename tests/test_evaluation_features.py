"""A few exact components of the normal class, and AlexNet only from a file that cannot run code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from adgan_cli.errors import ConfigError
from adgan_cli.evaluation import features
from adgan_cli.evaluation.features import (
    DIMENSIONS,
    Features,
    alexnet,
    alexnet_features,
    load_alexnet,
    pixel_features,
    pixels,
    sample,
)
from adgan_cli.evaluation.task import NotApplicableError, Task

CPU = torch.device("cpu")


def make_task(train: np.ndarray, test: np.ndarray, *, seed: int = 0) -> Task:
    return Task(train, test, test[:0], np.zeros(0, dtype=bool), seed)


def noise(count: int, *, size: int = 12, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet's parameters, random, under torchvision's names."""
    shapes = [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)]
    rng = torch.Generator().manual_seed(0)
    tensors = {"classifier.6.bias": torch.zeros(1000)}
    for index, (out, into, side) in zip((0, 3, 6, 8, 10), shapes, strict=True):
        weight = torch.randn(out, into, side, side, generator=rng)
        tensors[f"features.{index}.weight"] = weight / (into * side * side) ** 0.5
        tensors[f"features.{index}.bias"] = torch.randn(out, generator=rng) / 10
    path = tmp_path_factory.mktemp("alexnet") / "alexnet.safetensors"
    save_file(tensors, path)
    return path


def test_pixels_are_flat_and_in_the_papers_range():
    flat = pixels(np.array([0, 51, 255], dtype=np.uint8).reshape(1, 1, 1, 3))
    np.testing.assert_allclose(flat, [[-1.0, -0.6, 1.0]], atol=1e-7)
    assert flat.dtype == np.float32


@pytest.mark.parametrize("d", [20, 100])
def test_the_first_columns_are_pca_to_that_dimension(d):
    from sklearn.decomposition import PCA

    task = make_task(noise(150), noise(7, seed=1))
    result = pixel_features(task)
    plain = PCA(d, svd_solver="full").fit(pixels(task.train).astype(np.float64))
    expected = plain.transform(pixels(task.test).astype(np.float64))
    signs = np.sign(result.test[0, :d] * expected[0])
    np.testing.assert_allclose(result.test[:, :d] * signs, expected, atol=2e-3)
    np.testing.assert_allclose(
        result.explained[:d], np.cumsum(plain.explained_variance_ratio_), rtol=1e-5
    )
    assert result.train.shape == (150, 100) and result.holdout.shape == (0, 100)


def test_components_come_from_the_normal_class_alone():
    train = noise(60)
    one = pixel_features(make_task(train, noise(5, seed=1)))
    other = pixel_features(make_task(train, np.full_like(train, 255)))
    np.testing.assert_array_equal(one.train, other.train)


def test_a_small_set_offers_the_dimensions_it_has():
    assert pixel_features(make_task(noise(150), noise(1))).dimensions == DIMENSIONS
    assert pixel_features(make_task(noise(50), noise(1))).dimensions == (20, 40)
    assert pixel_features(make_task(noise(9), noise(1))).dimensions == (8,)


def test_dimensions_that_hold_nothing_are_left_out():
    rng = np.random.default_rng(0)
    train = np.zeros((150, 8, 8, 1), dtype=np.uint8)
    train[:, 2:7, 2:7] = rng.integers(0, 256, (150, 5, 5, 1))  # 25 pixels that vary
    result = pixel_features(make_task(train, train[:3]))
    assert result.train.shape == (150, 25)
    assert result.dimensions == (20,)
    np.testing.assert_allclose(result.explained[-1], 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("kept_by_40", "kept_by_60", "expected"), [(0.96, 0.97, 40), (0.9, 0.95, 60), (0.5, 0.6, 80)]
)
def test_without_labels_the_least_dimension_that_keeps_95_percent(kept_by_40, kept_by_60, expected):
    kept = np.concatenate([np.full(39, 0.1), [kept_by_40] * 20, [kept_by_60] * 31])
    empty = np.zeros((1, 90))
    assert Features(empty, empty, empty, kept).label_free_dimension == expected


def test_equal_training_pictures_have_no_components():
    for train in (np.full((30, 8, 8, 1), 7, dtype=np.uint8), noise(1), noise(0)):
        with pytest.raises(NotApplicableError, match="training pictures"):
            pixel_features(make_task(train, noise(2, size=8)))


def test_a_large_set_is_sampled_by_the_seed_in_order(monkeypatch):
    pictures = np.arange(200, dtype=np.uint8).reshape(200, 1, 1, 1)
    assert sample(pictures, 0) is pictures
    monkeypatch.setattr(features, "MAX_TRAIN", 50)
    drawn = sample(pictures, 0).ravel()
    assert len(set(drawn)) == 50 and list(drawn) == sorted(drawn)
    assert list(drawn) == list(sample(pictures, 0).ravel())
    assert list(drawn) != list(sample(pictures, 1).ravel())


def test_alexnet_is_its_last_convolution_on_a_normalised_picture(weights):
    pictures = noise(2, size=16, channels=3)
    got = alexnet(pictures, load_alexnet(weights))
    reference = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    from safetensors.torch import load_file

    own = {k[9:]: w for k, w in load_file(weights).items() if k.startswith("features.")}
    reference.load_state_dict(own)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    x = nn.functional.interpolate(x, (224, 224), mode="bilinear", align_corners=False)
    for channel, (mean, deviation) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        x[:, channel] = (x[:, channel] - mean) / deviation
    expected = reference(x).flatten(1).detach().numpy()
    assert expected.shape == (2, 9216) and expected.std() > 0
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_alexnet_sees_grey_as_three_equal_channels(weights):
    network = load_alexnet(weights)
    grey = noise(1, size=16)
    three = np.repeat(grey, 3, axis=-1)
    np.testing.assert_allclose(alexnet(grey, network), alexnet(three, network), atol=1e-4)


def test_alexnet_features_are_components_of_it(weights):
    task = make_task(noise(4, size=8), noise(2, size=8, seed=1))
    result = alexnet_features(task, weights, device=CPU)
    assert result.train.shape == (4, 3) and result.test.shape == (2, 3)
    # all components of four points: distances are those of the representation
    raw = alexnet(task.train, load_alexnet(weights))
    np.testing.assert_allclose(
        np.linalg.norm(result.train[0] - result.train[1]),
        np.linalg.norm(raw[0] - raw[1]),
        rtol=1e-4,
    )


def test_alexnet_without_a_file_says_what_it_needs():
    with pytest.raises(NotApplicableError, match="--alexnet-weights"):
        load_alexnet(None)


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "alexnet.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match=r"alexnet\.pth.*\.safetensors.*save_file"):
        load_alexnet(path)


def test_other_files_are_refused_by_name(tmp_path, weights):
    other = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, other)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights.read_bytes()[:1000])
    for path in (other, broken, tmp_path / "absent.safetensors"):
        with pytest.raises(ConfigError, match=path.name):
            load_alexnet(path)


def test_loading_alexnet_draws_no_random_numbers(weights):
    before = torch.get_rng_state()
    network = load_alexnet(weights)
    assert torch.equal(before, torch.get_rng_state())
    assert not any(weight.requires_grad for weight in network.parameters())

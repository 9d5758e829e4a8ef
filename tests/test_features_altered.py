"""Copies of images with something wrong in them."""

import numpy as np
import pytest

from adgan_cli.engine.features.altered import ALTERATIONS, altered_copies


def noise(count: int, size: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(seed).integers(60, 180, shape, dtype=np.uint8)


def copies_of(images: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    return altered_copies(images, np.random.default_rng(seed))


@pytest.mark.parametrize("size", [16, 32, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_kind_changes_every_image_and_keeps_its_shape(size, channels):
    images = noise(5, size, channels)
    copies = copies_of(images)
    assert set(copies) == set(ALTERATIONS) - ({"hue"} if channels == 1 else set())
    for altered in copies.values():
        assert altered.dtype == np.uint8 and altered.shape == images.shape
        assert (altered != images).any((1, 2, 3)).all()


def test_equal_seeds_give_equal_copies_and_the_originals_stay():
    images = noise(4)
    before = images.copy()
    one, same, other = copies_of(images), copies_of(images), copies_of(images, seed=1)
    for kind in one:
        assert (one[kind] == same[kind]).all()
        assert (one[kind] != other[kind]).any()
    assert (images == before).all()


def test_shuffled_parts_are_all_there_and_none_stays():
    images = noise(3)
    copies = copies_of(images)
    for kind, parts in (("quarters", 2), ("cells", 4)):
        cell = 32 // parts
        for image, altered in zip(images, copies[kind], strict=True):
            assert (np.sort(image, axis=None) == np.sort(altered, axis=None)).all()
            for y in range(0, 32, cell):
                for x in range(0, 32, cell):
                    window = slice(y, y + cell), slice(x, x + cell)
                    assert (image[window] != altered[window]).any()


@pytest.mark.parametrize("kind", ["pasted", "scratch", "stain", "missing"])
def test_a_defect_leaves_most_of_the_image_alone(kind):
    images = noise(20, 64)
    changed = (copies_of(images)[kind] != images).any(3).mean((1, 2))
    assert changed.max() < 0.3


def test_another_hue_has_the_luminance_of_before():
    images = np.random.default_rng(0).integers(100, 150, (4, 16, 16, 3), dtype=np.uint8)
    weights = [0.299, 0.587, 0.114]
    assert np.allclose(copies_of(images)["hue"] @ weights, images @ weights, atol=1.5)


def test_a_blurred_image_has_less_detail_and_the_same_mean():
    images = noise(3)
    blurred = copies_of(images)["blur"]
    assert (blurred.std((1, 2, 3)) < 0.7 * images.std((1, 2, 3))).all()
    assert np.allclose(blurred.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1.5)


def test_pieces_are_pasted_from_another_image():
    images = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (0, 100, 200)])
    pasted = copies_of(images)["pasted"]
    assert all(len(np.unique(image)) == 2 for image in pasted)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_are_enough(count):
    assert all(len(altered) == count for altered in copies_of(noise(count)).values())


@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_coloured_images_are_altered_where_they_can_be(value):
    images = np.full((2, 16, 16, 3), value, np.uint8)
    copies = copies_of(images)
    assert (copies["scratch"] != images).any() and (copies["stain"] != images).any()
    assert (copies["blur"] == images).all()

"""The dictionary of patches: what it does not see, and that its centres are of the folder."""

import numpy as np
import pytest
import torch
from textures import stripes

from adgan_cli.engine.features import patches
from adgan_cli.engine.features.patches import (
    CELLS,
    CENTRES,
    PATCH,
    all_patches,
    drawn_patches,
    fit_patch_dictionary,
    normalised,
    patch_dictionary_from,
    spherical_k_means,
)


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(patches, "MAX_PATCHES", 2000)


def test_patches_are_those_at_every_place_row_by_row():
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    cut = all_patches(image)
    assert cut.shape == (9, PATCH * PATCH * 3)
    expected = image[1 : 1 + PATCH, 2 : 2 + PATCH].transpose(2, 0, 1)
    assert (cut[1 * 3 + 2].numpy() == expected.ravel()).all()
    assert (all_patches(image, 2) == cut[[0, 2, 6, 8]]).all()


def test_patches_drawn_and_patches_cut_out_are_laid_out_alike():
    image = stripes(1, side=PATCH)
    drawn = drawn_patches(image, 5, np.random.default_rng(0))
    assert (drawn == all_patches(image[0])).all()


def test_brightness_and_contrast_are_not_seen():
    rows = torch.rand(4, 108, generator=torch.Generator().manual_seed(0)) * 80
    seen = normalised(rows)
    torch.testing.assert_close(normalised(rows + 50), seen, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(normalised(3 * rows), seen, atol=0.02, rtol=0.02)
    assert normalised(torch.full((1, 108), 9.0)).abs().max() < 1e-5  # flat: no division by zero


def test_k_means_finds_the_directions_that_vectors_lie_in():
    rng = np.random.default_rng(0)
    directions = torch.eye(5)[[0, 2, 4]]
    x = directions[rng.integers(3, size=300)] * torch.from_numpy(rng.normal(3, 1, (300, 1)))
    x = (x + torch.from_numpy(rng.normal(0, 0.05, (300, 5)))).float()
    centres = spherical_k_means(x, 12, rng)
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(12))
    # a centre and its opposite are one
    assert ((centres @ directions.T).abs().max(dim=0).values > 0.99).all()


def test_equal_seeds_learn_equal_dictionaries():
    images = stripes(8)
    first, second, other = (fit_patch_dictionary(images, seed) for seed in (3, 3, 4))
    assert torch.equal(first.filters, second.filters)
    assert not torch.equal(first.filters, other.filters)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 64])
def test_features_are_finite_whatever_the_images(channels, side):
    images = stripes(4, side=side, channels=channels)
    for training in (images, images[:1].repeat(3, 0), np.full_like(images, 255)):
        dictionary = fit_patch_dictionary(training, 0)
        for image in (*images, np.zeros_like(images[0])):
            features = dictionary.represent(image)
            assert features.shape == (2 * CENTRES * CELLS**2,)
            assert np.isfinite(features).all() and (features >= 0).all()


def test_what_stands_elsewhere_in_a_quarter_is_described_alike():
    dictionary = fit_patch_dictionary(stripes(8, side=32), 0)
    image = np.full((32, 32, 3), 100, np.uint8)
    places = [image.copy() for _ in range(3)]
    spot = stripes(1, side=4)[0]
    for one, (row, column) in zip(places, [(6, 6), (5, 7), (6, 22)], strict=True):
        one[row : row + 4, column : column + 4] = spot
    first, near, far = (dictionary.represent(one) for one in places)
    assert np.allclose(first, near, atol=1e-5)
    assert not np.allclose(first, far, atol=1e-2)


def test_a_dictionary_that_was_kept_describes_to_the_last_bit():
    dictionary, image = fit_patch_dictionary(stripes(4), 0), stripes(1, seed=1)[0]
    tensors = dictionary.tensors()
    again = patch_dictionary_from(tensors)
    assert (again.represent(image) == dictionary.represent(image)).all()
    for broken in ({"offset": tensors["offset"][1:]}, {"filters": tensors["filters"].double()}):
        with pytest.raises(ValueError, match="expected"):
            patch_dictionary_from(tensors | broken)
    with pytest.raises(KeyError):
        patch_dictionary_from({"offset": tensors["offset"]})

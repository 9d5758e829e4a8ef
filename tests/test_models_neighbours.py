"""Small copies of training pictures: bounded, drawn, the same again, and only ever extra."""

from pathlib import Path

import numpy as np

from adgan_cli.engine.models import neighbours
from adgan_cli.engine.models.neighbours import (
    NEIGHBOURS_FILE,
    Neighbours,
    nearest,
    nearest_others,
    read_neighbours,
    write_neighbours,
)
from adgan_cli.images.pixels import PixelSet


def pictures(count: int, size: int = 16, channels: int = 1) -> PixelSet:
    pixels = np.random.default_rng(count).integers(0, 255, (count, size, size, channels), np.uint8)
    return PixelSet(pixels, tuple(map(str, range(count))), ())


def kept(folder: Path, some: PixelSet) -> Neighbours:
    write_neighbours(folder, some)
    result = read_neighbours(folder / "model.safetensors", some.digest)
    assert result is not None
    return result


def test_a_small_set_is_kept_whole(tmp_path):
    some = pictures(7, channels=3)
    assert (kept(tmp_path, some).pixels == some.pixels).all()


def test_of_a_large_set_a_bounded_number_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "MAX_BYTES", 4 * 16 * 16)
    some = pictures(200)
    indices = [
        int((one == some.pixels).all((1, 2, 3)).argmax()) for one in kept(tmp_path, some).pixels
    ]
    assert len(set(indices)) == 4 and indices == sorted(indices)
    assert len(set(np.diff(indices))) == 3, "neighbours in a folder are relatives, strides too"
    assert (tmp_path / NEIGHBOURS_FILE).stat().st_size < 4 * 16 * 16 + 1000


def test_the_images_whose_features_are_kept_can_be_given(tmp_path):
    some = pictures(6)
    write_neighbours(tmp_path, some, np.array([1, 4]))
    result = read_neighbours(tmp_path / "model.safetensors", some.digest)
    assert result is not None and (result.pixels == some.pixels[[1, 4]]).all()


def test_rows_of_a_mapped_set_are_followed(tmp_path):
    some = pictures(6)
    part = some.subset(np.array([False, True, False, False, True, True]))
    assert (kept(tmp_path, part).pixels == some.pixels[[1, 4, 5]]).all()


def test_equal_sets_give_equal_bytes(tmp_path):
    for name in "ab":
        write_neighbours(tmp_path / name, pictures(5))
    first, second = (tmp_path / name / NEIGHBOURS_FILE for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_large_pictures_are_kept_small(tmp_path):
    some = pictures(3, size=128)
    small = kept(tmp_path, some).pixels
    assert small.shape == (3, 64, 64, 1)
    assert abs(int(small[1, 5, 7, 0]) - some.pixels[1, 10:12, 14:16].mean()) <= 0.5


def test_copies_of_a_file_are_kept_once(tmp_path):
    some = pictures(5)
    copied = PixelSet(some.pixels, some.names, (), None, np.array([9, 4, 9, 7, 4], np.uint64))
    assert (kept(tmp_path, copied).pixels == some.pixels[[0, 1, 3]]).all()


def test_the_nearest_come_first_without_the_own_copy_of_a_training_picture():
    levels = np.array([0, 50, 60, 61, 200], np.uint8)
    kept_images = Neighbours(levels[:, None, None, None].repeat(4, 1).repeat(4, 2), "")
    for own, expected in ((True, [61, 50, 0]), (False, [60, 61, 50])):
        (closest,) = nearest(kept_images, kept_images.pixels[2:3], 3, in_training=[own])
        assert closest[:, 0, 0, 0].tolist() == expected
    (all_others,) = nearest(kept_images, kept_images.pixels[2:3], 99, in_training=[True])
    assert len(all_others) == 4


def test_the_nearest_by_any_distances_are_without_the_own_copy_too():
    kept_images = Neighbours(pictures(4).pixels, "")
    distances = np.array([3.0, 0.0, 2.0, 0.0])
    for own, expected in ((False, [1, 3, 2]), (True, [1, 2, 0])):
        image = kept_images.pixels[3]
        near = nearest_others(kept_images, distances, image, 3, in_training=own)
        assert (near == kept_images.pixels[expected]).all()


def test_the_rough_search_finds_what_the_exact_one_would():
    kept_images = Neighbours(pictures(300, channels=3).pixels, "")
    queries = pictures(20, channels=3).pixels
    result = nearest(kept_images, queries, 2, in_training=[False] * 20)
    for query, near in zip(queries, result, strict=True):
        far = np.square(kept_images.pixels.astype(int) - query.astype(int)).sum((1, 2, 3))
        assert (near == kept_images.pixels[np.argsort(far, kind="stable")[:2]]).all()


def test_what_is_no_use_is_passed_over(tmp_path):
    some, model = pictures(3), tmp_path / "model.safetensors"
    assert read_neighbours(model, some.digest) is None, "an old model has no such file"
    write_neighbours(tmp_path, some)
    assert read_neighbours(model, pictures(4).digest) is None, "of another training set"
    assert read_neighbours(model, "") is None
    assert read_neighbours(None, some.digest) is None, "a model that was never a file"
    path = tmp_path / NEIGHBOURS_FILE
    whole = path.read_bytes()
    for damaged in (b"", b"x" * 20, whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert read_neighbours(model, some.digest) is None

"""An image that is read twice is one image, or none."""

from dataclasses import replace
from zipfile import ZipFile

import pytest
from conftest import draw_disc
from feature_models import BY_FEATURES, fake_model

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.errors import ImageError
from adgan_cli.images.find import list_inputs
from adgan_cli.images.read import read_image
from adgan_cli.images.reader import Reader
from adgan_cli.scoring.reading import read_twice


@pytest.fixture
def model():
    return fake_model(large_size=32)


def read(model, listing, config=BY_FEATURES):
    items = iter(listing.items)
    return [
        (item.name, image, large)
        for item, image, large in read_twice(
            model, config, items, listing.root, expected=listing.count
        )
    ]


def test_images_come_in_both_sizes_and_in_order(model, discs):
    folder = discs(9, size=40)
    for name, image, large in read(model, list_inputs([folder])):
        assert (image.pixels == read_image(folder / name, 16, 1)).all()
        assert (large == read_image(folder / name, 32, 1)).all()


@pytest.mark.parametrize("case", ["by reconstruction", "network missing", "no large size"])
def test_they_are_read_once_where_that_is_enough(model, discs, case):
    config = PAPER_SEARCH if case == "by reconstruction" else BY_FEATURES
    if case == "network missing":
        features = replace(model.features, missing={"brightness": "its network is not here"})
        model = replace(model, features=features)
    elif case == "no large size":
        model = fake_model()
    assert [large for _, _, large in read(model, list_inputs([discs(3)]), config)] == [None] * 3


def test_images_in_an_archive_are_read_twice_too(model, discs, tmp_path):
    folder, archive = discs(3, size=40), tmp_path / "discs.zip"
    with ZipFile(archive, "w") as file:
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)
    for name, image, large in read(model, list_inputs([archive])):
        path = folder / name.rpartition("/")[2]
        assert (image.pixels == read_image(path, 16, 1)).all()
        assert (large == read_image(path, 32, 1)).all()


def test_what_cannot_be_read_has_its_reason(model, discs):
    folder = discs(3)
    (folder / "disc-001.png").write_bytes(b"no picture")
    images = [image for _, image, _ in read(model, list_inputs([folder]))]
    assert [isinstance(image, ImageError) for image in images] == [False, True, False]


@pytest.mark.parametrize("change", ["other", "gone"])
def test_an_image_that_changes_in_between_is_none(model, discs, monkeypatch, change):
    path, read_as_it_is = discs(1) / "disc-000.png", Reader.read

    def read_later(reader, items, root, *, expected):
        if reader.preprocessing.size == 32:  # begun once the first has been read
            draw_disc(path, 7) if change == "other" else path.unlink()
        yield from read_as_it_is(reader, items, root, expected=expected)

    monkeypatch.setattr(Reader, "read", read_later)
    ((_, image, large),) = read(model, list_inputs([path]))
    assert isinstance(image, ImageError) and large is None
    assert ("changed while" in str(image)) == (change == "other")

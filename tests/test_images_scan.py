"""What a folder holds, in counts that add up."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adgan_cli.images.cache import CacheConfig
from adgan_cli.images.find import find_inputs
from adgan_cli.images.read import DecodedImage, Preprocessing
from adgan_cli.images.reader import Reader
from adgan_cli.images.scan import Scan, scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine files that are pictures by name: seven readable, one of them twice, two not."""
    root = tmp_path / "mixed"
    root.mkdir()
    for index in range(3):
        Image.new("RGB", (20, 10), (index, 0, 0)).save(root / f"{index}.png")
    Image.new("L", (7, 7), 5).save(root / "grey.jpg")
    Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save(root / "clear.png")
    Image.fromarray(np.array([[0, 4095]], np.uint16)).save(root / "deep.png")
    (root / "again.png").write_bytes((root / "1.png").read_bytes())
    (root / "empty.png").write_bytes(b"")
    (root / "torn.jpg").write_bytes((root / "grey.jpg").read_bytes()[:200])
    return root


def scanned(folder: Path, cache: CacheConfig | None = None) -> Scan:
    return scan(find_inputs([folder]), Reader(Preprocessing(16, 3), 2, cache))


def test_counts_add_up(folder):
    counts = scanned(folder)
    assert (counts.total, counts.readable, len(counts.unreadable)) == (9, 7, 2)
    for table in (counts.formats, counts.modes, counts.sizes):
        assert sum(table.values()) == counts.readable
    assert counts.formats == {"PNG": 6, "JPEG": 1}
    assert counts.modes == {"RGB": 4, "L": 1, "RGBA+white+clear": 1, "I;16[0..4095]": 1}
    assert counts.sizes == {(20, 10): 5, (7, 7): 1, (2, 1): 1}
    assert counts.ranges == (("I;16", 0, 4095),)
    assert [one.kind for one in counts.value_ranges] == ["I;16"]


def test_blank_pictures_are_counted(folder):
    counts = scanned(folder)
    assert (counts.one_coloured, counts.clear) == (7, 1)
    dropped = scan(find_inputs([folder]), Reader(Preprocessing(16, 3, alpha="drop"), 2))
    assert (dropped.one_coloured, dropped.clear) == (7, 0)


def test_files_that_are_no_pictures_are_counted_by_kind(folder):
    for name in (
        "a.txt",
        "b.TXT",
        "c.tar.gz",
        "README",
        "frame.000123",
        "sub/d.txt",
        ".hidden.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no picture at all, to be passed over")
    assert scanned(folder).passed_over == {".txt": 3, "": 2, ".gz": 1}


def test_ranges_by_hand_are_kept(folder):
    ranges = (("I;16", 0.0, 1000.0),)
    counts = scan(find_inputs([folder]), Reader(Preprocessing(16, 3, ranges=ranges), 2))
    assert (counts.ranges, counts.value_ranges) == (ranges, ())
    assert counts.modes["I;16[0..1000]+clip"] == 1


def test_unreadable_files_have_their_reasons(folder):
    reasons = dict(scanned(folder).unreadable)
    assert reasons["empty.png"] == "empty file"
    assert reasons["torn.jpg"].startswith("truncated or damaged")


def test_exact_duplicates_are_named_together(folder):
    assert scanned(folder).duplicates == (("1.png", "again.png"),)


def test_what_cannot_be_listed_counts_as_found(folder):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs here")
    os.mkfifo(folder / "pipe.png")
    counts = scanned(folder)
    assert counts.total == counts.readable + len(counts.unreadable) == 10
    assert dict(counts.unreadable)["pipe.png"] == "not a regular file"


def test_training_finds_the_images_decoded(folder, tmp_path):
    cache = CacheConfig(tmp_path / "cache", 10**9)
    first = scanned(folder, cache)
    for path in folder.iterdir():  # the same size and time, other pixels: only a cache can tell
        stamp, size = path.stat(), path.stat().st_size
        path.write_bytes(bytes(size))
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    listing = find_inputs([folder])
    reader = Reader(Preprocessing(16, 3, ranges=first.ranges), 1, cache)
    images = [image for _, image in reader.read(listing.items, listing.root, expected=9)]
    assert sum(isinstance(image, DecodedImage) for image in images) == first.readable

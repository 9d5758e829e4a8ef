"""A thumbnail in front of sensor data is never taken for the picture."""

import struct

import numpy as np
import pytest
from image_samples import tiff
from PIL import Image

from adgan_cli.errors import ImageError
from adgan_cli.images.read import Preprocessing, decode_image

REDUCED, FULL, RGB, SENSOR, LINEAR = 1, 0, 2, 32803, 34892
RAW = "camera raw: develop it to 16-bit TIFF, PNG or JPEG first"
THUMBNAIL = "its first picture is a thumbnail of another in it; save that as a file of its own"


def directory(
    side: int, kind: int, photometric: int, *, order: str, start: int, big: bool, **more: int
) -> bytes:
    """An image of zeros, side x side, whose directory begins at `start`; pixels follow it.

    more: below=OFFSET of a sub-directory, behind=OFFSET of the next, dng=1.
    """
    bands = 3 if photometric == RGB else 1
    tags = {
        254: kind,
        256: side,
        257: side,
        258: 8,
        259: 1,
        262: photometric,
        277: bands,
        278: side,
    }
    tags |= {330: more["below"]} if "below" in more else {}
    tags |= {50706: 0x00000401} if "dng" in more else {}
    offset_code, entry, head = ("Q", "HHQQ", "Q") if big else ("I", "HHII", "H")
    size = struct.calcsize(order + head) + (len(tags) + 2) * struct.calcsize(order + entry)
    pixels = start + size + struct.calcsize(order + offset_code)
    tags |= {273: pixels, 279: side * side * bands}
    kinds = {330: 13, 50706: 4}
    out = struct.pack(order + head, len(tags))
    for tag, value in sorted(tags.items()):
        out += struct.pack(order + entry, tag, kinds.get(tag, 4), 1, value)
    return (
        out + struct.pack(order + offset_code, more.get("behind", 0)) + bytes(side * side * bands)
    )


def raw(first: dict, second: dict, *, order: str = "<", link: str = "below", big: bool = False):
    """A TIFF of two image_of, one below or behind the other."""
    start = 16 if big else 8
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    shared = {"order": order, "big": big}
    length = len(directory(**first, **shared, start=start, **{link: 0}))
    whole = directory(**first, **shared, start=start, **{link: start + length})
    return mark + head + whole + directory(**second, **shared, start=start + length)


def image_of(side: int, kind: int, photometric: int = RGB, **more: int) -> dict:
    return {"side": side, "kind": kind, "photometric": photometric, **more}


def reason(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        decode_image(path, Preprocessing(8, 3))
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.nef", "a.tif", "a"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [SENSOR, LINEAR])
def test_sensor_data_below_a_thumbnail_are_camera_raw_whatever_the_name(
    tmp_path, name, order, photometric
):
    content = raw(image_of(6, REDUCED), image_of(32, FULL, photometric), order=order)
    assert reason(tmp_path / name, content) == RAW


def test_sensor_data_behind_a_thumbnail_or_first_or_of_a_large_file_are_camera_raw(tmp_path):
    path = tmp_path / "a"
    thumbnail, sensor = image_of(6, REDUCED), image_of(32, FULL, SENSOR)
    assert reason(path, raw(thumbnail, sensor, link="behind")) == RAW
    assert reason(path, raw(sensor, thumbnail, link="behind")) == RAW
    assert reason(path, raw(thumbnail, sensor, big=True)) == RAW


def test_a_dng_is_known_by_its_version_and_a_cr2_by_its_mark(tmp_path):
    assert reason(tmp_path / "a", raw(image_of(6, FULL, dng=1), image_of(32, FULL))) == RAW
    plain = tiff(np.zeros((4, 4, 3), np.uint8), 2)
    canon = b"II*\0\x10\0\0\0CR\2\0" + plain[8:]
    assert reason(tmp_path / "a", canon) == RAW


@pytest.mark.parametrize("link", ["below", "behind"])
def test_a_thumbnail_in_front_of_a_larger_picture_is_refused(tmp_path, link):
    content = raw(image_of(6, REDUCED), image_of(32, FULL), link=link)
    assert reason(tmp_path / "a", content) == THUMBNAIL


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("link", ["below", "behind"])
def test_smaller_versions_behind_the_picture_do_no_harm(tmp_path, link, big):
    (tmp_path / "a").write_bytes(raw(image_of(32, FULL), image_of(6, REDUCED), link=link, big=big))
    assert decode_image(tmp_path / "a", Preprocessing(8, 3)).width == 32


def test_a_lone_picture_that_calls_itself_a_smaller_version_is_read(tmp_path):
    (tmp_path / "a").write_bytes(tiff(np.zeros((4, 4, 3), np.uint8), 2, tags={254: (1,)}))
    assert decode_image(tmp_path / "a", Preprocessing(8, 3)).mode == "RGB"


def test_a_directory_that_leads_back_to_itself_ends(tmp_path):
    first = {**image_of(6, REDUCED), "order": "<", "big": False, "start": 8}
    for link in ("behind", "below"):
        (tmp_path / "a").write_bytes(b"II*\0\x08\0\0\0" + directory(**first, **{link: 8}))
        assert decode_image(tmp_path / "a", Preprocessing(8, 3)).width == 6


@pytest.mark.parametrize(
    "header",
    [
        b"IIU\0\x18\0\0\0",
        b"IIRO\x08\0\0\0",
        b"IIRS\x08\0\0\0",
        b"MMOR\0\0\0\x08",
        b"FUJIFILMCCD-RAW 0201",
        b"FOVb\0\0\2\0",
        b"\0MRM\0\0\0\0",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        b"II\x1a\0\0\0HEAPCCDR\2\0\1\0",
    ],
)
def test_other_makers_raw_files_have_the_same_reason(tmp_path, header):
    assert reason(tmp_path / "a", header + bytes(500)) == RAW


def test_every_page_of_an_ordinary_tiff_stays_a_page(tmp_path):
    pages = [Image.new("RGB", (30 + 9 * page, 40)) for page in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert decode_image(tmp_path / "a.tif", Preprocessing(8, 3)).mode == "RGB+frame1of3"

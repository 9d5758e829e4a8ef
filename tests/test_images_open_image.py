"""What is no picture is refused with a plain reason, quietly, and whatever it is."""

import hashlib
import io
import os
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from container_samples import image_ref
from image_samples import chunk
from PIL import Image

from adgan_cli.errors import ImageError
from adgan_cli.images.formats import formats_for
from adgan_cli.images.open_image import fingerprint, limit_pixels, open_image
from adgan_cli.images.refs import ImageRef


def reason(item) -> str:
    """Why an item cannot be opened and decoded."""
    with pytest.raises(ImageError) as caught:
        with open_image(item) as source, source.identify() as identified:
            identified.image.load()
    return str(caught.value)


def picture(path: Path) -> Path:
    Image.new("RGB", (16, 16)).save(path)
    return path


@pytest.mark.parametrize("as_found", [False, True], ids=["path", "found"])
def test_each_fault_has_its_plain_reason(tmp_path, as_found):
    def refused(name: str) -> str:
        path = tmp_path / name
        return reason(image_ref(path) if as_found else path)

    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("hello, this is no picture at all\n" * 9)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "damaged.gif").write_bytes(b"GIF89a\1")
    (tmp_path / "float.tif").write_bytes(b"II*\0" + b"\xff" * 99)
    assert refused("empty.png") == "empty file"
    assert refused("text.jpg") == "not a picture Pillow can read"
    assert refused("folder.jpg") == "a folder, not a file"
    assert refused("gone.png") == "vanished"
    assert refused("text.jpg/below.png") == "vanished"
    assert refused("damaged.gif").startswith("truncated or damaged: ")
    assert refused("float.tif") == "truncated, damaged, or a kind of TIFF that Pillow cannot read"


@pytest.mark.skipif(sys.platform == "win32", reason="has neither")
@pytest.mark.parametrize("as_found", [False, True], ids=["path", "found"])
def test_links_to_nowhere_and_pipes_are_refused_at_once(tmp_path, as_found):
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    for name, expected in (("link.png", "broken link"), ("pipe.png", "not a regular file")):
        path = tmp_path / name
        assert reason(image_ref(path) if as_found else path) == expected


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_one_may_not_read_says_so(tmp_path):
    path = picture(tmp_path / "a.png")
    path.chmod(0)
    assert reason(path) == "permission denied"


@pytest.mark.parametrize("number", [1, 13])  # EPERM, EACCES
def test_refusals_of_the_system_are_permission_denied(tmp_path, monkeypatch, number):
    def refuse(path):
        raise PermissionError(number, "said differently everywhere", path)

    monkeypatch.setattr(os, "stat", refuse)
    assert reason(tmp_path / "a.png") == "permission denied"


def test_an_error_of_the_disk_keeps_its_words(tmp_path):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read(size)

    content = picture(tmp_path / "a.png").read_bytes()
    container: Any = SimpleNamespace(open=lambda key: Failing(content))
    assert reason(ImageRef(container, "a.png", "a.png")) == "Input/output error"


def test_heic_and_fits_come_with_the_remedy(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =                    T".ljust(2880))
    assert reason(tmp_path / "a.fits") == "FITS frame: convert it to 16-bit TIFF or PNG first"
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    message = reason(tmp_path / "phone.heic")
    assert message == "HEIC picture: install adgan[heif] to read it" or "damaged" in message


def test_a_damaged_heic_is_called_damaged_where_it_could_be_read(tmp_path, monkeypatch):
    formats_for("a.heic")  # loads the plugins
    monkeypatch.setitem(Image.OPEN, "HEIF", Image.OPEN.get("HEIF", (None, lambda prefix: False)))
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    assert "damaged" in reason(tmp_path / "phone.heic")


def test_libtiff_writes_nothing_on_standard_error(tmp_path, capfd):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tif", compression="tiff_lzw")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    for at in range(500, len(content) - 500, 100):
        content[at] ^= 0x55
    (tmp_path / "a.tif").write_bytes(content)
    assert reason(tmp_path / "a.tif").startswith("truncated or damaged: ")
    if sys.platform != "win32":
        assert capfd.readouterr().err == ""


def test_an_eps_file_never_starts_an_interpreter(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert reason(tmp_path / "a.jpg") == "not a picture Pillow can read"


def test_a_decompression_bomb_is_refused_unopened(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b""))
    (tmp_path / "bomb.png").write_bytes(content)
    assert reason(tmp_path / "bomb.png") == (
        "larger than 179 megapixels: suspected decompression bomb; --max-pixels sets the limit"
    )


def test_the_limit_on_pixels_is_what_it_is_set_to(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    path = picture(tmp_path / "a.png")
    limit_pixels(255)
    assert reason(path).startswith("larger than 0.000255 megapixels: ")
    limit_pixels(256)
    with open_image(path) as source, source.identify() as identified:
        assert identified.image.size == (16, 16)


def test_reasons_have_neither_paths_nor_lines(tmp_path):
    for name in ("a.png", "a.jpg", "a.tif", "a.gif", "a.bmp", "a.webp"):
        whole = picture(tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        message = reason(tmp_path / name)
        assert str(tmp_path) not in message and "\n" not in message and len(message) < 150


def test_a_large_picture_below_the_limit_gives_no_warning_and_pillow_warns_everybody_else(
    tmp_path, monkeypatch
):
    path = picture(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with open_image(path) as source, source.identify() as identified:
        identified.image.load()
    assert Image.MAX_IMAGE_PIXELS == 200
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(path)


def test_no_warning_escapes_from_many_threads_and_the_filters_are_as_before(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    before = list(warnings.filters)

    def read(_: int) -> bool:
        with open_image(path) as source, source.identify() as identified:
            return identified.image.size == (16, 16)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(400)))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before


@pytest.mark.parametrize("size", [1, 2**18 - 1, 2**18, 3 * 2**18 + 7])
def test_the_fingerprint_is_that_of_all_bytes_and_moves_nothing(size):
    content = np.random.default_rng(size).bytes(size)
    file = io.BytesIO(content)
    file.seek(size // 2)
    assert fingerprint(file) == hashlib.blake2b(content, digest_size=8).digest()
    assert file.tell() == size // 2


def test_a_fingerprint_never_holds_the_whole_file():
    class Careful(io.BytesIO):
        def read(self, size=-1):
            assert 0 < size <= 2**20
            return super().read(size)

    assert len(fingerprint(Careful(bytes(2**22)))) == 8

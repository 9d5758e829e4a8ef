"""Databases read by their pages hold what the library says, and damage stays an error."""

import random
import struct
from pathlib import Path

import pytest

from adgan_cli.images.lmdb_pages import DamagedPagesError, LmdbPages, open_pages

lmdb = pytest.importorskip("lmdb")


def write(folder: Path, content: dict[bytes, bytes], *, removed: int = 0) -> Path:
    """Write a database with the library, and take every `removed`-th pair out again."""
    with lmdb.open(str(folder), map_size=2**25) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in content.items():
                transaction.put(key, value)
        with environment.begin(write=True) as transaction:
            for key in list(content)[::removed] if removed else []:
                transaction.delete(key)
                del content[key]
    return folder / "data.mdb"


def some(count: int, seed: int = 0) -> dict[bytes, bytes]:
    rng = random.Random(seed)
    return {
        rng.randbytes(rng.choice([1, 5, 40, 511])): rng.randbytes(
            rng.choice([0, 1, 200, 1990, 2050, 4080, 4081, 9000])
        )
        for _ in range(count)
    }


@pytest.mark.parametrize(("count", "removed"), [(0, 0), (1, 0), (2, 2), (60, 0), (1500, 3)])
def test_all_that_was_written_is_there_in_the_order_of_the_bytes(tmp_path, count, removed):
    content = some(count)
    pages = open_pages(write(tmp_path, content, removed=removed))
    assert list(pages.keys()) == sorted(content)
    assert {key: pages.get(key) for key in content} == content
    for key in (b"", b"\0", b"\xff" * 511, b"k" * 600, *some(20, seed=1)):
        assert pages.get(key) == content.get(key)


def test_the_latest_transaction_counts(tmp_path):
    for value in (b"first", b"second", b"third"):
        file = write(tmp_path, {b"a": value})
        assert open_pages(file).get(b"a") == value


@pytest.mark.parametrize("flag", [0x02, 0x04, 0x08])
def test_duplicates_and_keys_in_other_orders_are_refused(tmp_path, flag):
    file = write(tmp_path, {b"a": b"1"})
    raw = bytearray(file.read_bytes())
    for page in range(2):
        raw[page * 4096 + 16 + 24 + 48 + 4] = flag
    file.write_bytes(raw)
    with pytest.raises(DamagedPagesError, match="several values a key, or keys in an order"):
        open_pages(file)


def test_a_database_within_is_no_value(tmp_path):
    with lmdb.open(str(tmp_path), map_size=2**20, max_dbs=1) as environment:
        environment.open_db(b"inner")
    pages = open_pages(tmp_path / "data.mdb")
    assert list(pages.keys()) == [b"inner"]
    with pytest.raises(DamagedPagesError, match="a database of its own"):
        pages.get(b"inner")


@pytest.fixture
def pages(tmp_path) -> LmdbPages:
    """A database of four levels."""
    content = {b"%04d" % n * 50: b"v" * 1500 for n in range(600)} | {b"large": bytes(9000)}
    pages = open_pages(write(tmp_path, content))
    assert pages.depth == 4
    return pages


def set_bytes(pages: LmdbPages, offset: int, data: bytes) -> None:
    with open(pages.path, "r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("page", [0, 2**20, 2**47 - 1])
def test_a_page_that_is_not_there_is_never_followed(pages, page):
    (start,) = struct.unpack_from("<H", pages.path.read_bytes(), pages.root * 4096 + 16)
    set_bytes(pages, pages.root * 4096 + start, page.to_bytes(6, "little"))
    with pytest.raises(DamagedPagesError, match=f"^page {page} of "):
        list(pages.keys())
    with pytest.raises(DamagedPagesError, match=f"^page {page} of "):
        pages.get(b"0000" * 50)
    assert pages.get(b"0599" * 50) == b"v" * 1500


def test_a_circle_of_pages_ends(pages):
    (start,) = struct.unpack_from("<H", pages.path.read_bytes(), pages.root * 4096 + 16)
    set_bytes(pages, pages.root * 4096 + start, pages.root.to_bytes(6, "little"))
    with pytest.raises(DamagedPagesError, match=f"page {pages.root} is not what it should be"):
        list(pages.keys())
    (second,) = struct.unpack_from("<H", pages.path.read_bytes(), pages.root * 4096 + 18)
    other = pages.path.read_bytes()[pages.root * 4096 + second :][:6]
    set_bytes(pages, pages.root * 4096 + start, other)
    with pytest.raises(DamagedPagesError, match="keys out of order"):
        list(pages.keys())


def test_a_file_cut_short_while_it_is_read_is_an_error(pages):
    with open(pages.path, "r+b") as file:
        file.truncate(pages.root * 4096 + 100)
    with pytest.raises(DamagedPagesError, match="behind the end of the file"):
        pages.get(b"large")

"""Archives and databases: every member whole, and damage is distinguished from what is sound."""

import os
import random
import stat
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from container_samples import make_folder, make_lmdb, make_tar, make_zip, tar_member

from adgan_cli.errors import ConfigError, ImageError
from adgan_cli.images import archives
from adgan_cli.images.archives import LmdbDatabase, TarArchive, ZipArchive, open_container
from adgan_cli.images.refs import Folder


@pytest.mark.parametrize(
    ("make", "name", "kind"),
    [
        (make_folder, "folder", Folder),
        (make_folder, "a.zip", Folder),
        (make_folder, "a.tar.gz", Folder),
        (make_zip, "set.zip", ZipArchive),
        (make_zip, "A.ZIP", ZipArchive),
        (make_tar, "set.tar", TarArchive),
        (make_tar, "a.Tar", TarArchive),
        (make_lmdb, "set_lmdb", LmdbDatabase),
        (Path.touch, "a.png", type(None)),
        (Path.exists, "nowhere.zip", type(None)),
    ],
)
def test_a_source_is_known_by_what_it_is(tmp_path, make, name, kind):
    make(tmp_path / name)
    assert type(open_container(tmp_path / name)) is kind


@pytest.mark.parametrize(
    "name", ["a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.7z", "a.RAR", "a.gz", "a.tar.zst"]
)
def test_archives_that_cannot_be_read_in_place_are_refused_with_the_remedy(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=f"{name} cannot be read in place; unpack it, or"):
        open_container(tmp_path / name)


# zip


@pytest.mark.parametrize("packed", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_every_way_of_packing_that_python_knows_is_read(tmp_path, packed):
    data = random.Random(1).randbytes(70_000) + bytes(300_000)
    path = make_zip(tmp_path / "a.zip", {"a.png": data}, getattr(zipfile, packed))
    assert ZipArchive(path).open("a.png").read() == data


def test_of_zip_members_with_one_name_the_last_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"new")
    opened = ZipArchive(tmp_path / "a.zip")
    assert opened.names() == ["a.png"]
    assert opened.open("a.png").read() == b"new"


def test_zip_folders_and_links_are_no_members_and_names_are_made_normal(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"a.png")
        archive.writestr("sub/", b"")
        for name in ("./sub//b.png", "/a.png", "sub.png", "../up.png"):
            archive.writestr(name, name)
    opened = ZipArchive(tmp_path / "a.zip")
    assert opened.names() == ["../up.png", "a.png", "sub/b.png", "sub.png"]
    assert opened.open("sub/b.png").read() == b"./sub//b.png"


def test_a_member_without_a_name_does_no_harm(tmp_path):
    path = damaged(make_zip(tmp_path / "a.zip", {"a.png": b"1"}), b"a.png", b"\0.png")
    assert ZipArchive(path).names() == ["."]


def damaged(path: Path, old: bytes, new: bytes, *, every: bool = True) -> Path:
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new, -1 if every else 1))
    return path


def test_an_encrypted_member_says_so(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": b"secret"})
    # the flags' lowest bit, in the member's own header and in the directory
    damaged(path, b"PK\3\4\x14\0\0\0", b"PK\3\4\x14\0\1\0")
    damaged(path, b"\x14\0\0\0\x08\0", b"\x14\0\1\0\x08\0")
    opened = ZipArchive(path)
    for read in (opened.open, lambda key: opened.header(key, 4)):
        with pytest.raises(ImageError, match="^encrypted$"):
            read("a.png")


def test_a_member_packed_in_a_way_python_lacks_says_so(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": b"deflate64"})
    damaged(path, b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x09\0")
    with pytest.raises(ImageError, match=r"packed in a way Python cannot read \(method 9\)"):
        ZipArchive(path).open("a.png")


@pytest.mark.parametrize("packed", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_a_damaged_member_is_told_from_its_sound_neighbour(tmp_path, packed):
    data = random.Random(2).randbytes(5000)
    content = {"a.png": data, "b.png": data[::-1]}
    path = make_zip(tmp_path / "a.zip", content, getattr(zipfile, packed))
    raw = bytearray(path.read_bytes())
    raw[500:520] = bytes(20)
    path.write_bytes(raw)
    opened = ZipArchive(path)
    with pytest.raises(ImageError, match="^damaged in its archive: "):
        opened.open("a.png")
    assert opened.open("b.png").read() == data[::-1]


def test_a_member_cut_out_of_the_middle_is_an_image_error(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": bytes(100), "b.png": b"b"}, zipfile.ZIP_STORED)
    damaged(path, b"PK\3\4", b"PK\3\5", every=False)
    with pytest.raises(ImageError, match="damaged in its archive: Bad magic number"):
        ZipArchive(path).open("a.png")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_member_that_claims_too_much_is_not_unpacked(tmp_path, monkeypatch, make):
    opened = open_container(make(tmp_path / ("a.zip" if make is make_zip else "a.tar")))
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 5999)
    assert opened.open("a.png").read() == b"first"
    with pytest.raises(ImageError, match="says it holds 0.0 GiB"):
        opened.open("sub/b.png")


def test_a_member_cannot_yield_more_than_it_claims(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": bytes(10**6)}, zipfile.ZIP_BZIP2)
    damaged(path, struct.pack("<L", 10**6), struct.pack("<L", 1000))
    with pytest.raises(ImageError, match="Bad CRC"):
        ZipArchive(path).open("a.png")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize(
    "content", [b"", b"no archive at all", b"PK\3\4" + bytes(600), b"x" * 5000]
)
def test_what_is_no_archive_is_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name} is not an? .* archive, or is damaged: "):
        open_container(tmp_path / name)


def test_an_archive_that_may_not_be_read_is_refused_by_name(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "a.zip")

    def refuse(*args, **options):  # chmod would not stop root, who runs many a test
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(archives, "ZipFile", refuse)
    with pytest.raises(ConfigError, match="a.zip .*: Permission denied"):
        open_container(path)


# tar


@pytest.mark.parametrize("format", ["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"])
def test_every_format_of_tar_is_read(tmp_path, format):
    content = {"./a.png": b"1", "l\xe4nger/" + "n" * 90 + "/b.png": b"22" * 600, "c.png": b""}
    with tarfile.open(tmp_path / "a.tar", "w", format=getattr(tarfile, format)) as archive:
        for name, data in content.items():
            archive.addfile(*tar_member(name, data))
    opened = TarArchive(tmp_path / "a.tar")
    assert opened.names() == ["a.png", "c.png", "l\xe4nger/" + "n" * 90 + "/b.png"]
    assert [opened.open(key).read() for key in opened.names()] == [b"1", b"", b"22" * 600]
    assert opened.header("a.png", 100) == b"1"
    assert opened.header(opened.names()[2], 3) == b"222"


def test_hard_links_lead_to_the_earlier_member_and_other_members_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(*tar_member("./a.png", b"first"))
        archive.addfile(*tar_member("again.png", type=tarfile.LNKTYPE, linkname="./a.png"))
        archive.addfile(*tar_member("thrice.png", type=tarfile.LNKTYPE, linkname="again.png"))
        archive.addfile(*tar_member("soft.png", type=tarfile.SYMTYPE, linkname="a.png"))
        archive.addfile(*tar_member("pipe.png", type=tarfile.FIFOTYPE))
        archive.addfile(*tar_member("sub.png", type=tarfile.DIRTYPE))
        archive.addfile(*tar_member("lost.png", type=tarfile.LNKTYPE, linkname="nowhere.png"))
        archive.addfile(*tar_member("b.png", b"old"))
        archive.addfile(*tar_member("b.png", b"new"))
    opened = TarArchive(tmp_path / "a.tar")
    assert opened.names() == ["a.png", "again.png", "b.png", "lost.png", "thrice.png"]
    assert opened.open("again.png").read() == opened.open("thrice.png").read() == b"first"
    assert opened.open("b.png").read() == b"new"
    with pytest.raises(ImageError, match="a hard link to something that is no file"):
        opened.open("lost.png")


def test_a_sparse_member_says_so_instead_of_wrong_bytes(tmp_path):
    member, _ = tar_member("a.png", bytes(512), type=tarfile.GNUTYPE_SPARSE)
    raw = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    raw[386:398], raw[398:410] = b"00000002000\0", b"00000001000\0"  # 512 bytes at 1024
    raw[483:495] = b"00000003000\0"
    raw[148:156] = b"%06o\0 " % (256 + sum(raw[:148]) + sum(raw[156:512]))
    (tmp_path / "a.tar").write_bytes(bytes(raw) + b"x" * 512 + bytes(1024))
    with pytest.raises(ImageError, match="sparse"):
        TarArchive(tmp_path / "a.tar").open("a.png")


def test_a_tar_whose_header_is_damaged_is_not_taken_for_a_shorter_one(tmp_path):
    path = make_tar(tmp_path / "a.tar", {"a.png": b"1", "b.png": b"2", "c.png": b"3"})
    damaged(path, b"b.png", b"B.png")  # the checksum no longer fits
    with pytest.raises(ConfigError, match="a.tar .* is damaged: no header .* at byte 1024; pack"):
        open_container(path)


@pytest.mark.parametrize("length", [1, 511, 513, 1500, 2000])
def test_a_tar_that_was_cut_short_is_refused(tmp_path, length):
    path = make_tar(tmp_path / "a.tar", {"a.png": bytes(range(1, 101)), "b.png": b"b" * 600})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ConfigError, match="a.tar is not an uncompressed tar archive, or is dam"):
        open_container(path)


def test_a_tar_with_a_member_of_negative_size_is_refused_and_does_not_loop(tmp_path):
    raw = b"".join(
        tar_member(name, size=size)[0].tobuf(tarfile.GNU_FORMAT)
        for name, size in (("a.png", 0), ("b.png", -1), ("c.png", -1024), ("d.png", 0))
    )
    (tmp_path / "a.tar").write_bytes(raw + bytes(1024))
    with pytest.raises(ConfigError, match="a.tar .* or is damaged: "):
        open_container(tmp_path / "a.tar")


def test_a_tar_without_its_closing_zeros_is_whole(tmp_path):
    path = make_tar(tmp_path / "a.tar", {"a.png": b"1" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    assert TarArchive(path).open("a.png").read() == b"1" * 512


def test_a_tar_cut_short_since_it_was_listed_is_an_image_error(tmp_path):
    opened = TarArchive(make_tar(tmp_path / "a.tar", {"a.png": b"1" * 600}))
    os.truncate(tmp_path / "a.tar", 800)
    with pytest.raises(ImageError, match="truncated in its archive"):
        opened.open("a.png")
    assert opened.header("a.png", 32) == b"1" * 32


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_compressed_tar_under_a_plain_name_is_refused(tmp_path, compression):
    path = make_tar(tmp_path / "a.tar", mode=f"w:{compression}")
    with pytest.raises(ConfigError, match="a.tar is not an uncompressed tar archive"):
        open_container(path)


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_mutated_archives_are_read_or_refused(tmp_path, make):
    name = "a.zip" if make is make_zip else "a.tar"
    whole = make(tmp_path / name, {"a.png": b"first", "sub/b.png": bytes(range(256))}).read_bytes()
    rng = random.Random(3)
    outcomes = set()
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        (tmp_path / name).write_bytes(raw[: rng.choice([len(raw), rng.randrange(len(raw))])])
        try:
            opened = open_container(tmp_path / name)
            for key in opened.names():
                opened.open(key).read()
            outcomes.add("read")
        except (ConfigError, ImageError) as error:
            outcomes.add(type(error).__name__)
    assert {"read", "ConfigError"} <= outcomes


# LMDB


def test_every_key_counts_and_comes_back_as_it_was(tmp_path):
    content = {"0a1b": b"1", "l\xe4nge": b"2", "\udcff\udc80": b"3", "a/b": b"4"}
    opened = LmdbDatabase(make_lmdb(tmp_path / "set_lmdb", content))
    assert sorted(opened.names()) == sorted(content)
    assert {key: opened.open(key).read() for key in opened.names()} == content


def test_a_database_may_be_opened_again_while_it_is_open(tmp_path):
    path = make_lmdb(tmp_path / "set_lmdb")
    first, second = LmdbDatabase(path), LmdbDatabase(path)
    assert first.open("a.png").read() == second.open("a.png").read() == b"first"
    del first
    assert second.open("a.png").read() == b"first"


def test_a_database_leaves_nothing_behind_in_its_folder(tmp_path):
    path = make_lmdb(tmp_path / "set_lmdb")
    (path / "lock.mdb").unlink()
    LmdbDatabase(path).open("a.png")
    assert os.listdir(path) == ["data.mdb"]


@pytest.mark.parametrize("content", [b"", b"no database", bytes(8192), b"x" * 100_000])
def test_what_is_no_database_is_refused_by_name(tmp_path, content):
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(ConfigError, match=f"cannot read the LMDB database .*{tmp_path.name}"):
        open_container(tmp_path)


def test_a_database_that_was_cut_short_is_refused_before_it_can_kill(tmp_path):
    path = make_lmdb(tmp_path / "set_lmdb", {f"{n}": bytes(5000) for n in range(50)})
    os.truncate(path / "data.mdb", 100_000)
    with pytest.raises(ConfigError, match="set_lmdb is cut short: 100000 bytes of"):
        open_container(path)


def test_a_database_is_read_without_its_library(tmp_path, monkeypatch):
    path = make_lmdb(tmp_path / "set_lmdb")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert open_container(path).open("a.png").read() == b"first"


def test_mutated_databases_are_read_or_refused(tmp_path):
    path = make_lmdb(tmp_path / "set_lmdb", {f"{n:03}.png": bytes(180 * n) for n in range(40)})
    whole = (path / "data.mdb").read_bytes()
    rng = random.Random(3)
    outcomes = set()
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(rng.randrange(1, 9)):  # mostly where pages have their numbers and tables
            raw[rng.randrange(len(raw)) // 4096 * 4096 + rng.randrange(300)] = rng.randrange(256)
        (path / "data.mdb").write_bytes(raw)
        try:
            opened = open_container(path)
            for key in opened.names():
                try:
                    opened.open(key).read()
                    outcomes.add("read")
                except (FileNotFoundError, ImageError) as error:
                    outcomes.add(type(error).__name__)
        except ConfigError:
            outcomes.add("ConfigError")
    assert {"read", "ConfigError", "ImageError"} <= outcomes

"""Which entries of folders and archives are pictures, in which order, and what is reported."""

import inspect
import os
import socket
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from container_samples import link, make_lmdb, mkfifo, pack, picture, touch

from adgan_cli.images.archives import open_container
from adgan_cli.images.formats import HEADER_BYTES, sniff
from adgan_cli.images.selection import Selection
from adgan_cli.images.walk import Walk, is_own_output, members

ALL = Selection()
FOLLOW = Selection(follow_links=True)


def walked(
    folder: Path, selection: Selection = ALL
) -> tuple[list[str], list[tuple[str, str]], int]:
    """The pictures' keys in a folder, the failures and the number of links left alone."""
    failures = []
    walk = Walk(folder, selection, lambda *failure: failures.append(failure))
    return list(walk), failures, walk.links


def names(folder: Path, selection: Selection = ALL) -> list[str]:
    return walked(folder, selection)[0]


def inside(path: Path, selection: Selection = ALL) -> tuple[list[str], list[tuple[str, str]]]:
    """The pictures among the members of an archive, and the failures."""
    failures = []
    archive, others = open_container(path), Counter()
    found = members(archive, selection, lambda *failure: failures.append(failure), others)
    return list(found), failures


# what counts


def test_pictures_are_found_recursively_in_any_case_and_sorted(tmp_path):
    touch(tmp_path, "b.JPG", "a/z.Png", "a/b/c.tiff", "C.webp", "a.gif", "B.bmp")
    assert names(tmp_path) == ["B.bmp", "C.webp", "a/b/c.tiff", "a/z.Png", "a.gif", "b.JPG"]


def test_the_order_is_the_same_whatever_order_the_files_were_made_in(tmp_path):
    written = [f"{n}.png" for n in (10, 9, 1, 2)]
    touch(tmp_path / "one", *written)
    touch(tmp_path / "two", *reversed(written))
    assert names(tmp_path / "one") == names(tmp_path / "two") == sorted(written)


def test_folders_are_left_alone_where_they_are_not_wanted(tmp_path):
    touch(tmp_path, "a.png", "sub/b.png")
    assert names(tmp_path, Selection(recursive=False)) == ["a.png"]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path, ".hidden.png", ".cache/a.png", "._a.jpg", "seen.png")
    assert names(tmp_path) == ["seen.png"]


def test_small_and_deleted_copies_that_systems_keep_are_passed_over(tmp_path):
    touch(tmp_path / "set", "a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/b.jpg")
    touch(
        tmp_path / "set", "sub/c.jpg", "sub/@eaDir/c.jpg/T.jpg", "$RECYCLE.BIN/d.jpg", "@eaDir.jpg"
    )
    expected = ["@eaDir.jpg", "a.jpg", "sub/c.jpg"]
    assert names(tmp_path / "set") == expected
    for name in ("set.zip", "set.tar"):
        assert inside(pack(tmp_path / "set", tmp_path / name)) == (expected, [])
    assert names(tmp_path / "set" / "@eaDir") == ["a.jpg/SYNOPHOTO_THUMB_M.jpg"]  # asked for


def test_what_is_no_picture_is_counted_by_extension_wherever_it_lies(tmp_path):
    touch(tmp_path / "set", "a.jpg", ".hidden.txt", "excluded.txt", "@eaDir/a.txt")
    for name in ("b.TXT", "sub/c.txt", "d.pdf", "LICENSE", "frame.000001", "x." + "y" * 40):
        (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"text")
    selection = Selection(exclude=("excluded.txt",))
    walk = Walk(tmp_path / "set", selection, lambda *failure: None)
    assert list(walk) == ["a.jpg"]
    expected = {".txt": 2, ".pdf": 1, "": 3}
    assert walk.passed_over == expected
    others = Counter()
    archive = open_container(pack(tmp_path / "set", tmp_path / "set.zip"))
    assert list(members(archive, selection, lambda *failure: None, others)) == ["a.jpg"]
    assert others == expected


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "PPM", "WEBP"])
def test_a_picture_without_extension_is_found_by_its_content(tmp_path, format):
    picture(tmp_path / "plain", format=format)
    assert names(tmp_path) == ["plain"]


@pytest.mark.parametrize(
    ("header", "announced"),
    [
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"P5 # grey\n", "PNM"),
        (b"SIMPLE  =                    T", "FITS"),
        (b"\0\0\0\x18ftypmp42", None),
        (b"BMW cars of 1975, a list", None),
        (b"P5 is a Pentium", None),
        (b"", None),
    ],
)
def test_signatures_name_the_format(header, announced):
    assert sniff(header[:HEADER_BYTES]) == announced


def test_other_files_are_passed_over_and_damaged_pictures_are_not(tmp_path):
    for name in ("notes.txt", "paper.pdf", "clip.mpg", "data.h5", "drawing.eps", "x.wmf", "README"):
        (tmp_path / name).write_bytes(b"%PDF and so on")
    (tmp_path / "damaged.jpg").write_bytes(b"not a picture")
    touch(tmp_path, "empty.PNG", "phone.heic")
    assert names(tmp_path) == ["damaged.jpg", "empty.PNG", "phone.heic"]


def test_a_folder_named_like_a_picture_is_descended_into(tmp_path):
    touch(tmp_path, "x.jpg/y.png")
    assert names(tmp_path) == ["x.jpg/y.png"]


def test_archives_inside_a_folder_stay_closed(tmp_path):
    pack(touch(tmp_path / "in", "a.png"), tmp_path / "set.zip")
    make_lmdb(tmp_path / "set_lmdb", {"a.png": b""})
    assert names(tmp_path) == ["in/a.png"]


@pytest.mark.parametrize("path", ["locked.png", "locked"])
def test_a_file_is_opened_only_if_its_name_says_nothing(tmp_path, monkeypatch, path):
    touch(tmp_path, path)

    def refuse(*args, **options):  # chmod would not stop root, who runs many a test
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    found, lost, _ = walked(tmp_path)
    if path == "locked.png":
        assert (found, lost) == ([path], [])  # reading it will say why it cannot be
    else:
        assert (found, lost) == ([], [(path, "Permission denied")])


def test_no_file_with_a_pictures_name_costs_a_call_of_its_own(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("one call for each of a million files")

    touch(tmp_path, "a.png", "sub/b.jpg")
    walk = Walk(tmp_path, ALL, refuse)
    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "lstat", refuse)
    assert list(walk) == ["a.png", "sub/b.jpg"]


def test_fifos_and_sockets_are_never_opened_and_missed_if_named_like_pictures(
    tmp_path, monkeypatch
):
    mkfifo(tmp_path / "pipe.png")
    mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        found, failures, _ = walked(tmp_path)
    why = "not a regular file"
    assert (found, failures) == ([], [("pipe.png", why), ("socket.png", why)])
    assert walked(tmp_path, Selection(exclude=("*.png",))) == ([], [], 0)


@pytest.mark.parametrize(
    "signs",
    [
        ["checkpoint.safetensors"],
        ["model.safetensors", "config.json"],
        ["ranking.csv", "summary.json"],
        ["history.csv"],
    ],
)
def test_own_outputs_below_the_folder_are_passed_over(tmp_path, signs):
    data = touch(tmp_path / "data", "a.png", "out/samples/grid.png")
    touch(data / "out", *signs)
    assert names(data) == ["a.png"]
    assert names(data / "out") == ["samples/grid.png"]  # asked for by name
    for path in (pack(data, tmp_path / "a.zip"), pack(data, tmp_path / "a.tar")):
        assert inside(path) == (["a.png"], [])


def test_a_lone_config_file_hides_nothing(tmp_path):
    touch(tmp_path, "sub/config.json", "sub/a.png")
    assert names(tmp_path) == ["sub/a.png"]
    assert not is_own_output({"config.json", "summary.json", "history.csv"})


def test_folders_deeper_than_python_may_recurse_are_walked(tmp_path):
    touch(tmp_path.joinpath(*["d"] * 150), "a.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = names(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert found == ["d/" * 150 + "a.png"]


def test_an_excluded_folder_is_not_entered_and_an_excluded_file_not_opened(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "secret/b.png", "c")
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "secret":
            raise AssertionError("entered")
        return scandir(folder)

    def no_open(*args, **options):
        raise AssertionError("opened")

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr("builtins.open", no_open)
    assert names(tmp_path, Selection(exclude=("secret/", "/c"))) == ["a.png"]
    assert names(tmp_path, Selection(include=("*.png",), exclude=("secret",))) == ["a.png"]


# links


def test_links_are_left_alone_and_those_that_would_matter_are_counted(tmp_path):
    elsewhere = touch(tmp_path / "elsewhere", "a.png", "notes.txt")
    root = touch(tmp_path / "root", "real.png")
    link(root / "file.png", elsewhere / "a.png")
    link(root / "folder", elsewhere)
    link(root / "loop", root)
    link(root / "gone.png", tmp_path / "nowhere")
    link(root / "notes.txt", elsewhere / "notes.txt")
    link(root / "gone.txt", tmp_path / "nowhere")
    link(root / ".hidden.png", elsewhere / "a.png")
    assert walked(root) == (["real.png"], [], 4)
    assert walked(root, Selection(recursive=False))[2] == 2
    assert walked(root, Selection(exclude=("file.png", "folder/")))[2] == 2
    assert walked(root, Selection(include=("real.png",), recursive=False))[2] == 0


def test_links_are_followed_if_asked(tmp_path):
    elsewhere = touch(tmp_path / "elsewhere", "a.png", "notes.txt")
    picture(elsewhere / "plain", format="PNG")
    root = tmp_path / "root"
    link(root / "file.png", elsewhere / "a.png")
    link(root / "folder", elsewhere)
    link(root / "notes.txt", elsewhere / "notes.txt")
    link(root / "plain", elsewhere / "plain")
    expected = ["file.png", "folder/a.png", "folder/plain", "plain"]
    assert walked(root, FOLLOW) == (expected, [], 0)


def test_cycles_and_diamonds_of_links_end_with_each_folder_entered_once(tmp_path):
    touch(tmp_path, "one/a.png", "two/b.png")
    link(tmp_path / "one" / "to-two", tmp_path / "two")
    link(tmp_path / "two" / "to-one", tmp_path / "one")
    link(tmp_path / "two" / "to-top", tmp_path)
    link(tmp_path / "zwei", tmp_path / "two")
    assert walked(tmp_path, FOLLOW) == (["one/a.png", "one/to-two/b.png"], [], 0)


def test_broken_links_named_like_pictures_are_missed_if_links_are_to_be_followed(tmp_path):
    link(tmp_path / "gone.png", tmp_path / "nowhere")
    link(tmp_path / "gone.txt", tmp_path / "nowhere")
    link(tmp_path / "itself.png", tmp_path / "itself.png")
    found, lost, _ = walked(tmp_path, FOLLOW)
    assert found == []
    assert lost == [("gone.png", "broken link"), ("itself.png", "broken link")]


def test_links_to_what_is_no_file_are_missed_if_named_like_pictures(tmp_path):
    mkfifo(tmp_path / "pipe")
    link(tmp_path / "root" / "a.png", tmp_path / "pipe")
    link(tmp_path / "root" / "a.txt", tmp_path / "pipe")
    assert walked(tmp_path / "root", FOLLOW) == ([], [("a.png", "not a regular file")], 0)


# archives


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("selection", [ALL, Selection(recursive=False)])
def test_an_archive_yields_what_its_folder_would_in_the_same_order(tmp_path, kind, selection):
    wanted = "a.png b.jpg cats/a.png cats/old/b.jpg cats/old/c.png dogs/a.jpg a/z.png a.gif B.bmp"
    folder = touch(tmp_path / "set", *wanted.split(), ".h/a.png", ".h.png", "n.txt")
    picture(folder / "sub" / "plain", format="PNG")
    found, failures = inside(pack(folder, tmp_path / f"set.{kind}"), selection)
    assert found == names(folder, selection)
    assert (len(found), failures) == (10 if selection.recursive else 4, [])


def test_what_a_mac_adds_to_archives_is_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.png", "__MACOSX/a.png", "__MACOSX/._a.png", "sub/__MACOSX/b.png"):
            archive.writestr(name, b"")
    assert inside(tmp_path / "a.zip") == (["a.png"], [])


def test_members_that_lead_out_of_the_archive_are_failures(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../up.png", "sub/../../up.jpg", "../up.txt", "sub/../a.png", "/b.png"):
            archive.writestr(name, b"")
    found, failures = inside(tmp_path / "a.zip")
    assert found == ["a.png", "b.png"]
    why = "its path leads out of the archive"
    assert failures == [("../up.jpg", why), ("../up.png", why)]


def test_a_member_that_cannot_be_looked_at_is_a_failure(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("plain", b"something")
        archive.writestr("named.png", b"something")
    raw = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(raw.replace(b"PK\3\4", b"PK\3\5"))
    found, [(name, reason)] = inside(tmp_path / "a.zip")
    assert found == ["named.png"]
    assert name == "plain" and reason.startswith("damaged in its archive")

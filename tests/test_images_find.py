"""What there is to read, under which names, and what is never lost silently."""

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from container_samples import link, lmdb_there, make_lmdb, mkfifo, pack, picture, touch

from adgan_cli.errors import ConfigError, NoImagesError
from adgan_cli.images.archives import TarArchive, ZipArchive
from adgan_cli.images.find import Listing, find_images, find_inputs, list_inputs, locator
from adgan_cli.images.refs import Folder, ImageRef
from adgan_cli.images.selection import Selection


def listed(listing: Listing) -> list[str]:
    return [item.name for item in listing.items]


# folders


@pytest.mark.parametrize(
    "name", [b'it\'s "quoted".png', b"two\nlines.png", "\U0001f600.png".encode(), b"latin-\xe9.png"]
)
def test_strange_names_are_found_and_kept(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    try:
        picture(path, format="PNG")
    except OSError:
        pytest.skip("this file system refuses such a name")
    assert list(find_images(tmp_path)) == [path]
    listing = find_inputs([tmp_path])
    assert listed(listing) == [os.fsdecode(name)]
    assert listing.items[0].file == path


def test_pictures_come_before_the_walk_is_over(tmp_path):
    touch(tmp_path, "a/first.png", "b/second.png")
    found = find_images(tmp_path)
    assert next(found) == tmp_path / "a" / "first.png"
    touch(tmp_path, "b/third.png")
    assert [path.name for path in found] == ["second.png", "third.png"]


def test_what_cannot_be_looked_at_is_reported_under_its_name(tmp_path, monkeypatch):
    touch(tmp_path, "a/in.png", "locked/out.png")
    scandir = os.scandir

    def refuse(folder):  # chmod would not stop root, who runs many a test
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    lost = []
    found = find_images(tmp_path, on_error=lambda path, reason: lost.append((path, reason)))
    assert list(found) == list(find_images(tmp_path)) == [tmp_path / "a" / "in.png"]
    assert lost == [(tmp_path / "locked", "Permission denied")]
    assert find_inputs([tmp_path]).failures == [("locked", "Permission denied")]
    assert find_inputs([tmp_path / "locked"]).failures == [(".", "Permission denied")]
    both = find_inputs([tmp_path / "locked", tmp_path / "a"])
    assert both.failures == [("locked", "Permission denied")]


def test_links_left_alone_are_counted_over_all_inputs(tmp_path):
    touch(tmp_path, "one/a.png", "two/a.png")
    for name in ("one/b.png", "one/folder", "two/b.png"):
        link(tmp_path / name, tmp_path / "two")
    assert find_inputs([tmp_path / "one", tmp_path / "two"]).links == 3
    followed = find_inputs([tmp_path / "one"], Selection(follow_links=True))
    assert (listed(followed), followed.links) == (["a.png", "b.png/a.png"], 0)


def test_links_given_as_paths_are_always_followed(tmp_path):
    elsewhere = touch(tmp_path / "elsewhere", "a.png")
    folder = link(tmp_path / "folder", elsewhere)
    file = link(tmp_path / "file.png", elsewhere / "a.png")
    assert listed(find_inputs([folder])) == ["a.png"]
    assert listed(find_inputs([folder, file])) == ["folder/a.png", "file.png"]
    archive = link(tmp_path / "link.zip", pack(elsewhere, tmp_path / "real.zip"))
    assert listed(find_inputs([archive])) == ["a.png"]


def test_patterns_are_matched_below_each_folder_given_and_not_on_files_given_by_name(tmp_path):
    touch(tmp_path, "one/a.png", "one/b.png", "two/a.png", "c.png")
    chosen = Selection(include=("/a.png",), exclude=("c.png",))
    paths = [tmp_path / "one", tmp_path / "two", tmp_path / "c.png"]
    assert listed(find_inputs(paths, chosen)) == ["one/a.png", "two/a.png", "c.png"]


# archives and databases


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_lists_what_its_folder_would_with_the_same_bytes(tmp_path, kind):
    folder = tmp_path / "set"
    for number, name in enumerate(["a.png", "a/z.png", "sub/b.gif", "B.bmp"]):
        picture(folder / name, compress_level=number)
    archive = pack(folder, tmp_path / f"set.{kind}")
    inside, outside = find_inputs([archive]), find_inputs([folder])
    assert listed(inside) == listed(outside)
    assert inside.root == archive
    assert [item.key for item in inside.items] == listed(inside)
    assert {type(item.container) for item in inside.items} <= {ZipArchive, TarArchive}
    for one, other in zip(inside.items, outside.items, strict=True):
        with one.open() as packed, other.open() as plain:
            assert packed.read() == plain.read()


def test_failures_in_an_archive_have_its_name_in_front_unless_it_is_the_root(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../up.png", b"")
    touch(tmp_path, "b.png")
    why = "its path leads out of the archive"
    assert find_inputs([tmp_path / "a.zip"]).failures == [("../up.png", why)]
    both = find_inputs([tmp_path / "a.zip", tmp_path / "b.png"])
    assert (listed(both), both.failures) == (["b.png"], [("a.zip/../up.png", why)])


def test_every_key_of_a_database_counts_in_its_order(tmp_path):
    keys = ("b", "a/z", "a.b", ".c", "a.txt")
    path = make_lmdb(tmp_path / "set_lmdb", {key: b"value of " + key.encode() for key in keys})
    listing = find_inputs([path], Selection(recursive=False))
    assert (listing.root, listed(listing)) == (path, [".c", "a.b", "a.txt", "a/z", "b"])
    assert listing.items[3].open().read() == b"value of a/z"
    assert listed(find_inputs([path], Selection(include=("a*",), exclude=("*.txt",)))) == [
        "a.b",
        "a/z",
    ]


def test_several_inputs_of_all_kinds_are_named_below_their_common_folder(tmp_path):
    folder = touch(tmp_path / "x" / "in", "a.png")
    paths = [
        pack(folder, tmp_path / "x" / "set.zip"),
        pack(folder, tmp_path / "x" / "set.tar"),
        make_lmdb(tmp_path / "x" / "sub" / "set_lmdb", {"key": b""}) if lmdb_there() else folder,
        folder,
        folder / "a.png",
    ]
    listing = find_inputs(paths)
    assert listing.root == tmp_path / "x"
    database = ["sub/set_lmdb/key"] if lmdb_there() else []
    assert listed(listing) == ["set.zip/a.png", "set.tar/a.png", *database, "in/a.png"]
    assert [item.key for item in listing.items[:2]] == ["a.png", "a.png"]


def test_an_archive_given_twice_is_read_once_and_is_its_own_root(tmp_path):
    path = pack(touch(tmp_path / "in", "a.png"), tmp_path / "set.zip")
    listing = find_inputs([path, path])
    assert (listing.root, listed(listing)) == (path, ["a.png"])


def test_a_damaged_or_compressed_archive_ends_the_listing(tmp_path):
    touch(tmp_path, "a.png", "bad.zip", "bad.tar.gz")
    for name in ("bad.zip", "bad.tar.gz"):
        with pytest.raises(ConfigError, match=name):
            find_inputs([tmp_path, tmp_path / name])


# paths


@pytest.mark.parametrize("call", [find_images, lambda folder: find_inputs([folder])])
def test_a_missing_folder_is_named_at_once(tmp_path, call):
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        call(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(ConfigError, match="is a file, not a folder; give the folder that holds"):
        find_images(picture(tmp_path / "a.png"))


def test_one_folder_is_its_own_root_and_its_names_are_its_keys(tmp_path):
    touch(tmp_path, "b.png", "sub/a.png")
    listing = find_inputs([tmp_path])
    expected = [ImageRef(Folder(tmp_path), name, name) for name in ("b.png", "sub/a.png")]
    assert listing == Listing(tmp_path, expected, [], 0)
    assert all(item.key is item.name for item in listing.items)  # a million times


def test_a_lone_file_counts_whatever_its_name_and_its_root_is_its_folder(tmp_path):
    path = tmp_path / ".odd.txt"
    path.touch()
    expected = ImageRef(Folder(tmp_path), ".odd.txt", ".odd.txt")
    assert find_inputs([path]) == Listing(tmp_path, [expected], [], 0)


def test_several_inputs_keep_their_order_under_the_deepest_common_folder(tmp_path):
    late = picture(tmp_path / "x" / "late" / "z.png")
    early = picture(tmp_path / "x" / "early" / "a.png")
    listing = find_inputs([late.parent, early])
    assert listing.root == tmp_path / "x"
    assert listed(listing) == ["late/z.png", "early/a.png"]
    assert [item.file for item in listing.items] == [late, early]


def test_a_file_given_twice_comes_once_and_first(tmp_path, monkeypatch):
    a, b = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    listing = find_inputs([b, tmp_path, Path("a.png"), Path("./b.png")])
    assert listing.root == tmp_path
    assert [item.file for item in listing.items] == [b, a]


def test_relative_paths_stay_relative(tmp_path, monkeypatch):
    touch(tmp_path, "sub/a.png")
    monkeypatch.chdir(tmp_path)
    listing = find_inputs(["sub"])
    assert listing == Listing(Path("sub"), [ImageRef(Folder(Path("sub")), "a.png", "a.png")], [], 0)
    assert listing.items[0].file == Path("sub/a.png")
    assert find_inputs([Path("sub/a.png")]).root == Path("sub")
    assert find_inputs([Path("sub/../sub/a.png")]).items[0].name == "a.png"
    assert listed(find_inputs([Path(".")])) == ["sub/a.png"]


def test_explicit_broken_links_and_fifos_are_kept_to_become_rows(tmp_path):
    gone = link(tmp_path / "gone.png", tmp_path / "nowhere")
    archive = link(tmp_path / "gone.zip", tmp_path / "nowhere")
    mkfifo(tmp_path / "pipe.png")
    assert listed(find_inputs([gone])) == ["gone.png"]
    assert listed(find_inputs([archive, tmp_path / "pipe.png"])) == ["gone.zip", "pipe.png"]


def test_no_path_at_all_is_refused():
    with pytest.raises(ConfigError, match="no path given"):
        find_inputs([])


def test_a_listing_without_a_picture_is_refused_where_one_is_needed(tmp_path):
    (tmp_path / "notes.txt").write_text("no pictures here")
    assert find_inputs([tmp_path]).count == 0
    with pytest.raises(
        NoImagesError, match=f"no pictures in .*{tmp_path.name}, but 1 .txt; give others"
    ):
        list_inputs([tmp_path])
    with pytest.raises(NoImagesError, match=r"the list of --files-from \(gone: does not exist\);"):
        list_inputs([], files_from=io.BytesIO(os.fsencode(tmp_path / "gone")))
    link(tmp_path / "link.png", tmp_path / "notes.txt")
    with pytest.raises(NoImagesError, match=r"\(symbolic links: 1, see --follow-links\)"):
        list_inputs([tmp_path])
    touch(tmp_path, "a.png")
    assert list_inputs([tmp_path]).count == 1


# lists of files


def from_list(listed: bytes | str, *paths: Path) -> Listing:
    stream = io.BytesIO(os.fsencode(listed) if isinstance(listed, str) else listed)
    return find_inputs(paths, files_from=stream)


def test_a_list_of_files_is_read_relative_to_the_current_folder(tmp_path, monkeypatch):
    touch(tmp_path, "x/b.png", "x/sub/a.txt", "x/sub/ ")
    monkeypatch.chdir(tmp_path)
    listing = from_list(f"x/sub/a.txt\r\n\n  \nx/b.png\n{tmp_path}/x/sub/a.txt")
    assert listing.root == tmp_path / "x"
    assert listed(listing) == ["sub/a.txt", "b.png"]
    assert [item.file for item in listing.items] == [Path("x/sub/a.txt"), Path("x/b.png")]
    assert listing.failures == []


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_a_list_with_nul_may_have_any_name(tmp_path, end):
    strange = [b"two\nlines.png", b" a.png\r", b"latin-\xe9.png"]
    try:
        for name in strange:
            (tmp_path / os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("this file system refuses such a name")
    lines = [os.path.join(os.fsencode(tmp_path), name) for name in strange]
    listing = from_list(b"\0".join(lines) + end)
    assert listed(listing) == [os.fsdecode(name) for name in strange]
    assert listing.items[0].open().close() is None


def test_listed_files_that_are_none_are_failures_and_the_rest_is_read(tmp_path):
    touch(tmp_path, "a.png", "b.png", "folder/c.png", "set.zip", "set.tar.gz")
    gone = link(tmp_path / "broken.png", tmp_path / "nowhere")
    mkfifo(tmp_path / "pipe.png")
    wanted = "a.png gone.png folder folder/ set.zip set.tar.gz b.png/x pipe.png b.png gone.png"
    lines = [f"{tmp_path}/{name}" for name in wanted.split()]
    listing = from_list("\n".join([*lines, str(gone)]))
    assert listing.root == tmp_path
    assert listed(listing) == ["a.png", "b.png"]
    other = "give it as a path of its own"
    assert listing.failures == [
        ("gone.png", "does not exist"),
        ("folder", f"a folder, not a picture; {other}"),
        ("set.zip", f"an archive, not a picture; {other}"),
        ("set.tar.gz", f"an archive, not a picture; {other}"),
        ("b.png/x", "does not exist"),
        ("pipe.png", "not a regular file"),
        ("broken.png", "broken link"),
    ]


def test_a_list_comes_after_the_paths_and_each_file_once(tmp_path):
    touch(tmp_path, "sub/a.png", "sub/b.png", "c.png")
    listing = from_list(f"{tmp_path}/c.png\n{tmp_path}/sub/a.png\n", tmp_path / "sub")
    assert listing.root == tmp_path
    assert listed(listing) == ["sub/a.png", "sub/b.png", "c.png"]


def test_an_empty_list_is_refused_unless_there_are_paths(tmp_path):
    touch(tmp_path, "a.png")
    with pytest.raises(ConfigError, match="--files-from lists no path"):
        from_list("\n\n")
    assert from_list("", tmp_path) == find_inputs([tmp_path])


def test_lists_as_windows_writes_them_are_read_or_refused(tmp_path):
    touch(tmp_path, "a.png")
    assert listed(from_list(b"\xef\xbb\xbf" + os.fsencode(tmp_path / "a.png"))) == ["a.png"]
    with pytest.raises(ConfigError, match="--files-from: the list is in UTF-16"):
        from_list("a.png".encode("utf-16"))


# back from a table


def same(found: ImageRef, other: ImageRef) -> bool:
    with found.open() as one, other.open() as two:
        return one.read() == two.read() and (found.name, found.file) == (other.name, other.file)


def test_the_locator_leads_from_every_name_back_to_its_picture(tmp_path):
    folder = tmp_path / "x" / "in"
    for number, name in enumerate(["a.png", "sub/b.png", "sub/deep.zip/c.png"]):
        picture(folder / name, compress_level=number)
    paths = [folder, pack(folder, tmp_path / "x/set.ZIP"), pack(folder, tmp_path / "x/y.tar")]
    if lmdb_there():
        paths.append(
            make_lmdb(tmp_path / "x" / "set_lmdb", {"key": b"1", "a/b": b"2", "a//b": b"3"})
        )
    for given in (paths, *([path] for path in paths)):
        listing = find_inputs(given)
        locate = locator(listing.root)
        assert all(same(locate(item.name), item) for item in listing.items)
        opened = {id(locate(item.name).container) for item in listing.items}
        assert len(opened) == len(given)  # each once


def test_what_is_gone_says_so_when_it_is_opened(tmp_path):
    folder = touch(tmp_path / "in", "a.png")
    archive = pack(folder, tmp_path / "set.zip")
    locate = locator(tmp_path)
    gone = ["b.png", "in/b.png", "no/b.png", "set.zip/b.png", "in/a.png/b", "", "a\0b", "\ud800"]
    for name in gone:
        found = locate(name)
        assert found.name == name
        with pytest.raises((OSError, Exception)) as raised:
            found.open()
        assert isinstance(raised.value, OSError) or name == ""
    archive.write_bytes(b"no longer an archive")
    archive.with_suffix(".tar").write_bytes(b"nor that")
    for found in (
        locator(tmp_path)("set.zip/a.png"),
        locator(archive)("a.png"),
        locator(tmp_path / "set.tar")("a.png"),
        locator(tmp_path / "nowhere")("a.png"),
    ):
        with pytest.raises(OSError):
            found.open()


def test_a_file_beside_a_database_is_told_from_a_key(tmp_path):
    path = make_lmdb(tmp_path / "set_lmdb", {"a.png": b"value"})
    touch(path, "b.png")
    listing = find_inputs([tmp_path])
    assert listed(listing) == ["set_lmdb/b.png"]
    locate = locator(tmp_path)
    assert locate("set_lmdb/b.png").file == path / "b.png"
    assert locate("set_lmdb/a.png").open().read() == b"value"


def test_a_found_picture_cannot_be_changed(tmp_path):
    [found] = find_inputs([touch(tmp_path, "a.png")]).items
    with pytest.raises(AttributeError):
        found.name = "b.png"


def test_a_million_pictures_fit_into_400_megabytes(tmp_path):
    count = 800
    touch(tmp_path, *(f"folder/IMG_{number:07d}.jpg" for number in range(count)))
    find_inputs([tmp_path])  # what is loaded once does not count
    for paths, most in (([tmp_path], 250), ([tmp_path / "folder"], 250), ([tmp_path] * 2, 350)):
        tracemalloc.start()
        listing = find_inputs(paths)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(listing.items) == count
        assert peak / count < most  # bytes

"""Which files count as pictures, in which order, and what is never lost silently."""

import inspect
import os
import socket
import sys
from pathlib import Path

import pytest
from PIL import Image

from adgan_cli.errors import ConfigError
from adgan_cli.images.find import Found, find_images, find_inputs
from adgan_cli.images.formats import HEADER_BYTES, sniff


def picture(path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path, **options)
    return path


def names(folder: Path, **options) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder, **options)]


def test_pictures_are_found_recursively_in_any_case_and_sorted(tmp_path):
    for name in ("b.JPG", "a/z.Png", "a/b/c.tiff", "C.webp", "a.gif", "B.bmp"):
        picture(tmp_path / name)
    assert names(tmp_path) == ["B.bmp", "C.webp", "a/b/c.tiff", "a/z.Png", "a.gif", "b.JPG"]


def test_the_order_is_the_same_whatever_order_the_files_were_made_in(tmp_path):
    listed = [f"{n}.png" for n in (10, 9, 1, 2)]
    for name in listed:
        picture(tmp_path / "one" / name)
    for name in reversed(listed):
        picture(tmp_path / "two" / name)
    assert names(tmp_path / "one") == names(tmp_path / "two") == sorted(listed)


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in (".hidden.png", ".cache/a.png", "._a.jpg", "seen.png"):
        picture(tmp_path / name)
    assert names(tmp_path) == ["seen.png"]


@pytest.mark.parametrize(
    ("format", "options"),
    [("JPEG", {}), ("PNG", {}), ("GIF", {}), ("TIFF", {}), ("BMP", {}), ("PPM", {}), ("WEBP", {})],
)
def test_a_picture_without_extension_is_found_by_its_content(tmp_path, format, options):
    picture(tmp_path / "plain", format=format, **options)
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
    (tmp_path / "empty.PNG").touch()
    (tmp_path / "phone.heic").touch()
    assert names(tmp_path) == ["damaged.jpg", "empty.PNG", "phone.heic"]


def test_a_folder_named_like_a_picture_is_descended_into(tmp_path):
    picture(tmp_path / "x.jpg" / "y.png")
    assert names(tmp_path) == ["x.jpg/y.png"]


def test_fifos_and_sockets_are_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        assert names(tmp_path) == []


def test_linked_files_are_followed_and_linked_folders_are_not(tmp_path):
    real = picture(tmp_path / "elsewhere" / "a.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.png").symlink_to(real)
    (root / "folder").symlink_to(real.parent)
    (root / "loop").symlink_to(root)
    assert names(root) == ["link.png"]


def test_a_broken_link_named_like_a_picture_is_reported(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    lost = []
    assert names(tmp_path, on_error=lambda path, reason: lost.append((path.name, reason))) == []
    assert lost == [("gone.png", "broken link")]


def test_a_folder_without_permission_is_reported_and_the_rest_is_found(tmp_path, monkeypatch):
    picture(tmp_path / "a" / "in.png")
    picture(tmp_path / "locked" / "out.png")
    scandir = os.scandir

    def refuse(folder):  # chmod would not stop root, who runs many a test
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    lost = []
    found = names(tmp_path, on_error=lambda path, reason: lost.append((path, reason)))
    assert found == ["a/in.png"]
    assert lost == [(tmp_path / "locked", "Permission denied")]
    assert names(tmp_path) == ["a/in.png"]


@pytest.mark.parametrize(
    "signs",
    [
        ["checkpoint.safetensors"],
        ["model.safetensors", "config.json"],
        ["ranking.csv", "summary.json"],
    ],
)
def test_own_outputs_below_the_folder_are_passed_over(tmp_path, signs):
    picture(tmp_path / "out" / "samples" / "grid.png")
    picture(tmp_path / "a.png")
    for sign in signs:
        (tmp_path / "out" / sign).touch()
    assert names(tmp_path) == ["a.png"]
    assert names(tmp_path / "out") == ["samples/grid.png"]  # asked for by name


def test_a_lone_config_file_hides_nothing(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "config.json").touch()
    picture(tmp_path / "sub" / "a.png")
    assert names(tmp_path) == ["sub/a.png"]


@pytest.mark.parametrize(
    "name",
    [b'it\'s "quoted".png', b"two\nlines.png", "\U0001f600.png".encode(), b"latin-\xe9.png"],
)
def test_strange_names_are_found_and_kept(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    try:
        picture(path, format="PNG")
    except OSError:
        pytest.skip("this file system refuses such a name")
    assert list(find_images(tmp_path)) == [path]
    assert find_inputs([tmp_path])[1] == [Found(path, os.fsdecode(name))]


def test_folders_deeper_than_python_may_recurse_are_walked(tmp_path):
    deep = tmp_path.joinpath(*["d"] * 150)
    picture(deep / "a.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = list(find_images(tmp_path))
    finally:
        sys.setrecursionlimit(limit)
    assert found == [deep / "a.png"]


@pytest.mark.parametrize("call", [find_images, lambda folder: find_inputs([folder])])
def test_a_missing_folder_is_named_at_once(tmp_path, call):
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        call(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(ConfigError, match="is a file, not a folder; give the folder that holds"):
        find_images(picture(tmp_path / "a.png"))


def test_one_folder_is_its_own_root(tmp_path):
    path = picture(tmp_path / "sub" / "a.png")
    assert find_inputs([tmp_path]) == (tmp_path, [Found(path, "sub/a.png")])


def test_a_lone_file_counts_whatever_its_name_and_its_root_is_its_folder(tmp_path):
    path = tmp_path / ".odd.txt"
    path.touch()
    assert find_inputs([path]) == (tmp_path, [Found(path, ".odd.txt")])


def test_several_inputs_keep_their_order_under_the_deepest_common_folder(tmp_path):
    late = picture(tmp_path / "x" / "late" / "z.png")
    early = picture(tmp_path / "x" / "early" / "a.png")
    root, found = find_inputs([late.parent, early])
    assert root == tmp_path / "x"
    assert found == [Found(late, "late/z.png"), Found(early, "early/a.png")]


def test_a_file_given_twice_comes_once_and_first(tmp_path, monkeypatch):
    a, b = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    root, found = find_inputs([b, tmp_path, Path("a.png"), Path("./b.png")])
    assert root == tmp_path
    assert found == [Found(b, "b.png"), Found(a, "a.png")]


def test_relative_paths_stay_relative(tmp_path, monkeypatch):
    picture(tmp_path / "sub" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert find_inputs([Path("sub")]) == (Path("sub"), [Found(Path("sub/a.png"), "a.png")])
    assert find_inputs([Path("sub/a.png")])[0] == Path("sub")


def test_an_explicit_broken_link_is_kept_to_become_a_row(tmp_path):
    link = tmp_path / "gone.png"
    link.symlink_to(tmp_path / "nowhere")
    assert find_inputs([link])[1] == [Found(link, "gone.png")]


def test_no_path_at_all_is_refused():
    with pytest.raises(ConfigError, match="no path given"):
        find_inputs([])

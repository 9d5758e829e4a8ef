"""Which pictures patterns choose, and which patterns are none."""

from pathlib import Path

import pytest
from container_samples import pack, touch

from adgan_cli.errors import ConfigError
from adgan_cli.images.find import find_images, find_inputs
from adgan_cli.images.selection import Patterns, Selection, expand_patterns

TREE = ["a.png", "b.jpg", "cats/a.png", "cats/old/b.jpg", "cats/old/c.png", "dogs/a.jpg"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.png"], [], ["a.png", "cats/a.png", "cats/old/c.png"]),
        (["*.PNG"], [], []),
        (["/*.png"], [], ["a.png"]),
        (["cats/"], [], ["cats/a.png", "cats/old/b.jpg", "cats/old/c.png"]),
        (["cats/*.png"], [], ["cats/a.png"]),
        (["cats/**/*.png"], [], ["cats/a.png", "cats/old/c.png"]),
        (["old"], [], ["cats/old/b.jpg", "cats/old/c.png"]),
        (["*.png", "dogs"], [], ["a.png", "cats/a.png", "cats/old/c.png", "dogs/a.jpg"]),
        (["*.png", "!/cats/**"], [], ["a.png"]),
        ([], ["*.png"], ["b.jpg", "cats/old/b.jpg", "dogs/a.jpg"]),
        ([], ["old/"], ["a.png", "b.jpg", "cats/a.png", "dogs/a.jpg"]),
        ([], ["a.png/"], TREE),
        (["*.png"], ["old"], ["a.png", "cats/a.png"]),
        ([], ["*", "!*.png"], ["a.png"]),
        ([], ["cats/old/", "!cats/old/c.png"], ["a.png", "b.jpg", "cats/a.png", "dogs/a.jpg"]),
        ([], ["a.*", "!dogs/a.*"], ["b.jpg", "cats/old/b.jpg", "cats/old/c.png", "dogs/a.jpg"]),
        (["[ab].???"], [], ["a.png", "b.jpg", "cats/a.png", "cats/old/b.jpg", "dogs/a.jpg"]),
    ],
)
def test_patterns_choose_as_in_gitignore_in_folders_and_archives_alike(
    tmp_path, include, exclude, expected
):
    folder = touch(tmp_path / "set", *TREE)
    chosen = Selection(include=tuple(include), exclude=tuple(exclude))
    assert list(find_images(folder, chosen)) == [folder / name for name in expected]
    for path in (pack(folder, tmp_path / "a.zip"), pack(folder, tmp_path / "a.tar")):
        assert [item.name for item in find_inputs([path], chosen).items] == expected


def test_a_folder_is_entered_unless_it_is_excluded_whatever_is_included():
    patterns = Patterns(Selection(include=("*.png",), exclude=("cats/", "old")))
    folders = [patterns.matches_folder(name) for name in ("dogs", "cats", "dogs/old")]
    assert folders == [True, False, False]
    files = [patterns.matches_file(name) for name in ("cats", "a.png", "old")]
    assert files == [False, True, False]


@pytest.mark.parametrize("pattern", ["", " ", "# a comment", "/", "!", "[z-a].png"])
def test_what_is_no_pattern_is_refused_with_its_option(pattern):
    for option in ("include", "exclude"):
        Selection(**{option: ("***/",)})  # odd, but one
        with pytest.raises(ConfigError, match=f"^--{option}: .* is no pattern; write one as in"):
            Selection(**{option: ("*.png", pattern)})


def test_patterns_in_paths_are_expanded_where_no_shell_has_done_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "b.png", "a.png", "a.gif", "sub/c.png", "[x].png")
    given = {
        "*.png": ["[x].png", "a.png", "b.png"],
        "?.png": ["a.png", "b.png"],
        "[ab].gif": ["a.gif"],
        "[x].png": ["[x].png"],  # it exists
        "**/*.png": ["[x].png", "a.png", "b.png", "sub/c.png"],
        "*.tif": ["*.tif"],  # which is then said not to exist
        "sub": ["sub"],
    }
    for pattern, expected in given.items():
        assert expand_patterns([Path(pattern)]) == [Path(name) for name in expected]

"""Select the images of a folder, archive or database by patterns as in .gitignore."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from pathspec import GitIgnoreSpec

from adgan_cli.errors import ConfigError


@dataclass(frozen=True)
class Selection:
    """Which images of a folder, archive or database count; a file given by name always does.

    include, exclude: patterns as in .gitignore, matched on the path below what was given, with
    `/` and in the case they are written in. `*.jpg` and `cats/` match at any depth, `/cats` and
    `cats/*.jpg` from the top only, `**` spans folders, and of several patterns the last that
    matches decides, so that `!` takes one back. A pattern that matches a folder matches all in
    it. Without include everything counts; exclude wins over include, and an excluded folder is
    not entered. Raises ConfigError for what is no pattern.
    """

    recursive: bool = True  # a database has no folders: it is always read whole
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    # each folder is entered once, under the first of its names; archives' links are left out
    follow_links: bool = False

    def __post_init__(self) -> None:
        _spec(self.include, "--include")
        _spec(self.exclude, "--exclude")


def expand_patterns(paths: Iterable[Path]) -> list[Path]:
    """Replace paths like `scans/*.png` by what they match, sorted, where no shell has done so.

    A path that exists, or matches nothing, stays as it is; `**` spans folders.
    """
    expanded: list[Path] = []
    for path in paths:
        is_pattern = re.search(r"[*?[]", str(path)) and not os.path.lexists(path)
        matches = sorted(glob(str(path), recursive=True)) if is_pattern else []
        expanded += map(Path, matches) if matches else [path]
    return expanded


class Patterns:
    """The patterns of a selection, compiled once for many paths."""

    def __init__(self, selection: Selection) -> None:
        self._recursive = selection.recursive
        self._include = _spec(selection.include, "--include")
        self._exclude = _spec(selection.exclude, "--exclude")

    def matches_file(self, file: str) -> bool:
        if self._exclude is not None and self._exclude.match_file(file):
            return False
        return self._include is None or self._include.match_file(file)

    def matches_folder(self, folder: str) -> bool:
        if not self._recursive:
            return False
        return self._exclude is None or not self._exclude.match_file(folder + "/")


def _spec(patterns: Sequence[str], option: str) -> GitIgnoreSpec | None:
    for pattern in patterns:
        try:
            # Git ignores what it does not understand; here that would drop images unnoticed
            valid = any(p.include is not None for p in GitIgnoreSpec.from_lines([pattern]).patterns)
        except (ValueError, re.error):
            valid = False
        if not valid:
            raise ConfigError(
                f"{option}: {pattern!r} is no pattern; write one as in .gitignore, such as"
                " '*.jpg' or 'scans/'"
            )
    return GitIgnoreSpec.from_lines(patterns) if patterns else None

"""What rank does with pictures beside showing them: copies, a list, maps as files."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adgan_cli.cli.console import Reporter, standard_output, status
from adgan_cli.cli.options import OUTPUT
from adgan_cli.cli.signature import option
from adgan_cli.errors import ConfigError, OutputError
from adgan_cli.text import plural

if TYPE_CHECKING:
    from adgan_cli.reports.comparison import Comparison
    from adgan_cli.reports.report import Report


@dataclass(frozen=True)
class ActionOptions:
    """What to do with the pictures that are flagged, or shown on top."""

    copy_to: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Copy pictures into this folder, with their sub-folders: the flagged, or without --fdr "
            "and --p-value the --top ones.",
        ),
    ] = None
    list_file: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write the paths of the same pictures, one a line, to this file; - is standard output.",
            "--list",
            metavar="FILE",
        ),
    ] = None
    null: Annotated[
        bool, option(OUTPUT, "End each path of --list with a NUL, for xargs -0.", "-0", "--null")
    ] = False
    maps: Annotated[
        Path | None,
        option(
            OUTPUT, "Write where each shown picture differs into this folder, as PNG.", "--maps"
        ),
    ] = None

    def explains(self, explain: bool | None, *, cross_fit: bool) -> bool | None:
        """Return whether to explain: maps are what explanations are drawn from."""
        if self.maps is None:
            return explain
        if explain is False or cross_fit:
            other = "--cross-fit" if cross_fit else "--no-explain"
            raise ConfigError(f"--maps are of explanations, which {other} leaves out")
        return True

    def check(self, paths: Sequence[Path], out: Path, reporter: Reporter) -> None:
        """Refuse before any work what could not be done after it, and own the folders.

        paths: what is ranked; out: the report's folder, which is owned already.
        """
        if self.null and self.list_file is None:
            raise ConfigError("--null is about --list; give that too")
        self.require_outside(paths)
        owned = {os.path.realpath(out)}
        for name, folder in (("--copy-to", self.copy_to), ("--maps", self.maps)):
            if folder is not None:
                if folder.exists() and not folder.is_dir():
                    raise ConfigError(f"{name} {folder} is a file; give a folder")
                if os.path.realpath(folder) not in owned:
                    reporter.own(folder)
                    owned.add(os.path.realpath(folder))

    def require_outside(self, paths: Sequence[Path]) -> None:
        """Refuse to write pictures into what is ranked."""
        from adgan_cli.reports.copies import require_outside

        for name, folder in (("--copy-to", self.copy_to), ("--maps", self.maps)):
            if folder is not None:
                require_outside(folder, paths, name)

    def perform(
        self, report: "Report", comparisons: "Sequence[Comparison]"
    ) -> tuple[list[str], str]:
        """Do it; return what to say about it, and of what could not be done."""
        from adgan_cli.reports.copies import chosen_rows, copy_images, failures_line

        notes, failed = [], ""
        if self.copy_to is not None:
            rows = chosen_rows(report)
            copied = copy_images(rows, report.info.root, self.copy_to)
            there = f", {copied.there:,} were there" if copied.there else ""
            notes.append(f"{plural(copied.new, 'picture')} copied into {self.copy_to}{there}")
            if copied.failures:
                failed = failures_line(copied.failures, self.copy_to)
        if self.list_file is not None:
            notes += self._list(report)
        if self.maps is not None:
            notes.append(self._maps(comparisons))
        return notes, failed

    def _list(self, report: "Report") -> list[str]:
        from adgan_cli.reports.copies import chosen_rows, list_bytes, listed_files, write_list

        files, left_out = listed_files(chosen_rows(report), report.info.root)
        notes = []
        if str(self.list_file) == "-":
            if sys.stdout is None:
                raise OutputError("standard output is closed; give a file with --list")
            with standard_output():
                sys.stdout.buffer.write(list_bytes(files, null=self.null))
                sys.stdout.flush()
        elif self.list_file is not None:
            write_list(self.list_file, files, null=self.null)
            notes.append(f"{plural(len(files), 'path')} listed in {self.list_file}")
        if left_out:
            lie = plural(left_out, "picture")
            notes.append(f"not listed: {lie} in archives; --copy-to writes them as files")
        if not self.null and any("\n" in str(file) for file in files):
            status("warning: a path on the list has a line break in it; --null keeps it whole")
        return notes

    def _maps(self, comparisons: "Sequence[Comparison]") -> str:
        from adgan_cli.reports.copies import write_maps
        from adgan_cli.reports.explanation import draw_maps

        assert self.maps is not None
        count = write_maps(self.maps, draw_maps(comparisons))
        if comparisons and not count:
            return "no maps: this model has neither a generator nor features that give any"
        return f"{plural(count, 'map')} written into {self.maps}"

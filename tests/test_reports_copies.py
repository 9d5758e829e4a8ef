"""Copies that never replace another file, lists that other programs read."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_disc
from PIL import Image

from adgan_cli.errors import ConfigError
from adgan_cli.reports.copies import (
    Copied,
    chosen_rows,
    copy_images,
    list_bytes,
    listed_files,
    require_outside,
    write_maps,
)
from adgan_cli.reports.report import ReportInfo, ReportOptions, make_report
from adgan_cli.scoring.calibration import Cut
from adgan_cli.scoring.rows import ScoreRow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """a.png, sub/b.png, sub/c.png."""
    (tmp_path / "root" / "sub").mkdir(parents=True)
    for index, name in enumerate(("a.png", "sub/b.png", "sub/c.png")):
        draw_disc(tmp_path / "root" / name, index)
    return tmp_path / "root"


def rows_of(*names: str) -> list[ScoreRow]:
    return [ScoreRow(name, 1.0) for name in names]


def test_copies_keep_folders_bytes_and_times_and_the_originals(root, tmp_path):
    os.utime(root / "sub/b.png", ns=(1_000_000_000, 2_000_000_000))
    before = {path: path.read_bytes() for path in root.rglob("*.png")}
    copied = copy_images(rows_of("a.png", "sub/b.png"), root, tmp_path / "odd")
    assert copied == Copied(new=2)
    for name in ("a.png", "sub/b.png"):
        assert (tmp_path / "odd" / name).read_bytes() == (root / name).read_bytes()
    assert (tmp_path / "odd/sub/b.png").stat().st_mtime_ns == 2_000_000_000
    assert not (tmp_path / "odd/sub/c.png").exists()
    assert {path: path.read_bytes() for path in root.rglob("*.png")} == before


def test_what_is_there_stays_the_same_is_done_another_is_a_failure(root, tmp_path):
    odd = tmp_path / "odd"
    copy_images(rows_of("a.png"), root, odd)
    (odd / "sub").mkdir()
    (odd / "sub/b.png").write_bytes((root / "sub/b.png").read_bytes()[:-1])  # as if cut short
    (odd / "sub/c.png").symlink_to(root / "sub/c.png")
    copied = copy_images(rows_of("a.png", "sub/b.png", "sub/c.png", "gone.png"), root, odd)
    assert (copied.new, copied.there) == (0, 1)
    assert [name for name, _ in copied.failures] == ["sub/b.png", "sub/c.png", "gone.png"]
    assert "b.png is another file, and stays" in copied.failures[0][1]
    assert len((odd / "sub/b.png").read_bytes()) + 1 == (root / "sub/b.png").stat().st_size
    assert (odd / "sub/c.png").is_symlink()


@pytest.mark.parametrize("name", ["../a.png", "sub/../../a.png", "/etc/passwd"])
def test_a_name_in_a_table_cannot_lead_out_of_the_folder(root, tmp_path, name):
    copied = copy_images(rows_of(name), root, tmp_path / "odd")
    assert copied.failures == ((name, "its name leads out of the folder"),)
    assert {path.name for path in tmp_path.iterdir()} == {"root"}
    assert write_maps(tmp_path / "maps", {name: np.zeros((2, 2, 3), np.uint8)}) == 0
    assert copy_images(rows_of(".."), root, tmp_path / "odd").new == 0


def test_one_picture_that_cannot_be_written_leaves_the_others(root, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "sub").write_text("a file where a folder has to be")
    names = sorted(path.name for path in root.iterdir() if path.is_file())
    copied = copy_images(rows_of("sub/b.png", *names), root, odd)
    assert copied.new == len(names) > 0
    assert [name for name, _ in copied.failures] == ["sub/b.png"]


def test_a_name_as_long_as_the_file_system_has_them_is_copied(root, tmp_path):
    name = "n" * 251 + ".png"
    (root / name).write_bytes((root / "sub/b.png").read_bytes())
    assert copy_images(rows_of(name), root, tmp_path / "odd").failures == ()
    assert (tmp_path / "odd" / name).exists()


def test_members_of_archives_are_copied_as_files_and_not_listed(root, tmp_path):
    with zipfile.ZipFile(root / "pack.zip", "w") as file:
        file.write(root / "sub/b.png", "in/b.png")
    with tarfile.open(root / "pack.tar", "w") as file:
        entry = tarfile.TarInfo("c.png")
        data = (root / "sub/c.png").read_bytes()
        entry.size = len(data)
        file.addfile(entry, io.BytesIO(data))
    rows = rows_of("a.png", "pack.zip/in/b.png", "pack.tar/c.png")
    assert copy_images(rows, root, tmp_path / "odd") == Copied(new=3)
    assert (tmp_path / "odd/pack.zip/in/b.png").read_bytes() == (root / "sub/b.png").read_bytes()
    assert (tmp_path / "odd/pack.tar/c.png").read_bytes() == data
    assert listed_files(rows, root) == ([root / "a.png"], 2)


def test_lists_spell_names_as_the_file_system_does():
    files = [Path("val/two\nlines.png"), Path("val/lone\udcff.png")]
    assert list_bytes(files) == b"val/two\nlines.png\nval/lone\xff.png\n"
    assert list_bytes(files, null=True) == b"val/two\nlines.png\0val/lone\xff.png\0"


def test_a_folder_of_copies_lies_outside_what_is_ranked(root, tmp_path):
    require_outside(tmp_path / "odd", [root, root / "a.png"], "--copy-to")
    (tmp_path / "link").symlink_to(root)
    for inside in (root, root / "sub", root / "new", tmp_path / "link" / "new"):
        with pytest.raises(ConfigError, match="where its pictures would be ranked"):
            require_outside(inside, [root], "--copy-to")


def test_the_flagged_are_acted_on_or_without_a_cut_the_top():
    rows = [ScoreRow(f"{i}.png", float(i), p_value=1 - i / 10) for i in range(10)]

    def chosen(options: ReportOptions) -> list[str]:
        return [row.path for row in chosen_rows(make_report(rows, ReportInfo(Path()), options))]

    assert chosen(ReportOptions(top=2)) == ["9.png", "8.png"]
    assert chosen(ReportOptions(top=2, cut=Cut("p_value", 0.35))) == ["9.png", "8.png", "7.png"]
    assert chosen(ReportOptions(top=2, cut=Cut("p_value", 0.01))) == []


def test_maps_follow_the_paths_of_their_pictures(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert write_maps(tmp_path, {"sub/a.jpg": pixels}) == 1
    with Image.open(tmp_path / "sub" / "a.jpg.png") as image:
        assert image.format == "PNG" and np.array_equal(np.asarray(image), pixels)

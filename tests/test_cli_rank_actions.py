"""rank --copy-to, --list and --maps: what people do with what they see."""

import numpy as np
from commands import FAST, adgan, refused
from PIL import Image

from adgan_cli.locks import LOCK_FILE
from adgan_cli.scoring.rows import read_scores


def test_the_top_is_copied_listed_and_mapped(discs, tiny_model, tmp_path):
    folder, out = discs(5, name="val/sub").parent, tmp_path / "report"
    odd, maps, listed = tmp_path / "odd", tmp_path / "maps", tmp_path / "list.txt"
    words = ["rank", folder, "-m", tiny_model, *FAST, "-o", out, "--top", "2", "--bottom", "1"]
    said = adgan(*words, "--copy-to", odd, "--maps", maps, "--list", listed).stderr
    top = [row.path for row in read_scores(out / "ranking.csv")[:2]]
    files = {path.relative_to(odd).as_posix() for path in odd.rglob("*") if path.is_file()}
    assert files == set(top), "and no lock"
    assert listed.read_text().splitlines() == [str(folder / name) for name in top]
    shown = sorted(path.relative_to(maps).as_posix() for path in maps.rglob("*.png"))
    assert len(shown) == 3 and {f"{name}.png" for name in top} < set(shown)
    with Image.open(maps / f"{top[0]}.png") as image:
        assert image.size == (16, 16) and len(np.unique(np.asarray(image))) > 2
    assert f"2 pictures copied into {odd}\n2 paths listed in {listed}\n3 maps written" in said
    again = adgan(*words, "--resume", "--copy-to", odd).stderr
    assert f"0 pictures copied into {odd}, 2 were there" in again
    assert not (odd / LOCK_FILE).exists()


def test_all_that_is_written_may_share_a_folder(discs, tiny_model, tmp_path):
    out = tmp_path / "report"
    words = ["rank", discs(2), "-m", tiny_model, *FAST, "-o", out, "--top", "1"]
    adgan(*words, "--copy-to", out / "odd", "--maps", out / "odd")
    assert sorted(path.suffix for path in (out / "odd").iterdir()) == [".png"] * 3
    adgan(*words, "--maps", out)
    assert not list(out.rglob(LOCK_FILE))


def test_copies_do_not_go_into_the_folder_that_a_table_is_about(discs, tiny_model, tmp_path):
    folder, out = discs(2), tmp_path / "report"
    adgan("rank", folder, "-m", tiny_model, *FAST, "-o", out)
    words = ["rank", "--from", out / "ranking.csv", "-o", out, "--copy-to", folder / "odd"]
    assert "--copy-to" in refused(*words, code=2) and not (folder / "odd").exists()


def test_what_stands_in_the_way_is_said_after_all_else_is_done(discs, tiny_model, tmp_path):
    folder, out, odd = discs(2), tmp_path / "report", tmp_path / "odd"
    odd.mkdir()
    (odd / "disc-000.png").write_text("mine")
    words = ["rank", folder, "-m", tiny_model, *FAST, "-o", out, "--copy-to", odd]
    line = refused(*words, code=1)
    assert line.startswith(f"not copied into {odd}: disc-000.png (")
    assert (odd / "disc-000.png").read_text() == "mine"
    assert (odd / "disc-001.png").exists() and (out / "index.html").exists()


def test_a_list_on_standard_output_is_all_that_is_there(discs, tiny_model, tmp_path):
    folder = discs(3)
    words = ["rank", folder, "-m", tiny_model, *FAST, "-o", tmp_path / "report", "--top", "1"]
    first = adgan(*words, "--list", "-").stdout
    assert first.startswith(str(folder)) and first.count("\n") == 1
    assert adgan(*words, "--list", "-", "-0").stdout == first.replace("\n", "\0")
    table = tmp_path / "report" / "ranking.csv"
    drawn = ["rank", folder, "--from", table, "-o", tmp_path / "again", "--top", "1"]
    assert adgan(*drawn, "--list", "-").stdout == first


def test_what_could_not_be_done_afterwards_is_refused_before(discs, tiny_model, tmp_path):
    folder, out = discs(2), tmp_path / "report"
    words = ["rank", folder, "-m", tiny_model, *FAST, "-o", out]
    (tmp_path / "file").touch()
    for more, said in (
        (["--null"], "--null is about --list"),
        (["--copy-to", folder / "odd"], f"--copy-to {folder / 'odd'} lies in {folder}"),
        (["--maps", tmp_path / "file"], "is a file; give a folder"),
        (["--maps", tmp_path / "maps", "--no-explain"], "which --no-explain leaves out"),
        (["--maps", tmp_path / "maps", "--cross-fit", "2"], "which --cross-fit leaves out"),
        (["--fdr", "0.1", "--p-value", "0.1"], "are two cuts"),
    ):
        assert said in refused(*words, *more, code=2)
    assert not out.exists()

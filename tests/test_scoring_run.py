"""From files to rows: one each, in order, the right one."""

import os
from dataclasses import replace

import pytest
import torch
from conftest import draw_disc

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import search
from adgan_cli.errors import NoImagesError
from adgan_cli.images.find import list_inputs
from adgan_cli.images.read import read_image
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.scoring.run import ScoringRun, score

QUICK = replace(PAPER_SEARCH, n_seed=2, k=1)


@pytest.fixture
def model(tiny_model):
    return load_model(tiny_model)


def alone(model, path):
    x = to_model_range(torch.from_numpy(read_image(path, 16, 1))[None])
    return search(model.generator, x, QUICK).score.item()


def test_each_row_has_the_score_of_its_own_picture_and_comes_in_order(model, discs):
    folder = discs(11)
    (folder / "disc-004.png").write_bytes(b"")  # a failure in the middle must not shift the rest
    (folder / "disc-007.png").write_bytes((folder / "disc-007.png").read_bytes()[:40])
    rows = list(score(model, [folder], QUICK, batch_size=2))
    assert [row.path for row in rows] == [f"disc-{i:03d}.png" for i in range(11)]
    for row in rows:
        if row.path in ("disc-004.png", "disc-007.png"):
            assert row.score is None and row.error
        else:
            assert row.score == alone(model, folder / row.path)


def test_rows_say_what_the_file_was(model, discs):
    row = next(score(model, [discs(1)], QUICK))
    assert row == ScoreRow("disc-000.png", row.score, width=16, height=16, mode="L")


def test_a_colour_picture_under_a_grey_model_is_read_as_luma_and_says_so(model, tmp_path):
    from PIL import Image

    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "red.png")
    (row,) = score(model, [tmp_path], QUICK)
    assert row.score is not None and row.mode == "RGB>L"


def test_scores_do_not_depend_on_the_batch(model, discs):
    folder = discs(9)
    by_one = list(score(model, [folder], QUICK, batch_size=1))
    assert by_one == list(score(model, [folder], QUICK, batch_size=4, workers=3))


def test_rows_come_before_everything_is_scored(model, discs):
    rows = score(model, [discs(20)], QUICK, batch_size=1)
    assert next(rows).path == "disc-000.png"
    rows.close()


def test_a_vanished_file_is_a_row(model, discs):
    folder = discs(3)
    inputs = list_inputs([folder])
    (folder / "disc-001.png").unlink()
    rows = list(ScoringRun(model, inputs, QUICK).rows())
    assert [row.score is None for row in rows] == [False, True, False]


def test_a_folder_that_cannot_be_listed_is_a_row(model, discs, monkeypatch):
    folder = discs(2)
    (folder / "closed").mkdir()
    draw_disc(folder / "closed" / "in.png", 0)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    inputs = list_inputs([folder])
    rows = list(ScoringRun(model, inputs, QUICK).rows())
    assert inputs.count == len(rows) == 3
    assert [row.path for row in rows if row.error] == ["closed"]


def test_the_models_own_settings_are_the_default(model, discs):
    folder = discs(1)
    assert next(score(model, [folder])) == next(score(model, [folder], model.search))


def test_nothing_to_score_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("no pictures here")
    with pytest.raises(NoImagesError, match="no pictures"):
        list_inputs([tmp_path])

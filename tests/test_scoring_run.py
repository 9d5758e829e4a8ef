"""From files to rows: one each, in order, the right one."""

import os
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from conftest import draw_disc, make_generator
from feature_models import BY_FEATURES, fake_model
from several_processes import in_threads

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range
from adgan_cli.engine.search.searcher import search
from adgan_cli.errors import ConfigError
from adgan_cli.images.find import list_inputs
from adgan_cli.images.read import read_image
from adgan_cli.processes import Processes
from adgan_cli.scoring.rows import ScoreRow
from adgan_cli.scoring.run import ScoringRun, score
from adgan_cli.scoring.scorer import Scorer

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


# with a journal


def test_a_consumer_that_stops_leaves_a_journal_that_the_next_run_goes_on_from(
    model, discs, tmp_path
):
    listing = list_inputs([discs(7)])
    whole = list(ScoringRun(model, listing, QUICK).rows())
    options = {"batch_size": 2, "journal": tmp_path / "journal"}
    rows = ScoringRun(model, listing, QUICK, **options).rows()
    assert list(islice(rows, 3)) == whole[:3]
    rows.close()
    results = list(ScoringRun(model, listing, QUICK, **options, resume=True).results())
    assert [result.row for result in results] == whole
    searched = [result.losses is not None for result in results]
    assert searched == [False] * 4 + [True] * 3, "what the batch brought was kept"


def test_one_run_goes_on_from_its_own_journal_and_another_begins_anew(model, discs, tmp_path):
    listing = list_inputs([discs(3)])

    def searched(run):
        return sum(result.losses is not None for result in run.results())

    run = ScoringRun(model, listing, QUICK, journal=tmp_path / "journal")
    assert (searched(run), searched(run)) == (3, 0)
    assert searched(ScoringRun(model, listing, QUICK, journal=tmp_path / "journal")) == 3


def test_score_resumes_from_a_journal(model, discs, tmp_path):
    folder, journal = discs(4), tmp_path / "journal"
    options = {"journal": journal, "resume": True}
    next(score(model, [folder], QUICK, batch_size=1, **options))
    rows = list(score(model, [folder], QUICK, **options))
    assert rows == list(score(model, [folder], QUICK))
    lines = (journal / "process-0.jsonl").read_bytes().splitlines()
    assert len([line for line in lines if line.startswith(b"[")]) == 4, "each image once"


def test_a_journal_of_other_settings_is_refused_before_the_first_row(model, discs, tmp_path):
    folder, journal = discs(1), tmp_path / "journal"
    list(score(model, [folder], QUICK, journal=journal))
    with pytest.raises(ConfigError, match="was scored with search k 1, this is search k 2"):
        score(model, [folder], replace(QUICK, k=2), journal=journal, resume=True)


def test_a_model_in_memory_is_not_mistaken_for_another(discs, tmp_path):
    folder, options = discs(1), {"journal": tmp_path / "journal", "resume": True}
    generators = [make_generator(channels=1, seed=seed) for seed in (0, 0, 1)]
    model, same, other = (Model(generator, generator.config) for generator in generators)
    assert list(score(model, [folder], QUICK, **options)) == list(
        score(same, [folder], QUICK, **options)
    )
    with pytest.raises(ConfigError, match="was scored with model"):
        score(other, [folder], QUICK, **options)


def test_the_losses_of_a_result_end_in_its_score(model, discs):
    (result,) = ScoringRun(model, list_inputs([discs(1)]), QUICK).results()
    assert result.losses.shape == (2, 2)
    assert result.row.score == pytest.approx(result.losses[:, -1].mean())


def test_a_run_measures_its_stages(model, discs):
    run = ScoringRun(model, list_inputs([discs(2)]), QUICK)
    assert run.seconds == {}
    list(run.rows())
    assert list(run.seconds) == ["waiting for pictures", "searching"]
    assert min(run.seconds.values()) > 0


# several processes


def test_processes_divide_a_listing_and_the_main_one_has_all_rows(model, discs, tmp_path):
    listing = list_inputs([discs(7)])
    journal = tmp_path / "journal"

    def work(processes):
        run = ScoringRun(model, listing, QUICK, journal=journal, processes=processes)
        return list(run.score_share()), list(run.rows())

    (main_progress, main_rows), (_, no_rows) = in_threads(2, work)
    assert main_rows == list(ScoringRun(model, listing, QUICK).rows())
    assert no_rows == []
    assert main_progress[-1].total == 7
    entries = [file.read_bytes().count(b"\n[") for file in sorted(journal.iterdir())]
    assert entries == [4, 3]


def test_several_processes_need_a_journal(model, discs):
    with pytest.raises(ConfigError, match="need a journal"):
        ScoringRun(model, list_inputs([discs(1)]), QUICK, processes=Processes(0, 2))


# by features


def scored(run):
    """The rows of a run, and how many images its scorer was given."""
    count, measure = 0, Scorer.measure

    def counted(self, pixels, large=None):
        nonlocal count
        count += len(pixels)
        return measure(self, pixels, large)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "measure", counted)
        return list(run.rows()), count


def test_rows_have_a_score_of_each_part_and_no_losses(discs):
    run = ScoringRun(fake_model(generator=False), list_inputs([discs(3)]))
    assert run.detectors == ("brightness", "contrast")
    for result in run.results():
        z, score = result.row.z_scores, result.row.score
        assert result.losses is None and tuple(z) == run.detectors
        parts = 0.25 * np.logaddexp(0, z["brightness"]), 0.75 * np.logaddexp(0, z["contrast"])
        assert score == pytest.approx(sum(parts), abs=1e-4)


@pytest.mark.parametrize("large_size", [None, 32])
def test_by_features_a_journal_is_gone_on_from_to_the_same_rows(discs, tmp_path, large_size):
    folder, model = discs(6, size=40), fake_model(large_size=large_size)
    (folder / "disc-003.png").write_bytes(b"no picture")
    listing = list_inputs([folder])
    whole = list(ScoringRun(model, listing).rows())
    options = {"journal": tmp_path / "journal", "batch_size": 1}
    rows = ScoringRun(model, listing, **options).rows()
    assert list(islice(rows, 2)) == whole[:2]
    rows.close()
    other_search = replace(BY_FEATURES, k=9, loss="l1")  # which has no part in the score
    run = ScoringRun(model, listing, other_search, **options, resume=True)
    assert scored(run) == (whole, 3)
    again = ScoringRun(model, listing, **options, resume=True)
    assert scored(again) == (whole, 0)


def test_rows_by_other_detectors_are_not_mixed(discs, tmp_path):
    listing, model = list_inputs([discs(1)]), fake_model()
    list(ScoringRun(model, listing, journal=tmp_path / "journal").rows())
    missing = replace(model.features, missing={"contrast": "it is not here"})
    run = ScoringRun(
        replace(model, features=missing), listing, journal=tmp_path / "journal", resume=True
    )
    with pytest.raises(ConfigError, match="with detectors brightness, contrast, this is"):
        run.rows()


def test_a_copy_has_the_parts_of_what_it_is_a_copy_of(discs, tmp_path):
    folder, model = discs(2), fake_model()
    options = {"journal": tmp_path / "journal", "resume": True}
    list(score(model, [folder], **options))
    (folder / "copy.png").write_bytes((folder / "disc-001.png").read_bytes())
    rows, count = scored(ScoringRun(model, list_inputs([folder]), **options))
    assert count == 0 and rows[0].path == "copy.png"
    assert (rows[0].score, rows[0].z_scores) == (rows[2].score, rows[2].z_scores)


def test_processes_share_scores_by_features(discs, tmp_path):
    listing, model = list_inputs([discs(5)]), fake_model(large_size=32)

    def work(processes):
        run = ScoringRun(model, listing, journal=tmp_path / "journal", processes=processes)
        return list(run.rows())

    assert in_threads(2, work) == [list(ScoringRun(model, listing).rows()), []]


def test_what_a_model_lacks_is_refused_before_anything_is_read(discs):
    for by in ("reconstruction", "all"):
        with pytest.raises(ConfigError, match="has no generator"):
            ScoringRun(
                fake_model(generator=False), list_inputs([discs(1)]), replace(BY_FEATURES, by=by)
            )

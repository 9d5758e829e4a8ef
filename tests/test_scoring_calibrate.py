"""A model is calibrated by images that it has not seen, whole or not at all."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_generator
from feature_models import BY_FEATURES, fake_model

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.features.altered import drawn_copies
from adgan_cli.engine.features.weights import evidence, weights
from adgan_cli.engine.models.files import load_model, save_model
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import DivergedError
from adgan_cli.images.find import list_inputs
from adgan_cli.images.statistics import STATISTICS, image_statistics
from adgan_cli.scoring.calibrate import ImagesToScore, calibrate, score_pixels, with_calibration
from adgan_cli.scoring.run import score

SEARCH = replace(PAPER_SEARCH, n_seed=2, k=1)


def model() -> Model:
    generator = make_generator(channels=1)
    return Model(generator, generator.config, search=SEARCH)


def noise(count: int) -> ImagesToScore:
    return ImagesToScore(np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1), np.uint8))


def test_scores_and_statistics_stay_side_by_side_and_are_saved(tmp_path):
    held_out = noise(6)
    calibrated = with_calibration(model(), held_out)
    calibration = calibrated.calibration(SEARCH)
    assert calibration is not None
    assert calibration.scores.tolist() == score_pixels(model(), held_out.pixels, SEARCH).tolist()
    assert calibration.statistics.shape == (6, len(STATISTICS))
    assert calibration.statistics[2].tolist() == image_statistics(held_out.pixels[2]).tolist()
    save_model(calibrated, tmp_path)
    loaded = load_model(tmp_path).calibration(SEARCH)
    assert loaded is not None
    assert (loaded.scores == calibration.scores).all()
    assert (loaded.statistics == calibration.statistics).all()


def test_other_settings_have_scores_of_their_own():
    other = replace(PAPER_SEARCH, n_seed=1, k=0)
    twice = with_calibration(with_calibration(model(), noise(4)), noise(5), other)
    assert [len(c.scores) for c in twice.calibrations] == [4, 5]
    again = with_calibration(twice, noise(3), other)
    assert [len(c.scores) for c in again.calibrations] == [4, 3]
    assert again.calibration(replace(PAPER_SEARCH, n_seed=3)) is None


def test_a_calibration_says_in_which_precision_it_was_computed_and_replaces_its_equals():
    search = replace(SEARCH, theta="none")
    by_auto = with_calibration(model(), noise(4), search)
    assert [one.search.precision for one in by_auto.calibrations] == ["fp32"]  # on a CPU
    explicit = with_calibration(by_auto, noise(5), replace(search, precision="fp32"))
    rounded = with_calibration(explicit, noise(6), replace(search, precision="bf16"))
    found = [(one.search.precision, len(one.scores)) for one in rounded.calibrations]
    assert found == [("fp32", 5), ("bf16", 6)]


def test_a_calibration_that_is_stopped_changes_nothing():
    answers = iter([False, True])
    before = model()
    assert with_calibration(before, noise(9), should_stop=lambda: next(answers)) is before


@pytest.mark.parametrize("by", ["reconstruction", "all"])
def test_scores_that_are_no_numbers_are_not_kept(by):
    broken = fake_model() if by == "all" else model()
    next(broken.require_generator().parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError):
        with_calibration(broken, noise(3), replace(PAPER_SEARCH, n_seed=1, k=3, by=by))


def test_a_folder_calibrates_by_the_scores_that_its_images_get(discs):
    folder = discs(5)
    (folder / "broken.png").write_bytes(b"no picture")
    progress: list[tuple[int, int]] = []
    calibrated, counts = calibrate(
        model(), list_inputs([folder]), on_image=lambda done, total: progress.append((done, total))
    )
    assert (counts.unseen, counts.in_training, counts.failed) == (5, 0, 1)
    assert progress[-1] == (5, 5)
    calibration = calibrated.calibration(SEARCH)
    scored = [row.score for row in score(model(), [folder]) if row.score is not None]
    assert calibration is not None and calibration.scores.tolist() == scored


def test_exact_copies_of_an_image_calibrate_once(discs):
    folder = discs(5)
    for index in range(4):
        (folder / f"copy-{index}.png").write_bytes((folder / "disc-000.png").read_bytes())
    calibrated, counts = calibrate(model(), list_inputs([folder]))
    assert (counts.unseen, counts.copies) == (5, 4)
    calibration = calibrated.calibration(SEARCH)
    assert calibration is not None and len(set(calibration.scores.tolist())) == 5


BY_ALL = replace(SEARCH, by="all")


def test_what_is_calibrated_by_all_has_scores_by_each_alone_too():
    calibrated = with_calibration(fake_model(), noise(6), BY_ALL)
    for by in ("reconstruction", "features", "all"):
        calibration = calibrated.calibration(replace(BY_ALL, by=by))
        assert calibration is not None
        expected = score_pixels(calibrated, noise(6).pixels, replace(BY_ALL, by=by))
        assert calibration.scores.tolist() == expected.tolist()


def test_the_reconstruction_is_weighed_by_altered_copies_of_images_held_out():
    held_out, seen = noise(20), []
    calibrated = with_calibration(
        fake_model(), held_out, BY_ALL, on_image=lambda done, total: seen.append((done, total))
    )
    chosen, altered = drawn_copies(held_out.pixels, 3, np.random.default_rng(0))
    by_reconstruction = replace(BY_ALL, by="reconstruction")
    originals = score_pixels(calibrated, held_out.pixels[chosen], by_reconstruction)
    errors = {
        kind: score_pixels(calibrated, copies, by_reconstruction)
        for kind, copies in altered.items()
    }
    scale = calibrated.calibration(BY_ALL).error_scale
    assert scale.evidence == evidence(originals, errors)
    table = calibrated.calibration(BY_ALL).z_scores
    shares = weights({**calibrated.features.scales, "reconstruction": scale}, table)
    assert scale.weight == pytest.approx(shares["reconstruction"])
    assert seen[-1] == (20 + 3 * 7, 20 + 3 * 7), "grey images have no other hue"
    assert calibrated.calibration(by_reconstruction).error_scale is None


def test_by_features_all_ways_to_search_are_one():
    calibrated = with_calibration(fake_model(generator=False), noise(6))
    assert calibrated.calibration(replace(BY_FEATURES, k=77, loss="l1")) is not None
    again = with_calibration(calibrated, noise(7), replace(BY_FEATURES, k=77))
    assert [len(calibration.scores) for calibration in again.calibrations] == [7]
    assert again.calibration(SEARCH) is None


def test_images_held_out_are_read_for_the_backbone_too(discs):
    folder = discs(5, size=40)
    calibrated, _ = calibrate(fake_model(large_size=32), list_inputs([folder]))
    calibration = calibrated.calibration(BY_FEATURES)
    rows = list(score(calibrated, [folder]))
    assert calibration is not None
    assert calibration.scores.tolist() == [row.score for row in rows]


def test_of_a_large_folder_images_are_drawn_from_all_over(discs, monkeypatch):
    folder = discs(30)
    monkeypatch.setattr("adgan_cli.scoring.calibrate.MAX_HELD_OUT", 6)
    calibrated, counts = calibrate(fake_model(generator=False), list_inputs([folder]))
    scores = [row.score for row in score(fake_model(generator=False), [folder])]
    used = [scores.index(one) for one in calibrated.calibrations[0].scores]
    assert counts.unseen == len(used) == 6
    assert used == sorted(used) and used[-1] > 15 and np.ptp(np.diff(used)) > 0

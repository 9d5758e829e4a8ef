"""adgan calibrate: p-values from normal pictures, and never from those that were trained on."""

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import FAST, TINY, adgan, refused
from feature_models import save_joined_model

from adgan_cli.engine.models.files import load_model
from adgan_cli.scoring.rows import read_scores

Folder = Callable[..., Path]


@pytest.fixture
def model(discs: Folder, tmp_path: Path) -> Path:
    """Of twelve discs, none held out."""
    adgan("train", discs(), *TINY, "--holdout", "0", "-o", tmp_path / "model")
    return tmp_path / "model"


def test_p_values_appear_for_the_settings_that_were_calibrated_and_no_others(
    discs, model, tmp_path
):
    squares, out = discs(8, shape="square", name="squares"), tmp_path / "scores.csv"
    adgan("score", squares, "-m", model, *FAST, "-o", out)
    assert [row.p_value for row in read_scores(out)] == [None] * 8
    said = adgan("calibrate", squares, "-m", model, *FAST).stderr
    assert "go by 8 pictures" in said and "none is below 0.11" in said
    adgan("score", squares, "-m", model, *FAST, "-o", out)
    # the same pictures once more: their places among themselves and one more
    assert sorted(round(9 * (row.p_value or 0)) for row in read_scores(out)) == list(range(2, 10))
    adgan("score", squares, "-m", model, *FAST, "--k", "2", "-o", out)
    assert [row.p_value for row in read_scores(out)] == [None] * 8


def test_settings_become_the_models_own_only_when_asked(discs, model, tmp_path):
    squares, out = discs(8, shape="square", name="squares"), tmp_path / "scores.csv"
    others = "--k", "2", "--init", "prior", "--loss", "l1", "--n-seed", "3"
    before = load_model(model).search
    adgan("calibrate", squares, "-m", model, *others)
    assert load_model(model).search == before
    said = adgan("calibrate", squares, "-m", model, *others, "--default").stderr
    assert "unless options say otherwise" in said
    now = load_model(model).search
    assert (now.k, now.loss, now.n_seed) == (2, "l1", 3)
    adgan("score", squares, "-m", model, "-o", out)  # nothing said: p-values for these settings
    assert all(row.p_value is not None for row in read_scores(out))


def test_pictures_the_model_was_trained_on_are_left_out(discs, model, tmp_path):
    mixed = discs(15)  # the first twelve are those it was trained on
    (mixed / "broken.png").write_bytes(b"no picture")
    (mixed / "zcopy.png").write_bytes((mixed / "disc-014.png").read_bytes())
    said = adgan("calibrate", mixed, "-m", model, *FAST).stderr
    assert "left out 12 pictures that the model was trained on" in said
    assert "left out 1 exact copy of others" in said
    assert "left out 1 file" in said and "go by 3 pictures" in said
    out = tmp_path / "scores.csv"
    adgan("score", mixed, "-m", model, *FAST, "-o", out)
    rows = read_scores(out)
    assert [row.p_value is None for row in rows] == [
        bool(row.in_training) or row.score is None for row in rows
    ]
    assert sum(row.p_value is not None for row in rows) == 3 + 1


def test_nothing_but_known_pictures_is_refused(discs, model):
    before = (model / "model.safetensors").read_bytes()
    assert "has not seen" in refused("calibrate", discs(), "-m", model, *FAST, code=3)
    assert (model / "model.safetensors").read_bytes() == before


def test_training_calibrates_by_what_it_held_out(discs, tmp_path):
    out = tmp_path / "model"
    adgan("train", discs(30), *TINY, "--holdout", "0.2", "-o", out)
    model = load_model(out)
    known = model.calibration(model.default_search())
    assert known is not None and len(known.scores) == 6
    assert model.provenance["verdict"]["held_out"] == 6
    told = adgan("info", out).stdout
    assert "verdict" in told and "advice" in told
    assert "p-values for\n  the settings below, by 6 pictures it was not trained on\n" in told
    adgan("calibrate", discs(30), "-m", out, "--k", "1", "--device", "cpu")
    assert "  --k 1, by 6 pictures" in adgan("info", out).stdout


def test_adjusted_scores_need_enough_pictures_held_out(discs, model):
    adjusted = ["--adjust", "complexity"]
    line = refused("score", discs(3), "-m", model, *FAST, *adjusted, code=2)
    assert "--adjust complexity needs scores of 50 pictures" in line
    adgan("calibrate", discs(60, shape="square", name="s"), "-m", model, *FAST)
    plain = adgan("score", discs(3), "-m", model, *FAST).stdout
    assert adgan("score", discs(3), "-m", model, *FAST, *adjusted).stdout != plain


def test_by_features_and_by_all_can_be_calibrated(discs, tmp_path):
    folder, model = discs(9), save_joined_model(tmp_path / "model")
    words = ["calibrate", folder, "-m", model, "--device", "cpu"]
    said = adgan(*words, "--k", "7").stderr
    assert "--k does nothing --by features" in said and "go by 9 pictures" in said
    said = adgan(*words, "--by", "all", "--k", "0", "--default").stderr
    assert "note: --k" not in said and "go by 9 pictures" in said
    loaded = load_model(model)
    assert (loaded.search.by, loaded.search.k) == ("all", 0)
    adgan("score", discs(2), "-m", model, "-o", tmp_path / "scores.csv")
    rows = read_scores(tmp_path / "scores.csv")
    assert all("reconstruction" in row.z_scores and row.p_value is not None for row in rows)

"""No picture is scored by a model that has seen it; what is interrupted goes on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adgan_cli.config import PAPER_SEARCH, FeatureConfig, ModelConfig, TrainConfig
from adgan_cli.engine.models.files import load_model
from adgan_cli.engine.models.model import Model
from adgan_cli.errors import ConfigError
from adgan_cli.fitting.cross_fit import CrossFitCallbacks, cross_fit
from adgan_cli.fitting.train import train
from adgan_cli.images.find import list_inputs
from adgan_cli.scoring.rows import ScoreRow

Folder = Callable[..., Path]
SEARCH = replace(PAPER_SEARCH, n_seed=1, k=1)


@pytest.fixture
def folder(discs: Folder) -> Path:
    folder = discs(40)
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "copy.png").write_bytes((folder / "disc-000.png").read_bytes())
    return folder


@pytest.fixture
def model(folder: Path) -> Model:
    config = TrainConfig(objective="wgan-gp", encoder_iters=0, iters=2, batch_size=4, holdout=0.2)
    shape = ModelConfig(16, 1, 4, 4)
    made = train(folder, shape, config, features=None, device="cpu", precision="fp32")
    return replace(made, search=SEARCH)


def test_every_picture_is_scored_by_a_model_that_has_not_seen_it(folder, model, tmp_path):
    listing = list_inputs([folder])
    part_of: dict[str, int] = {}
    rows = cross_fit(
        listing, model, SEARCH, 3, tmp_path / "fits",
        callbacks=CrossFitCallbacks(on_scored=lambda part, row: part_of.update({row.path: part})),
    )  # fmt: skip
    assert rows is not None
    assert [row.path for row in rows] == [item.name for item in listing.items]
    assert part_of["copy.png"] == part_of["disc-000.png"], "copies stay together"
    seen = {part: load_model(tmp_path / "fits" / f"part-{part}") for part in (1, 2, 3)}
    for row in rows:
        if row.path == "broken.png":
            assert row.score is None and row.error
            continue
        assert row.score is not None and row.score > 0 and row.p_value is not None
        assert row.in_training is False
    assert len({m.digest for m in seen.values()}) == 3
    assert all((m.provenance["data"]["pictures"] + 5) <= 28 for m in seen.values())


def test_an_interrupted_run_goes_on_with_what_it_has(folder, model, tmp_path):
    listing, out = list_inputs([folder]), tmp_path / "fits"
    scored: list[ScoreRow] = []
    stopped = cross_fit(
        listing, model, SEARCH, 3, out,
        callbacks=CrossFitCallbacks(
            on_scored=lambda part, row: scored.append(row), should_stop=lambda: len(scored) >= 5
        ),
    )  # fmt: skip
    assert stopped is None
    kept = (out / "part-1" / "model.safetensors").stat().st_mtime_ns
    steps: list[int] = []
    again = cross_fit(
        listing,
        model,
        SEARCH,
        3,
        out,
        callbacks=CrossFitCallbacks(on_step=lambda part, step: steps.append(part)),
    )
    assert (out / "part-1" / "model.safetensors").stat().st_mtime_ns == kept
    assert set(steps) == {2, 3}
    assert again == cross_fit(listing, model, SEARCH, 3, tmp_path / "anew")


def test_too_many_parts_are_refused(folder, model, tmp_path):
    with pytest.raises(ConfigError, match="--cross-fit 50"):
        cross_fit(list_inputs([folder]), model, SEARCH, 50, tmp_path)


def test_a_model_that_was_not_trained_here_is_refused(folder, model, tmp_path):
    with pytest.raises(ConfigError, match="how it was trained"):
        cross_fit(list_inputs([folder]), replace(model, provenance={}), SEARCH, 2, tmp_path)


def test_by_features_no_generator_is_trained(folder, tmp_path):
    made = train(
        folder,
        ModelConfig(16, 1, 4, 4),
        TrainConfig(holdout=0.2),
        features=FeatureConfig(transform_iters=1),
        gan=False,
        device="cpu",
    )
    rows = cross_fit(list_inputs([folder]), made, made.default_search(), 2, tmp_path / "fits")
    assert rows is not None
    scores = [row.score for row in rows if row.score is not None]
    assert len(scores) == 41 and min(scores) < 0 < max(scores), "differences from a median"
    assert all(row.p_value is not None and row.z_scores for row in rows if row.score is not None)
    assert load_model(tmp_path / "fits" / "part-1").generator is None

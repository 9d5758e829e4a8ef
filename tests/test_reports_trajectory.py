"""What is shown of a search is what the search did, however it is executed."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_generator
from PIL import Image
from test_reports_contact_sheet import JPEG, NASTY, WHY, Page

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.losses import make_loss
from adgan_cli.engine.models.dcgan import Encoder
from adgan_cli.engine.models.model import Model
from adgan_cli.engine.pixels import to_model_range, to_uint8
from adgan_cli.engine.search import searcher
from adgan_cli.engine.search.execution import PaddedBatches
from adgan_cli.engine.search.searcher import search
from adgan_cli.reports.trajectory import (
    MAX_POINTS,
    MAX_STEPS,
    ExplainedImage,
    SearchTrajectory,
    search_trajectory,
    shown_steps,
    write_trajectory_figure,
    write_trajectory_page,
)
from adgan_cli.scoring.rows import ScoreRow

SEARCHES = [
    replace(PAPER_SEARCH, n_seed=3, k=2),
    replace(PAPER_SEARCH, n_seed=3, k=2, theta="per-image"),
    replace(PAPER_SEARCH, n_seed=3, k=2, theta="none"),
    replace(PAPER_SEARCH, n_seed=3, k=2, theta="none", precision="bf16"),
    replace(PAPER_SEARCH, n_seed=2, k=2, init="both"),
    replace(PAPER_SEARCH, n_seed=1, k=0),
    replace(PAPER_SEARCH, n_seed=2, k=1, loss="ssim"),
]


@pytest.fixture
def model() -> Model:
    generator = make_generator()
    torch.manual_seed(0)
    encoder = Encoder(generator.config, generator.config.latent_dim).eval().requires_grad_(False)
    return Model(generator, generator.config, encoder=encoder)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)


@pytest.mark.parametrize("config", SEARCHES, ids=lambda c: f"{c.theta}-{c.init}-{c.loss}-{c.k}")
def test_each_step_shows_the_picture_that_its_loss_is_of(model, pixels, config):
    trajectory = search_trajectory(model, pixels, config)
    x = to_model_range(torch.from_numpy(pixels)[None])
    result = search(model.generator, x, config, encoder=model.encoder)
    assert (trajectory.losses == result.trace[0].double().numpy()).all(), "watched, it is the same"
    assert trajectory.generated.shape == (len(result.losses[0]), config.k + 1, 16, 16, 3)
    assert (trajectory.generated[trajectory.best, -1] == to_uint8(result.reconstruction)[0]).all()
    loss = make_loss(config.loss)
    for point, steps in enumerate(trajectory.generated):
        # from pixels rounded to 8 bits
        losses = loss(x)(to_model_range(torch.from_numpy(steps))).numpy()
        assert losses == pytest.approx(trajectory.losses[point], rel=0.02)


def test_a_long_search_keeps_the_steps_that_are_shown(model, pixels):
    long = search_trajectory(model, pixels, replace(PAPER_SEARCH, n_seed=2, k=20))
    assert long.generated.shape[:2] == (2, 8) and long.losses.shape == (2, 21)
    short = search_trajectory(model, pixels, replace(PAPER_SEARCH, n_seed=2, k=3))
    assert long.steps[1] == 3
    assert (long.generated[:, 1] == short.generated[:, 3]).all()


@pytest.mark.parametrize("config", SEARCHES, ids=lambda c: f"{c.theta}-{c.init}-{c.loss}-{c.k}")
def test_all_points_at_once_as_on_a_gpu_show_the_same(model, pixels, config, monkeypatch):
    one_by_one = search_trajectory(model, pixels, config)
    monkeypatch.setattr(searcher, "execution_for", lambda device: PaddedBatches)
    at_once = search_trajectory(model, pixels, config)
    assert at_once.losses == pytest.approx(one_by_one.losses, rel=1e-3)
    assert np.abs(at_once.generated.astype(int) - one_by_one.generated).max() <= 2


# the figure and the page


def numbered(points=3, k=2, size=8):
    """From point p at step t a picture of grey level 10 p + t; the first point ends nearest."""
    generated = np.empty((points, len(shown_steps(k)), size, size, 1), np.uint8)
    for point in range(points):
        for column, step in enumerate(shown_steps(k)):
            generated[point, column] = 10 * point + step
    losses = 100.0 * (1 + np.arange(points))[:, None] - np.arange(k + 1)
    return SearchTrajectory(np.full((size, size, 1), 99, np.uint8), generated, losses)


def explained(name="a.png", search=None, **more):
    row = ScoreRow(name, 3.5, p_value=0.02, in_training=False, width=8, height=8)
    shown = {"href": "../a.png", "thumbnail": JPEG, "figure": "explanation-1.png", **more}
    return ExplainedImage(row, explanation=WHY, trajectory=search or numbered(), **shown)


def drawn(path, *pictures, **more):
    write_trajectory_page(path, pictures, settings={"k": "2"}, **more)
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("k", [0, 1, 7, 8, 25, 1000])
def test_steps_shown_go_from_the_first_to_the_last(k):
    steps = shown_steps(k)
    assert (steps[0], steps[-1]) == (0, k)
    assert len(steps) == min(k + 1, MAX_STEPS) and steps == sorted(set(steps))


def test_of_many_points_those_that_came_nearest_are_shown():
    many = numbered(points=12)
    assert (many.best, many.points) == (0, list(range(MAX_POINTS)))
    far = SearchTrajectory(many.pixels, many.generated, many.losses[::-1])
    assert (far.best, far.points) == (11, list(range(4, 12)))


def test_the_table_has_what_was_generated_at_each_step_and_its_loss(tmp_path):
    page = drawn(tmp_path / "index.html", explained())
    rows = page.text.split("point\n")[-1] if "point\n" in page.text else page.text
    for loss in ("100.0", "99.00", "98.00", "300.0", "298.0"):
        assert loss in rows
    cells = [image for image in page.all("img") if image["alt"] == ""]
    levels = []
    for cell in cells:
        data = base64.b64decode(cell["src"].partition(",")[2])
        levels.append(int(np.asarray(Image.open(io.BytesIO(data)))[0, 0]))
    assert levels == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert [line.get("class") for line in page.all("polyline")] == [None, None, "best"]
    assert [row.get("class") for row in page.all("tr")] == [None, "best", None, None]


def test_losses_are_drawn_between_the_highest_and_the_lowest(tmp_path):
    page = drawn(tmp_path / "index.html", explained())
    lines = [line["points"].split() for line in page.all("polyline")]
    assert lines[-1][-1] == "100.00,100.00", "the best ends lowest"
    assert lines[1][0] == "0.00,0.00", "the worst begins highest"


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_text_wherever_it_stands(tmp_path, name):
    page = drawn(tmp_path / "index.html", explained(name), failures=[(name, name)])
    assert page.all("script") == []
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert page.text.count(name.replace("\udcff", r"\udcff")) >= 3
    row = ScoreRow(name + " $x^2$ \N{CAT FACE}", 1.0)
    write_trajectory_figure(tmp_path / "a.png", row, numbered())


def test_a_page_says_that_its_scores_are_adjusted(tmp_path):
    page = drawn(tmp_path / "index.html", explained(), adjusted="complexity")
    assert "taken what simple traits of the picture explain (complexity)" in page.text
    assert "simple traits" not in drawn(tmp_path / "index.html", explained()).text


def test_a_page_says_how_many_points_it_leaves_out(tmp_path):
    page = drawn(tmp_path / "index.html", explained(search=numbered(points=12)))
    assert "the 8 best of 12 starting points" in page.text
    assert "best of" not in drawn(tmp_path / "index.html", explained()).text


def test_links_stay_on_this_computer(tmp_path):
    page = drawn(tmp_path / "index.html", explained(), explained("b.png", href=None))
    links = {link["href"] for link in page.all("a")}
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {link for link in links if not link.startswith("#")} == {"../a.png", "explanation-1.png"}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    with pytest.raises(ValueError, match="href must stay"):
        explained(href="https://example.org/a.png")


@pytest.mark.parametrize(("points", "k"), [(1, 0), (3, 2), (12, 30)])
def test_a_figure_is_drawn_of_any_search_and_equal_ones_give_equal_bytes(tmp_path, points, k):
    search = numbered(points, k)
    for name in "ab":
        write_trajectory_figure(tmp_path / f"{name}.png", ScoreRow("a.png", 3.5), search)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        levels = set(np.unique(np.asarray(image.convert("L"))))
    shown = {10 * point + step for point in search.points for step in shown_steps(k)}
    assert {level % 256 for level in shown} <= levels and 99 in levels

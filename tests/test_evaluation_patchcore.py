"""PatchCore: the oddest place of an image against a coreset of places."""

import numpy as np
import torch

from adgan_cli.evaluation.methods.patchcore import Coreset, chosen_centres, patchcore
from adgan_cli.evaluation.settings import Settings
from adgan_cli.evaluation.task import Cell, Task


def test_centres_are_each_the_farthest_from_those_before():
    places = torch.tensor([[0.0, 0.0], [0.1, 0.0], [10.0, 0.0], [0.0, 7.0], [10.0, 0.1]])
    centres = chosen_centres(places, np.random.default_rng(0))
    assert len(centres) == 5
    corners = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 7.0]])
    assert (torch.cdist(corners, centres[:3]).min(1).values < 0.2).all()


def test_copies_of_a_place_are_one_centre():
    assert len(chosen_centres(torch.ones(50, 3), np.random.default_rng(0))) == 1


def test_the_oddest_place_decides():
    coreset = Coreset(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    ordinary = torch.tensor([[0.1, 0.0], [0.9, 0.0]])
    odd = torch.cat([ordinary, torch.tensor([[0.0, 5.0]])])
    assert 0 < coreset.score(ordinary) < coreset.score(odd)
    # equation 7 by hand: the nearest centre at 5, the other at sqrt(26)
    share = np.exp(5) / (np.exp(5) + np.exp(np.sqrt(26)))
    assert np.isclose(coreset.score(odd), (1 - share) * 5)


def test_a_single_centre_gives_the_distance():
    assert Coreset(torch.zeros(1, 2)).score(torch.tensor([[3.0, 4.0]])) == 5.0


def test_a_spot_in_noise_stands_out_without_a_pretrained_network(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(100, 140, (40, 16, 16, 1), dtype=np.uint8)
    images[30:, 6:10, 6:10] = 255
    empty = np.empty((0, 16, 16, 1), np.uint8)
    task = Task(images[:20], images[20:], empty, np.empty(0, bool), seed=0)
    result = patchcore(Cell(task, tmp_path, Settings()))
    assert result.scores[:10].max() < result.scores[10:].min()
    assert result.settings["features"] == "own patches"

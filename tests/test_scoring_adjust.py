"""A score that only follows a statistic is left with nothing; what it does not explain stays."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_generator

from adgan_cli.config import PAPER_SEARCH
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import ConfigError
from adgan_cli.images.statistics import STATISTICS
from adgan_cli.scoring.adjust import adjustment, held_out_scores

PLAIN, ADJUSTED = PAPER_SEARCH, replace(PAPER_SEARCH, adjust="complexity")


def looks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, len(STATISTICS)))


def score_of(statistics: np.ndarray, seed: int) -> np.ndarray:
    """Scores that grow with the fourth statistic, and a little noise."""
    noise = np.random.default_rng(seed).normal(0, 0.1, len(statistics))
    result: np.ndarray = np.exp(3 + statistics[:, 3] + noise)
    return result


def model(count: int = 300) -> Model:
    generator = make_generator()
    statistics = looks(count, 0)
    calibration = Calibration(PLAIN, score_of(statistics, 1), statistics)
    return Model(generator, generator.config, calibrations=(calibration,))


def test_what_the_statistics_explain_is_gone_and_the_rest_remains():
    statistics = looks(400, 2)
    scores = score_of(statistics, 3)
    odd = np.arange(400) < 40
    scores[odd] *= np.exp(1)  # worse than their looks explain
    adjust = adjustment(model(), ADJUSTED)
    assert adjust is not None
    left = adjust(scores, statistics)
    assert abs(np.corrcoef(left[~odd], statistics[~odd, 3])[0, 1]) < 0.3
    assert left[odd].min() > left[~odd].max()
    assert np.corrcoef(np.log(scores), statistics[:, 3])[0, 1] > 0.9, "which was not so before"


def test_an_adjusted_score_does_not_depend_on_company():
    statistics = looks(9, 4)
    scores = score_of(statistics, 5)
    adjust = adjustment(model(), ADJUSTED)
    assert adjust is not None
    alone = [adjust(scores[i : i + 1], statistics[i : i + 1])[0] for i in range(9)]
    assert adjust(scores, statistics).tolist() == alone


def test_held_out_images_are_judged_by_regressions_without_them():
    # with as many terms as images, residuals of the fit itself would be all but 0
    few = held_out_scores(model(60), ADJUSTED)
    assert few is not None and few.std() > 0.08 and (np.diff(few) >= 0).all()


def test_without_adjustment_the_scores_are_those_of_the_search():
    assert adjustment(model(), PLAIN) is None
    scores = held_out_scores(model(), PLAIN)
    assert scores is not None and sorted(model().calibrations[0].scores) == scores.tolist()
    assert held_out_scores(model(), replace(PAPER_SEARCH, k=1)) is None


@pytest.mark.parametrize("count", [0, 49])
def test_too_few_images_to_go_by_are_refused(count):
    with pytest.raises(ConfigError, match="adgan calibrate"):
        adjustment(model(count), ADJUSTED)

"""Scores freed of what brightness, contrast and detail explain, and the held-out scores to match.

A reconstruction error follows such statistics wherever an image comes from. How much it does is
learned from images that were held out in training: a regression of the logarithm of their scores on
their statistics. The adjusted score is its residual. No label has a part in it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from adgan_cli.config import SearchConfig, flag
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import ConfigError
from adgan_cli.scoring.joining import calibration_of

FEWEST = 50  # images held out that a regression can be fitted to
FOLDS = 10  # the held-out images' own residuals come from regressions without them
PENALTIES = np.logspace(-2, 4, 13)  # of the ridge, chosen by leave-one-out errors

Adjust = Callable[[np.ndarray, np.ndarray], np.ndarray]  # scores (n,), statistics (n, T) -> (n,)


def adjustment(model: Model, config: SearchConfig) -> Adjust | None:
    """Return the function that adjusts scores, if asked for; ConfigError for too few held out."""
    if config.adjust == "none":
        return None
    regression, _ = _fit(_required_calibration(model, config))

    def adjust(scores: np.ndarray, statistics: np.ndarray) -> np.ndarray:
        # one by one: a sum over several rows may round differently with company
        expected = np.array([regression.predict(row[None])[0] for row in statistics])
        residuals: np.ndarray = _as_logs(scores, config) - expected
        return residuals

    return adjust


def held_out_scores(model: Model, config: SearchConfig) -> np.ndarray | None:
    """Return the scores of images not trained on, with these settings: (n,) ascending.

    None where the model holds none for them. Raises ConfigError where adjusted ones are too few.
    """
    if config.adjust != "none":
        return _fit(_required_calibration(model, config))[1]
    calibration = calibration_of(model, config)
    return None if calibration is None else np.sort(calibration.scores)


def _required_calibration(model: Model, config: SearchConfig) -> Calibration:
    calibration = calibration_of(model, config)
    if calibration is None or len(calibration.scores) < FEWEST:
        existing = "none" if calibration is None else str(len(calibration.scores))
        raise ConfigError(
            f"{flag('adjust')} {config.adjust} needs scores of {FEWEST} pictures that were not "
            f"trained on, with these settings; the model has {existing}: adgan calibrate adds them"
        )
    return calibration


@lru_cache(maxsize=2)
def _fit(calibration: Calibration) -> tuple[Any, np.ndarray]:
    """Fit the regression; return it, and the held-out images' residuals: (n,) ascending."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    regression = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        RidgeCV(PENALTIES),
    )
    logs = _as_logs(calibration.scores, calibration.search)
    folds = KFold(FOLDS, shuffle=True, random_state=0)  # held-out images may be in some order
    predicted = cross_val_predict(regression, calibration.statistics, logs, cv=folds)
    return regression.fit(calibration.statistics, logs), np.sort(logs - predicted)


def _as_logs(scores: np.ndarray, config: SearchConfig) -> np.ndarray:
    """Take logarithms of a search's errors; joined scores are means of logarithms already."""
    if config.by != "reconstruction":
        return scores
    logarithms: np.ndarray = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    return logarithms

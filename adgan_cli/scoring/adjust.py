"""Scores freed of what brightness, contrast and detail explain, and what they then mean.

A reconstruction error follows such things, wherever a picture comes from. How much it does is
learned from pictures that were held out in training: a regression of the logarithm of their scores
on their traits. What it leaves is the adjusted score. No label has a part in it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from adgan_cli.config import SearchConfig, flag
from adgan_cli.engine.models.model import Calibration, Model
from adgan_cli.errors import ConfigError

FEWEST = 50  # pictures held out that a regression can be fitted to
FOLDS = 10  # the held-out pictures' own residuals come from regressions without them
PENALTIES = np.logspace(-2, 4, 13)  # of the ridge, chosen by leave-one-out errors

Adjust = Callable[[np.ndarray, np.ndarray], np.ndarray]  # scores (n,), traits (n, T) -> (n,)


def adjustment(model: Model, config: SearchConfig) -> Adjust | None:
    """What turns scores into adjusted ones; None where the settings ask for none.

    Raises ConfigError where the model holds too few scores of pictures not trained on.
    """
    if config.adjust == "none":
        return None
    regression, _ = _fitted(_known(model, config))

    def adjust(scores: np.ndarray, statistics: np.ndarray) -> np.ndarray:
        # one by one: a sum over several rows may round differently with company
        expected = np.array([regression.predict(row[None])[0] for row in statistics])
        left: np.ndarray = _log(scores) - expected
        return left

    return adjust


def held_out_scores(model: Model, config: SearchConfig) -> np.ndarray | None:
    """Scores of pictures not trained on, with these settings: (n,) ascending; None if not known."""
    if config.adjust != "none":
        return _fitted(_known(model, config))[1]
    known = model.calibration(config)
    return None if known is None else np.sort(known.scores)


def _known(model: Model, config: SearchConfig) -> Calibration:
    known = model.calibration(config)
    if known is None or len(known.scores) < FEWEST:
        there = "none" if known is None else str(len(known.scores))
        raise ConfigError(
            f"{flag('adjust')} {config.adjust} needs scores of {FEWEST} pictures that were not "
            f"trained on, with these settings; the model has {there}: adgan calibrate adds them"
        )
    return known


@lru_cache(maxsize=2)
def _fitted(known: Calibration) -> tuple[Any, np.ndarray]:
    """The regression, and what it leaves of the held-out scores: (n,) ascending."""
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
    wanted = _log(known.scores)
    folds = KFold(FOLDS, shuffle=True, random_state=0)  # held-out pictures may be in some order
    without = cross_val_predict(regression, known.statistics, wanted, cv=folds)
    return regression.fit(known.statistics, wanted), np.sort(wanted - without)


def _log(scores: np.ndarray) -> np.ndarray:
    logarithms: np.ndarray = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    return logarithms
